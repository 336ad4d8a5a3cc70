"""SQLite as a box uses it: how a file is opened, and its errors in words for users."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final as Constant
from typing import Literal

BUSY_S: Constant = 5.0
OLDEST_SQLITE: Constant = (3, 37)
"""The first with STRICT tables."""


class StoreError(Exception):
    """A file of the box cannot be used, or a write was refused; the text is one line for a user."""


class Refused(StoreError):
    """The file is well; what was asked of it cannot be done."""


def connect(path: Path, *, version: int, schema: str, synchronous: Literal["NORMAL", "FULL"]) -> sqlite3.Connection:
    """Open or create a database for writing, readable by its owner only; transactions are begun by hand.

    Raises `StoreError`, also when a newer program wrote the file.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise StoreError(
            f"SQLite 3.37 or newer is needed, this Python has {sqlite3.sqlite_version}; use a newer Python"
        )
    with explained(path):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            if _version(connection, path, version) == 0:
                with transaction(connection):
                    if _version(connection, path, version) == 0:
                        for statement in schema.split(";"):
                            connection.execute(statement)
                        connection.execute(f"PRAGMA user_version = {version}")
        except BaseException:
            connection.close()
            raise
        return connection


def connect_read_only(path: Path, *, version: int) -> sqlite3.Connection:
    """Open a database that somebody else writes; raises `StoreError`, also while it is not there.

    Where its folder cannot be written and no log lies beside it, nobody writes; see section 5 of SQLite's wal.html.
    """
    nobody_writes = not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()
    how = "mode=ro&immutable=1" if nobody_writes else "mode=ro"
    with explained(path):
        connection = sqlite3.connect(f"{path.as_uri()}?{how}", uri=True, timeout=BUSY_S, isolation_level=None)
        try:
            if _version(connection, path, version) == 0:
                raise StoreError(f"{path}: is empty; start uplion or uplion serve, which set it up")
        except BaseException:
            connection.close()
            raise
        return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what the block writes, or nothing of it; takes the write lock at once, so that no upgrade can fail."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and of the file system into a `StoreError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {_words(error, path)}") from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}; check who owns it and its folder") from error


def _version(connection: sqlite3.Connection, path: Path, known: int) -> int:
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if found > known:
        raise StoreError(
            f"{path}: was written by a newer uplion (format {found}, this one reads {known}); update uplion"
        )
    return found


def _words(error: sqlite3.Error, path: Path) -> str:
    match getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return f"another process has kept it locked for {BUSY_S:.0f} s; look for an uplion that is stopped or hangs"
        case sqlite3.SQLITE_FULL:
            return "the disk is full; free some space, then try again"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return f"cannot be written ({error}); check who owns it and {path.parent}"
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return f"is damaged ({error}); move it away and apply the models again, or restore a copy"
        case sqlite3.SQLITE_IOERR:
            return "cannot be read or written; the disk may be full or failing"
        case _:
            return str(error)
