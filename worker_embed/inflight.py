"""Which deliveries a worker has in hand, in a file that outlives it, so that another process can give them back.

A line is `+<token>` or `-<token>`; what was added and not removed is in hand. Each is one `write`, which a `kill -9`
does not tear; the file starts anew whenever nothing is in hand, and is written afresh when it has grown.
"""

from __future__ import annotations

import os
from pathlib import Path

REWRITE_BYTES = 64 * 1024


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
        self._write(f"+{token}\n")

    def remove(self, token: str) -> None:
        """Note that the broker knows how the delivery ended."""
        self._tokens.discard(token)
        if self._tokens:
            self._write(f"-{token}\n")
        elif self._path:
            os.ftruncate(self._file, 0)
            self._size = 0

    def close(self) -> None:
        """Leave the file as it is."""
        if self._path:
            os.close(self._file)
            self._path = None

    def _write(self, line: str) -> None:
        if self._path is None:
            return
        self._size += os.write(self._file, line.encode())
        if self._size > REWRITE_BYTES:
            self._rewrite(self._path)

    def _rewrite(self, path: Path) -> None:
        text = "".join(f"+{token}\n" for token in self._tokens).encode()
        fresh = path.with_suffix(f"{path.suffix}.new")
        fresh.write_bytes(text)
        fresh.replace(path)
        os.close(self._file)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND)
        self._size = min(len(text), REWRITE_BYTES // 2)


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
