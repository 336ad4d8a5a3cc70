"""The log of changes of a store: what watchers read, and where versions come from."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from enum import StrEnum
from typing import Final as Constant

from operator_embed.box.database import Refused

KEPT: Constant = 10_000

TABLES: Constant = """
CREATE TABLE changes(
  rv INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, ns TEXT NOT NULL, name TEXT NOT NULL, op TEXT NOT NULL
) STRICT
"""


class Expired(Refused):
    """The changes that were asked for are forgotten: read everything again, then watch from there."""


class Op(StrEnum):
    """What a change did."""

    ADDED = "added"
    MODIFIED = "modified"
    """Spec, metadata or `deletionTimestamp`."""
    STATUS = "status"
    DELETED = "deleted"
    """The row is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One row of the log."""

    kind: str
    """`AIModel` or `Event`."""
    key: str
    """`namespace/name`; of an event the model's, empty when it has none."""
    op: Op
    rv: int


def add(connection: sqlite3.Connection, kind: str, key: str, op: Op) -> int:
    """Log a change in the caller's transaction; returns its version."""
    namespace, name = names(key)
    [rv] = connection.execute(
        "INSERT INTO changes(kind, ns, name, op) VALUES (?, ?, ?, ?) RETURNING rv", (kind, namespace, name, op)
    ).fetchone()
    connection.execute("DELETE FROM changes WHERE rv <= ?", (rv - KEPT,))
    return int(rv)


def newest(connection: sqlite3.Connection) -> int:
    """Version of the newest change, 0 before the first."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'changes'").fetchone()
    return int(row[0]) if row else 0


def after(connection: sqlite3.Connection, since: int) -> tuple[Change, ...]:
    """Changes after version `since`, oldest first; raises `Expired`."""
    rows = connection.execute(
        "SELECT rv, kind, ns, name, op FROM changes WHERE rv > ? ORDER BY rv", (since,)
    ).fetchall()
    oldest = connection.execute("SELECT min(rv) FROM changes").fetchone()[0]
    if since > newest(connection) or (oldest is not None and since < oldest - 1):
        raise Expired(f"changes after version {since} are no longer kept; read everything again")
    return tuple(
        Change(kind=kind, key=f"{namespace}/{name}" if name else "", op=Op(op), rv=rv)
        for rv, kind, namespace, name, op in rows
    )


def names(key: str) -> tuple[str, str]:
    """Namespace and name of a key."""
    namespace, _, name = key.partition("/")
    return namespace, name
