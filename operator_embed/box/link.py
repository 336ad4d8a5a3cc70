"""`engine.sock`: the leader's view to every console and command on the box, as length-prefixed msgpack.

Hello, then one full view and the history behind it, then what changed. Rows that did not change are not sent again, and
stay the same objects at the other end. A follower too slow to keep up gets a full view when it has read what it had.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from operator_embed.fleet.fleet import FleetView
from worker_embed.gpu.rings import Rings

PROTOCOL = 1
MAX_FRAME = 64 * 1024 * 1024
READ_BYTES = 65_536
MAX_UNREAD = 4 * 1024 * 1024
"""Bytes a follower may leave unread before it is sent no more changes."""


class LinkError(Exception):
    """Somebody speaks on the socket who is not understood; the text is one line for a user."""


class Hello(msgspec.Struct, tag="hello", array_like=True, frozen=True):
    """Who leads."""

    protocol: int
    epoch: int
    pid: int
    serve: bool


class Full(msgspec.Struct, tag="full", array_like=True, frozen=True):
    """Everything."""

    view: msgspec.Raw


class TableChange(msgspec.Struct, array_like=True, frozen=True):
    """What became of the rows of one table."""

    order: list[str] | None
    """All keys in their order; `None` when rows changed in their places only."""
    rows: list[msgspec.Raw]


class Change(msgspec.Struct, tag="change", array_like=True, frozen=True):
    """What became new since the view sent before."""

    tables: dict[str, TableChange]
    values: dict[str, msgspec.Raw]


class History(msgspec.Struct, tag="history", array_like=True, frozen=True):
    """An hour of all series, once."""

    rings: bytes


class Second(msgspec.Struct, tag="second", array_like=True, frozen=True):
    """One second of all series."""

    at_s: float
    values: dict[str, float | None]


Message = Hello | Full | Change | History | Second

_hints = get_type_hints(FleetView)
_names = [f.name for f in fields(FleetView)]
TABLES: dict[str, Any] = {name: get_args(_hints[name])[0] for name in _names if get_origin(_hints[name]) is tuple}
VALUES: dict[str, Any] = {name: _hints[name] for name in _names if name not in TABLES}

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode
_decode_view = msgspec.msgpack.Decoder(FleetView).decode
_decode_row = {name: msgspec.msgpack.Decoder(row).decode for name, row in TABLES.items()}
_decode_value = {name: msgspec.msgpack.Decoder(value).decode for name, value in VALUES.items()}


def difference(old: FleetView, new: FleetView) -> Change | None:
    """What to send to somebody who has `old`; `None` when only time went by, which each second tells."""
    tables: dict[str, TableChange] = {}
    for name in TABLES:
        before, after = getattr(old, name), getattr(new, name)
        if before is after:
            continue
        known = {row.key: row for row in before}
        rows = [msgspec.Raw(_encode(row)) for row in after if known.get(row.key) is not row]
        moved = [row.key for row in before] != [row.key for row in after]
        if rows or moved:
            tables[name] = TableChange([row.key for row in after] if moved else None, rows)
    values = {
        name: msgspec.Raw(_encode(getattr(new, name))) for name in VALUES if getattr(old, name) != getattr(new, name)
    }
    return Change(tables, values) if tables or values.keys() - {"at_s"} else None


def patched(view: FleetView, change: Change) -> FleetView:
    """`view` with `change` made to it."""
    news: dict[str, Any] = {name: _decode_value[name](value) for name, value in change.values.items()}
    for name, table in change.tables.items():
        changed = {row.key: row for row in map(_decode_row[name], table.rows)}
        rows = {row.key: row for row in getattr(view, name)} | changed
        news[name] = tuple(rows[key] for key in (table.order if table.order is not None else rows))
    return replace(view, **news)


def frame(message: Message) -> bytes:
    """A message as it goes over the socket: its length in four bytes, then msgpack."""
    body = _encode(message)
    return len(body).to_bytes(4, "big") + body


@dataclass(slots=True, eq=False)
class _Client:
    writer: asyncio.StreamWriter
    sent: FleetView | None = None

    @property
    def behind(self) -> bool:
        return self.writer.transport.get_write_buffer_size() > MAX_UNREAD


class ViewServer:
    """The leader's end."""

    def __init__(self, path: Path, hello: Hello, rings: Rings) -> None:
        self._path, self._hello, self._rings = path, hello, rings
        self._view: FleetView | None = None
        """`None` before there was one: a follower that came so early waits for it."""
        self._clients: set[_Client] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; a socket left by a leader that died is replaced."""
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self._path)

    async def close(self) -> None:
        """Hang up on everybody, while the lock still keeps the next leader from this place."""
        if self._server is not None:
            self._server.close()
        for client in self._clients:
            client.writer.close()
        self._path.unlink(missing_ok=True)

    def publish(self, view: FleetView, second: Second | None = None) -> None:
        """Send what changed, and a second of history, to all that keep up; never waits.

        Both in one piece, so that a follower draws once: an idle console costs little else.
        """
        self._view = view
        history = frame(second) if second else b""
        changes: dict[int, bytes] = {}
        for client in self._clients:
            if client.behind:
                client.sent = None
                continue
            if client.sent is None:
                news = self._whole(view)
            else:
                old = id(client.sent)
                if old not in changes:
                    change = difference(client.sent, view)
                    changes[old] = frame(change) if change else b""
                news = changes[old]
            if data := news + history:
                client.writer.write(data)
            client.sent = view

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Client(writer, self._view)
        writer.write(frame(self._hello) + (self._whole(self._view) if self._view else b""))
        self._clients.add(client)
        try:
            with contextlib.suppress(ConnectionError):
                while await reader.read(READ_BYTES):
                    pass
        finally:
            self._clients.discard(client)
            writer.close()

    def _whole(self, view: FleetView) -> bytes:
        return frame(Full(msgspec.Raw(_encode(view)))) + frame(History(self._rings.export()))


class ViewClient:
    """A follower's end: `view`, `rings` and `hello` are the newest known."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.hello: Hello | None = None
        """`None` while nobody leads."""
        self.complete = False
        """Whether a view came since the leader was reached."""
        self.view = FleetView()
        self.rings = Rings()
        self.heard_s = 0.0
        """When the newest message came, by `time.monotonic`."""

    async def follow(self) -> AsyncIterator[None]:
        """Connect and yield after each message; ends when the leader hangs up.

        Raises `OSError` when none is there, `LinkError` when it is not understood.
        """
        reader, writer = await asyncio.open_unix_connection(self._path, limit=MAX_FRAME)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    size = int.from_bytes(await reader.readexactly(4), "big")
                    if size > MAX_FRAME:
                        raise LinkError(self._stranger)
                    self._understand(await reader.readexactly(size))
                    self.heard_s = time.monotonic()
                    yield
        finally:
            self.hello, self.complete = None, False
            writer.close()

    @property
    def _stranger(self) -> str:
        who = f"pid {self.hello.pid}" if self.hello else "whoever leads"
        return f"{who} runs another version of uplion; end it there, then start it again"

    def _understand(self, data: bytes) -> None:
        try:
            self._take(_decode(data))
        except (msgspec.MsgspecError, LookupError, ValueError) as error:
            raise LinkError(self._stranger) from error
        if self.hello is not None and self.hello.protocol != PROTOCOL:
            raise LinkError(self._stranger)

    def _take(self, message: Message) -> None:
        if isinstance(message, Change):
            self.view = patched(self.view, message)
        elif isinstance(message, Second):
            self.rings.add(message.at_s, message.values)
            self.view = replace(self.view, at_s=message.at_s)
        elif isinstance(message, Full):
            self.view, self.complete = _decode_view(message.view), True
        elif isinstance(message, History):
            self.rings.load(message.rings)
        else:
            self.hello = message
