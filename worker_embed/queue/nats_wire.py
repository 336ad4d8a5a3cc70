"""The NATS client protocol over one connection: what a turn of the loop sends leaves together, what comes goes to plain
functions.

Source: https://docs.nats.io/reference/reference-protocols/nats-protocol

Our own, because the tasks, futures and regular expressions that nats-py spends on a message cost an API node more than
all else that it does for a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, cast
from urllib.parse import unquote, urlsplit

import msgspec

PORT: Final = 4222
PING_S: Final = 10.0
SETTLE_S: Final = 1.0
"""For a broker to answer what only good manners wait for."""
SILENT_BEATS: Final = 2
"""A connection on which nothing came for so many beats is gone, though it stands."""
LINE_BYTES: Final = 64 * 1024
"""Longer than any line of a broker's; its greeting is the longest."""
UNSENT_BYTES: Final = 64 * 1024 * 1024
"""More than this is not kept for a broker that does not read; callers wait for answers, so it stays far below."""
VERSION: Final = "NATS/1.0"
_LINE_BREAKS: Final = str.maketrans("\r\n", "  ")


log = logging.getLogger(__name__)


class WireError(Exception):
    """The broker refused, or is none."""


class Endpoint(NamedTuple):
    """One broker of a URL."""

    host: str
    port: int
    tls: bool
    user: str | None
    password: str | None
    token: str | None

    @classmethod
    def of(cls, url: str) -> Endpoint:
        """From `nats://[user:password@|token@]host[:port]`, `tls://...` or without a scheme; raises `ValueError`."""
        parts = urlsplit(url if "://" in url else f"nats://{url}")
        name = unquote(parts.username) if parts.username else None
        host, port, tls = parts.hostname or "127.0.0.1", parts.port or PORT, parts.scheme == "tls"
        if parts.password is None:
            return cls(host, port, tls, None, None, name)
        return cls(host, port, tls, name, unquote(parts.password), None)


class Info(msgspec.Struct, frozen=True):
    """What a broker says first, as far as it is read here."""

    max_payload: int = 1024 * 1024
    headers: bool = False
    tls_required: bool = False


