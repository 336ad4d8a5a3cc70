"""uvicorn's HTTP protocol with what it leaves out: bounds on header bytes, on slow requests and on connections.

uvicorn with httptools refuses every request-smuggling vector that is known to us, but reads headers without end and
waits for them for ever; its h11 fallback also smuggles, so httptools is imported here and never looked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

from httptools import HttpParserError
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from console.gateway.config import Limits
from console.gateway.corked import Corked
from console.gateway.errors import BODY_TIMEOUT, HEADERS_TOO_LARGE, MALFORMED, Failure, too_many_connections
from console.gateway.exchange import new_id

CONNECTION = "connection"
"""Key in the state of an ASGI scope of the `GuardedHttp` that it came by."""


class _UntilClosed:
    """Sends a response without a length as HTTP/1.0 knows it, which has no chunks: it ends with the connection."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle, self._send = cycle, cycle.send
        self._endless = False

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._endless = all(name != b"content-length" for name, _ in message["headers"])
            if self._endless:
                self._cycle.chunked_encoding = False
        elif self._endless:
            self._cycle.expected_content_length = len(message["body"])
        await self._send(message)


class _Reading(Enum):
    NOTHING = auto()
    HEADERS = auto()
    BODY = auto()


class GuardedHttp(HttpToolsProtocol):
    """One client's connection."""

    def __init__(self, limits: Limits, config: Config, state: ServerState) -> None:
        super().__init__(config=config, server_state=state, app_state={CONNECTION: self})
        self.on_leave: Callable[[], None] | None = None
        """Called when the client is gone; spares each request a task that waits for it in `receive`."""
        self._limits = limits
        self._phase = _Reading.NOTHING
        self._timed = _Reading.HEADERS
        self._timer: asyncio.TimerHandle | None = None
        self._fed = 0
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(Corked(transport))
        if len(self.connections) > self._limits.connections:
            self._refuse(too_many_connections())
        else:
            self._timer = self.loop.call_later(self._limits.header_s, self.hang_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)
        if self.on_leave is not None:
            self.on_leave()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._fed = len(data) + (self._fed if self._phase is _Reading.HEADERS else 0)
        super().data_received(data)
        if self._phase is _Reading.HEADERS and self._fed > self._limits.header_bytes:
            self._refuse(HEADERS_TOO_LARGE)
        if not self._refused:
            self._keep_time()

    def on_message_begin(self) -> None:
        self._phase = _Reading.HEADERS
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        limit = self._limits.header_bytes
        if self._fed > limit and sum(len(n) + len(v) + 4 for n, v in self.headers) + len(self.url) > limit:
            self._refuse(HEADERS_TOO_LARGE)
            raise HttpParserError("headers too large")
        self._phase = _Reading.BODY
        super().on_headers_complete()
        if self.scope["http_version"] == "1.0":
            cycle: Any = self.cycle
            cycle.send = _UntilClosed(self.cycle)

    def on_message_complete(self) -> None:
        self._phase = _Reading.NOTHING
        super().on_message_complete()

    def hang_up(self) -> None:
        """Abort the connection, unsent bytes and all."""
        self.transport.abort()

    def timeout_keep_alive_handler(self) -> None:
        """A client that did not even read its last answer is not waited for."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        super().timeout_keep_alive_handler()

    def handle_websocket_upgrade(self) -> None:
        self._stop_timer()
        if isinstance(self.transport, Corked):
            self.transport = self.transport.open
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        if not self._refused:
            self._refuse(MALFORMED)

    def _unsupported_upgrade_warning(self) -> None:
        """What follows an upgrade that we do not know is not ours to read."""
        self.cycle.keep_alive = False

    def _keep_time(self) -> None:
        """One deadline for a request's headers, one for its body, none while the app works on it."""
        idle = self.cycle is None or self.cycle.response_complete
        if self._phase is _Reading.NOTHING and not idle:
            self._stop_timer()
        elif self._timer is None or (self._phase is not _Reading.NOTHING and self._phase is not self._timed):
            self._stop_timer()
            self._timed = self._phase
            if self._phase is _Reading.BODY:
                self._timer = self.loop.call_later(self._limits.body_s, self._body_too_slow)
            else:
                self._timer = self.loop.call_later(self._limits.header_s, self.hang_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _body_too_slow(self) -> None:
        self._refuse(BODY_TIMEOUT)

    def _refuse(self, failure: Failure) -> None:
        """Answer in the app's stead and close; the app, if it waits for this request's body, sees its client leave."""
        self._refused = True
        self._stop_timer()
        if self.cycle is not None and not self.cycle.response_complete:
            of_this = self._phase is _Reading.BODY and not self.pipeline
            if not of_this or self.cycle.response_started:
                self.hang_up()
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._write(failure)
        self.transport.close()

    def _write(self, failure: Failure) -> None:
        body = failure.body()
        self.transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            % (failure.status, HTTPStatus(failure.status).phrase.encode(), len(body))
            + b"x-request-id: %s\r\n" % new_id().encode()
            + b"".join(b"%s: %s\r\n" % header for header in failure.extra_headers() if header[0] != b"connection")
            + b"connection: close\r\n\r\n"
            + body
        )
