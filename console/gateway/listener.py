"""The port that workers call back: one WebSocket per worker, binary frames of the subprotocol `uplion.1`.

On websockets' sans-I/O server, because a frame that comes alone costs 22 us of CPU as with aiohttp (35 us with uvicorn
or websockets' own server), frames are sent without a task, and importing aiohttp would cost half a second of CPU.
"""

from __future__ import annotations

import asyncio
import socket
from http import HTTPStatus
from typing import cast

import msgspec
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from console.gateway.node import Link, Node
from worker_embed.wire import SUBPROTOCOL

FRAME_BYTES = 16 * 1024 * 1024
UNREAD_BYTES = 1024 * 1024
HANDSHAKE_S = 10.0


class Callback(asyncio.Protocol):
    """One worker's connection."""

    def __init__(self, node: Node, open_calls: set[Callback]) -> None:
        self._node = node
        self._open_calls = open_calls
        self._link: Link | None = None
        self._parts: list[bytes] = []
        self._ws = ServerProtocol(subprotocols=[Subprotocol(SUBPROTOCOL)], max_size=FRAME_BYTES)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)
        self._open_calls.add(self)
        self._late = asyncio.get_running_loop().call_later(HANDSHAKE_S, self._transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._late.cancel()
        self._open_calls.discard(self)
        if self._link is not None:
            self._link.close()

    def data_received(self, data: bytes) -> None:
        ws = self._ws
        ws.receive_data(data)
        for event in ws.events_received():
            if isinstance(event, Request):
                self._greet(event)
            elif isinstance(event, Frame):
                self._take(event)
        self._flush()

    def eof_received(self) -> None:
        self._ws.receive_eof()
        self._flush()

    def send(self, frame: bytes) -> None:
        """Send without waiting; a worker that reads nothing is dropped."""
        if self._ws.state is not State.OPEN:
            return
        if self._transport.get_write_buffer_size() > UNREAD_BYTES:
            self._transport.abort()
            return
        self._ws.send_binary(frame)
        self._flush()

    def close(self) -> None:
        """Say that this process stops."""
        if self._link is not None:
            self._ws.send_close(CloseCode.GOING_AWAY)
            self._flush()
        self._transport.close()

    def _greet(self, request: Request) -> None:
        response = self._ws.accept(request)
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            response = self._refusal(request) or response
        self._ws.send_response(response)
        self._late.cancel()
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            self._link = self._node.connect(self.send)
        else:
            self._flush()
            self._transport.close()

    def _refusal(self, request: Request) -> Response | None:
        if "Origin" in request.headers:
            return self._ws.reject(HTTPStatus.FORBIDDEN, "Web pages may not call here.\n")
        if self._ws.subprotocol != SUBPROTOCOL:
            return self._ws.reject(HTTPStatus.BAD_REQUEST, f"Offer the subprotocol {SUBPROTOCOL}.\n")
        return None

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.TEXT:
            self._ws.fail(CloseCode.UNSUPPORTED_DATA, "binary frames only")
        if frame.opcode not in (Opcode.BINARY, Opcode.CONT) or self._link is None:
            return
        data = bytes(frame.data)
        if not frame.fin or self._parts:
            self._parts.append(data)
            if not frame.fin:
                return
            data = b"".join(self._parts)
            self._parts.clear()
        try:
            self._link.receive(data)
        except msgspec.DecodeError:
            self._ws.fail(CloseCode.INVALID_DATA, "not a frame of this protocol")

    def _flush(self) -> None:
        if out := self._ws.data_to_send():
            self._transport.write(b"".join(out))
        if self._ws.close_expected() or self._ws.handshake_exc is not None:
            self._transport.close()


class Listener:
    """Accepts workers until it is closed."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._calls: set[Callback] = set()
        self._server: asyncio.Server | None = None

    async def start(self, sock: socket.socket) -> None:
        """Listen on a bound socket and tell the node its URL."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Callback(self._node, self._calls), sock=sock)
        host, port = sock.getsockname()[:2]
        self._node.url = f"ws://{f'[{host}]' if ':' in host else host}:{port}/"

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for call in list(self._calls):
            call.close()
