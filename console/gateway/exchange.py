"""One HTTP request and its response over ASGI, without a framework."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from console.gateway.errors import BODY_TIMEOUT, TOO_LARGE, Failure, Refused
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


class ClientLeft(Exception):
    """The client closed its connection before its request was complete."""


class Exchange:
    """A request being answered."""

    __slots__ = ("began_s", "method", "model", "path", "receive", "request_id", "scope", "send", "started", "status")

    def __init__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.method: str = scope["method"]
        path: str = scope["path"]
        self.path = path.rstrip("/") if path != "/" else path
        self.request_id = str(uuid.uuid4())
        self.began_s = time.monotonic()
        self.model = ""
        """Name of the AIModel that was asked, for the log."""
        self.started = False
        self.status = 0

    async def body(self, limit_s: float) -> bytes:
        """The whole body; raises `Refused` when it is too large or too slow, `ClientLeft`."""
        try:
            async with asyncio.timeout(limit_s):
                message = await self.receive()
                data: bytes = message.get("body", b"")
                if message["type"] == "http.request" and not message["more_body"]:
                    return data
                return await self._rest(message)
        except TimeoutError:
            raise Refused(BODY_TIMEOUT) from None

    async def _rest(self, message: Message) -> bytes:
        parts, size = [], 0
        while True:
            if message["type"] == "http.disconnect":
                raise ClientLeft
            parts.append(message["body"])
            size += len(parts[-1])
            if size > MAX_BODY_BYTES:
                raise Refused(TOO_LARGE)
            if not message["more_body"]:
                return b"".join(parts)
            message = await self.receive()

    async def discard(self, limit_s: float) -> None:
        """Read on for a while: a connection closed on a client that still sends would eat the answer."""
        if any(name == b"expect" for name, _ in self.scope["headers"]):
            return
        size = 0
        try:
            async with asyncio.timeout(limit_s):
                while size < DISCARD_BYTES:
                    message = await self.receive()
                    if not message.get("more_body"):
                        return
                    size += len(message["body"])
        except TimeoutError:
            return

    async def reply(self, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        """A whole response."""
        await self._start(
            status,
            [*headers, (b"content-length", b"%d" % len(body))],
        )
        await self.send({"type": "http.response.body", "body": body})

    async def json(self, body: bytes, status: int = 200) -> None:
        await self.reply(status, body, [JSON])

    async def fail(self, failure: Failure) -> None:
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
