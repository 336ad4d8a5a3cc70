"""One HTTP request and its response over ASGI, without a framework."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from console.gateway.errors import TOO_LARGE, Failure, Refused
from worker_embed.wire import MAX_BODY_BYTES

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

DISCARD_BYTES = 64 * 1024 * 1024
CLIENT_LEFT = 499
"""Logged, never sent: nobody is there to read it."""

JSON = (b"content-type", b"application/json")
EVENTS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


def new_id() -> str:
    """A random UUID, version 4 (RFC 9562): `str(uuid.uuid4())` at a third of its cost."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


class ClientLeft(Exception):
    """The client closed its connection before its request was complete."""


class Exchange:
    """A request being answered."""

    __slots__ = (
        "began_s",
        "code",
        "method",
        "model",
        "path",
        "receive",
        "request_id",
        "scope",
        "send",
        "started",
        "status",
        "unread",
    )

    def __init__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.method: str = scope["method"]
        path: str = scope["path"]
        self.path = path.rstrip("/") if path != "/" else path
        self.request_id = new_id()
        self.began_s = time.monotonic()
        self.model = ""
        """Name of the AIModel that was asked, for the log."""
        self.code = ""
        """Of the error that ended it, for the log."""
        self.unread = True
        """Whether more of the body is to come."""
        self.started = False
        self.status = 0

    async def body(self) -> bytes:
        """The whole body, which the connection gives 30 s; raises `Refused` when it is too large, `ClientLeft`."""
        parts = [await self._more()]
        size = len(parts[0])
        while self.unread:
            parts.append(await self._more())
            size += len(parts[-1])
            if size > MAX_BODY_BYTES:
                raise Refused(TOO_LARGE)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def discard(self) -> None:
        """Read on for a while: a connection closed on a client that still sends would eat the answer."""
        size = 0
        waits = any(name == b"expect" for name, _ in self.scope["headers"])
        while self.unread and not waits and size < DISCARD_BYTES:
            size += len(await self._more())

    async def _more(self) -> bytes:
        message = await self.receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        self.unread = message["more_body"]
        data: bytes = message["body"]
        return data

    async def reply(self, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        """A whole response."""
        await self._start(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self.send({"type": "http.response.body", "body": body})

    async def json(self, body: bytes, status: int = 200) -> None:
        await self.reply(status, body, [JSON])

    async def fail(self, failure: Failure) -> None:
        self.code = failure.code or failure.kind
        await self.reply(failure.status, failure.body(), [JSON, *failure.extra_headers()])

    async def begin_events(self) -> None:
        """Commit to a stream: from here on errors are events of it."""
        await self._start(200, EVENTS)

    async def event(self, data: bytes, *, last: bool) -> None:
        await self.send({"type": "http.response.body", "body": data, "more_body": not last})

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.started = True
        self.status = status
        headers = [*headers, (b"x-request-id", self.request_id.encode())]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