class Login(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The options of `CONNECT`."""

    verbose: bool
    pedantic: bool
    headers: bool
    no_responders: bool
    lang: str
    version: str
    protocol: int
    name: str | None = None
    auth_token: str | None = None
    user: str | None = None
    password: str | None = msgspec.field(name="pass", default=None)


class Msg:
    """A message as it came."""

    __slots__ = ("_head", "data", "reply", "subject")

    def __init__(self, subject: str, reply: str, head: bytes, data: bytes) -> None:
        self.subject, self.reply, self._head, self.data = subject, reply, head, data

    @property
    def status(self) -> str:
        """Three digits where the broker itself speaks; empty for a message of somebody's."""
        return self._head[len(VERSION) : self._head.index(b"\r\n")].decode().strip()[:3] if self._head else ""

    @property
    def headers(self) -> dict[str, str]:
        lines = self._head.decode(errors="replace").split("\r\n")[1:-2]
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


OnMessage = Callable[[Msg], None]
Arrival = tuple[OnMessage, Msg]


class Wire(asyncio.Protocol):
    """One connection, made by `dial`; `on_lost` hears of its end unless `close` made it."""

    def __init__(self, on_lost: Callable[[str], None]) -> None:
        self._on_lost = on_lost
        self._transport: asyncio.Transport
        self._greeting: asyncio.Future[Info] = asyncio.get_running_loop().create_future()
        self._pongs: deque[asyncio.Future[None]] = deque()
        self._subscribed: dict[bytes, OnMessage] = {}
        self._sids = itertools.count(1)
        self._unsent: list[bytes] = []
        self._unsent_bytes = self._silent_beats = 0
        self._parts: list[bytes] = []
        self._missing = 0
        self._why = ""
        self._ready = self._gone = False
        self._next_beat: asyncio.TimerHandle | None = None
        self.max_payload = 0

    async def log_in(self, host: str, login: Login, context: ssl.SSLContext | None) -> None:
        """Greet the broker, over TLS where it or `context` asks for it; raises `WireError`."""
        loop = asyncio.get_running_loop()
        info = await self._greeting
        if not info.headers:
            raise WireError("this broker is too old: it knows no headers")
        if context or info.tls_required:
            secure = await loop.start_tls(
                self._transport, self, context or ssl.create_default_context(), server_hostname=host
            )
            self._transport = cast(asyncio.Transport, secure)
        self._write(b"CONNECT %b\r\n" % msgspec.json.encode(login))
        await self.flush()
        self.max_payload, self._ready = info.max_payload, True
        self._next_beat = loop.call_later(PING_S, self.beat)

    def publish(self, subject: str, body: bytes, reply: str = "", headers: Mapping[str, str] | None = None) -> None:
        """Send a message; raises `WireError` while the broker takes nothing."""
        if self._unsent_bytes + self._transport.get_write_buffer_size() > UNSENT_BYTES:
            raise WireError("it does not read")
        if headers:
            head = _head(headers)
            line = f"HPUB {subject} {reply} {len(head)} {len(head) + len(body)}\r\n".encode()
            self._write(b"%b%b%b\r\n" % (line, head, body))
        else:
            self._write(b"%b%b\r\n" % (f"PUB {subject} {reply} {len(body)}\r\n".encode(), body))

    def subscribe(self, subject: str, on_message: OnMessage) -> bytes:
        """Let `on_message` have what is sent to `subject`; returns what `unsubscribe` needs."""
        sid = b"%d" % next(self._sids)
        self._subscribed[sid] = on_message
        self._write(b"SUB %b %b\r\n" % (subject.encode(), sid))
        return sid

    async def unsubscribe(self, sid: bytes) -> None:
        """Return once all that was sent to it has been handed over, or soon where the broker says nothing."""
        self._write(b"UNSUB %b\r\n" % sid)
        await self._settle()
        self._subscribed.pop(sid, None)

    async def flush(self) -> None:
        """Return once the broker has seen all that was sent before; raises `WireError` when it is gone."""
        if self._gone:
            raise WireError(self._why)
        pong: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pongs.append(pong)
        self._write(b"PING\r\n")
        await pong

    async def close(self) -> None:
        """End the connection; a broker that reads has seen all that was sent."""
        self._ready = False
        await self._settle()
        self._transport.abort()

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    async def _settle(self) -> None:
        """Flush, as far as the broker goes along."""
        with contextlib.suppress(WireError, TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await self.flush()

    def _write(self, data: bytes) -> None:
        """One system call for all that is written in a turn of the loop, and one wake-up of the broker."""
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._send)
        self._unsent.append(data)
        self._unsent_bytes += len(data)

    def _send(self) -> None:
        self._transport.write(b"".join(self._unsent))
        self._unsent.clear()
        self._unsent_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._next_beat:
            self._next_beat.cancel()
        self._gone, self._why = True, self._why or (str(exc) if exc else "the connection ended")
        waiters: list[asyncio.Future[Info] | asyncio.Future[None]] = [self._greeting, *self._pongs]
        for waiting in waiters:
            if not waiting.done():
                waiting.set_exception(WireError(self._why))
                waiting.exception()  # seen, also where nobody waits any more
        if self._ready:
            self._on_lost(self._why)

    def data_received(self, data: bytes) -> None:
        self._silent_beats = 0
        if self._parts:
            self._parts.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return
            data = b"".join(self._parts)
            self._parts.clear()
        arrived: list[Arrival] = []
        try:
            at = self._take(data, arrived)
        except (ValueError, IndexError, msgspec.DecodeError):
            self._why = "this is no NATS broker"
            self._transport.abort()
            return
        if at < len(data):
            self._parts.append(data[at:])
        for on_message, msg in arrived:
            try:
                on_message(msg)
            except Exception:
                log.exception("a message on %s was not understood", msg.subject)

    def _take(self, data: bytes, arrived: list[Arrival]) -> int:
        """Handle the whole operations at the start of `data`; where the first incomplete one begins."""
        at = 0
        self._missing = 0
        while (end := data.find(b"\r\n", at)) >= 0:
            line, after = data[at:end], end + 2
            if line.startswith((b"MSG ", b"HMSG ")):
                last = after + int(line[line.rindex(b" ") :])
                if last + 2 > len(data):
                    self._missing = last + 2 - len(data)
                    break
                self._read(line.split(), data[after:last], arrived)
                after = last + 2
            else:
                self._obey(line)
            at = after
        if not self._missing and len(data) - at > LINE_BYTES:
            raise ValueError("a line without an end")
        return at

    def _read(self, words: list[bytes], payload: bytes, arrived: list[Arrival]) -> None:
        """`[H]MSG <subject> <sid> [reply] [<header bytes>] <bytes>`."""
        on_message = self._subscribed.get(words[2])
        if on_message is None:
            return
        head_bytes = int(words[-2]) if words[0] == b"HMSG" else 0
        reply = words[3].decode() if len(words) == (6 if head_bytes else 5) else ""
        arrived.append((on_message, Msg(words[1].decode(), reply, payload[:head_bytes], payload[head_bytes:])))

    def _obey(self, line: bytes) -> None:
        word, _, rest = line.partition(b" ")
        match word.upper():
            case b"PING":
                self._write(b"PONG\r\n")
            case b"PONG":
                if self._pongs and not (pong := self._pongs.popleft()).done():
                    pong.set_result(None)
            case b"-ERR":
                self._why = rest.decode(errors="replace").strip(" '")
            case b"INFO" if not self._greeting.done():
                self._greeting.set_result(msgspec.json.decode(rest, type=Info))
            case b"INFO" | b"+OK":
                pass
            case _:
                raise ValueError(word)

    def beat(self) -> None:
        """Every `PING_S`: a broker from which nothing came for some of them is gone, though its connection stands."""
        if self._silent_beats >= SILENT_BEATS:
            self._why = "it does not answer"
            self._transport.abort()
            return
        self._silent_beats += 1
        self._pongs.append(asyncio.get_running_loop().create_future())
        self._write(b"PING\r\n")
        self._next_beat = asyncio.get_running_loop().call_later(PING_S, self.beat)


def _head(headers: Mapping[str, str]) -> bytes:
    """Headers as they travel; a break in a value, as in an error of several lines, becomes a space."""
    fields = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if not fields.count("\n") == fields.count("\r") == len(headers):
        fields = "".join([f"{name}: {value.translate(_LINE_BREAKS)}\r\n" for name, value in headers.items()])
    return f"{VERSION}\r\n{fields}\r\n".encode()


async def dial(at: Endpoint, *, token: str, name: str, on_lost: Callable[[str], None]) -> Wire:
    """Connect and log in; raises `WireError` or `OSError`."""
    login = Login(
        verbose=False,
        pedantic=False,
        headers=True,
        no_responders=True,
        lang="python",
        version="1",
        protocol=1,
        name=name or None,
        auth_token=token or at.token,
        user=at.user,
        password=at.password,
    )
    _, wire = await asyncio.get_running_loop().create_connection(lambda: Wire(on_lost), at.host, at.port)
    try:
        await wire.log_in(at.host, login, ssl.create_default_context() if at.tls else None)
    except BaseException:
        wire.abort()
        raise
    return wire
