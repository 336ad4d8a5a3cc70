"""uvicorn's HTTP protocol with what it leaves out: bounds on header bytes, on slow requests and on connections.

uvicorn with httptools refuses every request-smuggling vector that is known to us, but reads headers without end and
waits for them for ever; its h11 fallback also smuggles, so httptools is imported here and never looked for.
"""

from __future__ import annotations

import asyncio
import uuid
from enum import Enum, auto
from http import HTTPStatus

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from console.gateway.config import Limits
from console.gateway.errors import HEADERS_TOO_LARGE, MALFORMED, Failure, too_many_connections

HANG_UP = "hang_up"
"""Key in the state of an ASGI scope of a function that aborts the connection, unsent bytes and all."""


class _Reading(Enum):
    NOTHING = auto()
    HEADERS = auto()
    BODY = auto()


class GuardedHttp(HttpToolsProtocol):
    """One client's connection."""

    def __init__(self, limits: Limits, config: Config, state: ServerState) -> None:
        super().__init__(config=config, server_state=state, app_state={HANG_UP: self._hang_up})
        self._limits = limits
        self._phase = _Reading.NOTHING
        self._timed = _Reading.HEADERS
        self._timer: asyncio.TimerHandle | None = None
        self._fed = 0
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            self._refuse(too_many_connections())
        else:
            self._timer = self.loop.call_later(self._limits.header_s, self._hang_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

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
        self._phase = _Reading.BODY
        limit = self._limits.header_bytes
        if self._refused:
            return
        if self._fed > limit and sum(len(n) + len(v) for n, v in self.headers) + len(self.url) > limit:
            self._refuse(HEADERS_TOO_LARGE)
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._phase = _Reading.NOTHING
        if not self._refused:
            super().on_message_complete()

    def timeout_keep_alive_handler(self) -> None:
        """A client that did not even read its last answer is not waited for."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        super().timeout_keep_alive_handler()

    def handle_websocket_upgrade(self) -> None:
        self._stop_timer()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
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
            body_s, header_s = self._limits.body_s + 5, self._limits.header_s
            allowed_s = body_s if self._phase is _Reading.BODY else header_s
            self._timer = self.loop.call_later(allowed_s, self._hang_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _hang_up(self) -> None:
        self.transport.abort()

    def _refuse(self, failure: Failure) -> None:
        """Answer without the app, which may not have seen this request, and close."""
        self._refused = True
        self._stop_timer()
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()
            return
        body = failure.body()
        self.transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            % (failure.status, HTTPStatus(failure.status).phrase.encode(), len(body))
            + b"x-request-id: %s\r\n" % str(uuid.uuid4()).encode()
            + b"".join(b"%s: %s\r\n" % header for header in failure.extra_headers() if header[0] != b"connection")
            + b"connection: close\r\n\r\n"
            + body
        )
        self.transport.close()
