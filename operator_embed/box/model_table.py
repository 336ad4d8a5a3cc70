"""The table of AIModels in a store; like `changes` and `events` it works in its caller's transaction."""

from __future__ import annotations

import sqlite3
from typing import Any
from typing import Final as Constant

import msgspec

from operator_embed.aimodel import KIND, AIModel, Spec, Status
from operator_embed.box.changes import names
from operator_embed.box.database import StoreError
from operator_embed.schema import from_fields, to_fields

Pairs = tuple[tuple[str, str], ...]

TABLES: Constant = """
CREATE TABLE models(
  ns TEXT NOT NULL, name TEXT NOT NULL, uid TEXT NOT NULL, generation INTEGER NOT NULL, rv INTEGER NOT NULL,
  created_s REAL NOT NULL, deleted_s REAL, labels TEXT NOT NULL, annotations TEXT NOT NULL,
  spec TEXT NOT NULL, previous TEXT, status TEXT NOT NULL,
  PRIMARY KEY(ns, name)
) STRICT, WITHOUT ROWID
"""
_SELECT: Constant = """
SELECT ns, name, uid, generation, rv, created_s, deleted_s, labels, annotations, spec, status FROM models
"""
_INSERT: Constant = """
INSERT INTO models(ns, name, uid, generation, rv, created_s, labels, annotations, spec, status)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_UPDATE: Constant = """
UPDATE models SET previous = iif(spec = ?1, previous, spec), spec = ?1, labels = ?, annotations = ?, generation = ?,
rv = ? WHERE ns = ? AND name = ?
"""


def read_models(connection: sqlite3.Connection) -> tuple[AIModel, ...]:
    """All models of a store, sorted by namespace and name."""
    return tuple(_model(row) for row in connection.execute(f"{_SELECT} ORDER BY ns, name"))


def find(connection: sqlite3.Connection, key: str) -> AIModel | None:
    """One model by `namespace/name`."""
    row = connection.execute(f"{_SELECT} WHERE ns = ? AND name = ?", names(key)).fetchone()
    return _model(row) if row else None


def previous_spec(connection: sqlite3.Connection, key: str) -> Spec | None:
    """The spec before the last change; `None` when it never was another."""
    [spec] = connection.execute("SELECT previous FROM models WHERE ns = ? AND name = ?", names(key)).fetchone()
    return _spec(spec) if spec else None


def insert(connection: sqlite3.Connection, model: AIModel) -> None:
    """Add a model with all that is in it."""
    texts = _json(model.labels), _json(model.annotations), _json(to_fields(model.spec)), _json(model.status)
    facts = model.uid, model.generation, int(model.resource_version), model.created_s
    connection.execute(_INSERT, (*names(model.key), *facts, *texts))


def update(connection: sqlite3.Connection, model: AIModel) -> None:
    """Replace what users may change, its generation and its version."""
    texts = _json(to_fields(model.spec)), _json(model.labels), _json(model.annotations)
    connection.execute(_UPDATE, (*texts, model.generation, int(model.resource_version), *names(model.key)))


def mark_deleted(connection: sqlite3.Connection, model: AIModel) -> None:
    """Set its `deletionTimestamp` and its version."""
    values = model.deleted_s, int(model.resource_version), *names(model.key)
    connection.execute("UPDATE models SET deleted_s = ?, rv = ? WHERE ns = ? AND name = ?", values)


def write_status(connection: sqlite3.Connection, key: str, status: Status) -> None:
    """Replace the status."""
    connection.execute("UPDATE models SET status = ? WHERE ns = ? AND name = ?", (_json(status), *names(key)))


def remove(connection: sqlite3.Connection, key: str, uid: str) -> bool:
    """Drop the row, with a `uid` only that incarnation; whether there was one."""
    query = "DELETE FROM models WHERE ns = ?1 AND name = ?2 AND ?3 IN ('', uid)"
    return connection.execute(query, (*names(key), uid)).rowcount > 0


def _model(row: tuple[Any, ...]) -> AIModel:
    namespace, name, uid, generation, rv, created_s, deleted_s, labels, annotations, spec, status = row
    try:
        return AIModel(
            namespace=namespace,
            name=name,
            uid=uid,
            generation=generation,
            resource_version=str(rv),
            created_s=created_s,
            deleted_s=deleted_s,
            labels=msgspec.json.decode(labels, type=Pairs),
            annotations=msgspec.json.decode(annotations, type=Pairs),
            spec=_spec(spec),
            status=msgspec.json.decode(status, type=Status),
        )
    except (ValueError, TypeError) as error:
        raise StoreError(
            f"{KIND} {namespace}/{name}, as stored, is not understood ({error}); was it written by another version of "
            "uplion? update this one, or restore a copy"
        ) from error


def _spec(text: str) -> Spec:
    return from_fields(msgspec.json.decode(text, type=dict[str, Any]))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
