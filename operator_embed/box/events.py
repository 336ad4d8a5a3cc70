"""What happened on a box, kept for a week; the same thing again within ten minutes is one row with a count."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from typing import Final as Constant

KEPT_S: Constant = 7 * 86_400.0
KEPT_ROWS: Constant = 10_000
FOLD_S: Constant = 600.0
MAX_MESSAGE_CHARACTERS: Constant = 4_000
DECIDERS: Constant = frozenset({"you", "autoscaler"})

TABLES: Constant = """
CREATE TABLE events(
  id INTEGER PRIMARY KEY, rv INTEGER NOT NULL, fold BLOB NOT NULL, model TEXT NOT NULL, reason TEXT NOT NULL,
  source TEXT NOT NULL, message TEXT NOT NULL, warning INTEGER NOT NULL, severe INTEGER NOT NULL,
  count INTEGER NOT NULL, first_s REAL NOT NULL, at_s REAL NOT NULL
) STRICT;
CREATE INDEX events_by_fold ON events(fold, at_s);
CREATE INDEX events_by_rv ON events(rv);
CREATE INDEX events_by_time ON events(at_s)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, with its text as it came: not safe to paint."""

    reason: str
    message: str = ""
    source: str = ""
    """`autoscaler`, `launcher`, `you`, a replica, `GPU 2`."""
    model: str = ""
    """Key of the AIModel, or empty."""
    warning: bool = False
    severe: bool = False
    """Requests get no answer because of it."""
    id: int = 0
    """Stays the same while the event's count grows; given by the store, as are the fields below."""
    rv: int = 0
    """Version of the store at its newest occurrence."""
    count: int = 1
    first_s: float = 0.0
    """Unix time of the first occurrence that this row counts."""
    at_s: float = 0.0
    """Unix time of the newest."""


def record(connection: sqlite3.Connection, event: Event, rv: int, now_s: float) -> None:
    """Add an event, or count it where the same one is less than ten minutes old; runs in the caller's transaction."""
    message = event.message[:MAX_MESSAGE_CHARACTERS].encode("utf-8", "replace").decode()
    fold = _fold(event)
    counted = connection.execute(
        "UPDATE events SET count = count + 1, at_s = ?, message = ?, rv = ?, warning = ?, severe = ? WHERE id = "
        "(SELECT id FROM events WHERE fold = ? AND at_s > ? ORDER BY at_s DESC LIMIT 1)",
        (now_s, message, rv, event.warning, event.severe, fold, now_s - FOLD_S),
    )
    if not counted.rowcount:
        connection.execute(
            "INSERT INTO events(rv, fold, model, reason, source, message, warning, severe, count, first_s, at_s) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?)",
            (rv, fold, event.model, event.reason, event.source, message, event.warning, event.severe, now_s, now_s),
        )
        connection.execute("DELETE FROM events WHERE at_s < ?", (now_s - KEPT_S,))
        connection.execute("DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?", (KEPT_ROWS,))


def newest(
    connection: sqlite3.Connection, limit: int, model: str | None = None, since_rv: int = 0, after_s: float = 0.0
) -> tuple[Event, ...]:
    """Events with an occurrence after `since_rv`, newest first."""
    rows = connection.execute(
        "SELECT id, rv, model, reason, source, message, warning, severe, count, first_s, at_s FROM events "
        "WHERE rv > ? AND at_s > ? AND (? IS NULL OR model = ?) ORDER BY rv DESC LIMIT ?",
        (since_rv, after_s, model, model, limit),
    )
    return tuple(
        Event(
            id=id,
            rv=rv,
            model=of,
            reason=reason,
            source=source,
            message=message,
            warning=bool(warning),
            severe=bool(severe),
            count=count,
            first_s=first_s,
            at_s=at_s,
        )
        for id, rv, of, reason, source, message, warning, severe, count, first_s, at_s in rows
    )


def _fold(event: Event) -> bytes:
    """Equal for events that differ only in numbers and ids; in a decision the numbers are what matters."""
    import hashlib  # takes as long to load as all else here, and most commands record nothing

    message = event.message[:MAX_MESSAGE_CHARACTERS]
    shape = message if event.source in DECIDERS else re.sub(r"\w*\d\w*", "#", message)
    text = "\0".join((event.model, event.reason, event.source, shape))
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()
