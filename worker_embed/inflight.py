"""Which deliveries a worker has in hand, in a file that outlives it, so that another process can give them back.

A line is `+<token>` or `-<token>`; what was added and not removed is in hand. Each is one `write`, which a `kill -9`
does not tear; the file starts anew whenever nothing is in hand, and is written afresh when it has grown, or when a
line could not be written. Until that succeeds the lease alone brings a delivery back: a full disk stops no work.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

REWRITE_BYTES = 64 * 1024

log = logging.getLogger("worker")


class Inflight:
    """The writing side; without a path it keeps nothing."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._tokens: set[str] = set()
        self._size = 0
        self._file = _open(path) if path else -1

    def add(self, token: str) -> None:
        """Note a delivery before anything is done with it."""
        self._tokens.add(token)
        self._note(f"+{token}\n")

    def remove(self, token: str) -> None:
        """Note that the broker knows how the delivery ended."""
        self._tokens.discard(token)
        self._note(f"-{token}\n")

    def close(self) -> None:
        """Leave the file as it is."""
        if self._path:
            os.close(self._file)
            self._path = None

    def _note(self, line: str) -> None:
        if self._path is None:
            return
        try:
            if not self._tokens:
                os.ftruncate(self._file, 0)
                self._size = 0
            elif self._size > REWRITE_BYTES:
                self._rewrite(self._path)
            else:
                self._append(line.encode())
        except OSError as error:
            self._size = REWRITE_BYTES + 1
            log.warning("%s: not written: %s", self._path, error.strerror)

    def _append(self, line: bytes) -> None:
        written = os.write(self._file, line)
        self._size = self._size + written if written == len(line) else REWRITE_BYTES + 1

    def _rewrite(self, path: Path) -> None:
        fresh = path.with_suffix(f"{path.suffix}.new")
        file = _open(fresh)
        try:
            text = "".join(f"+{token}\n" for token in self._tokens).encode()
            whole = os.write(file, text) == len(text)
            fresh.replace(path)
        except OSError:
            os.close(file)
            raise
        os.close(self._file)
        self._file = file
        self._size = min(len(text), REWRITE_BYTES // 2) if whole else REWRITE_BYTES + 1


def read_tokens(path: Path) -> list[str]:
    """Tokens of the deliveries that a worker had in hand when it last wrote; none when there is no file."""
    tokens: dict[str, None] = {}
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        if line.startswith("+"):
            tokens[line[1:]] = None
        else:
            tokens.pop(line[1:], None)
    return list(tokens)


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC, 0o600)
