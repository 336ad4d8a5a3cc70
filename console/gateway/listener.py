"""The port that workers call back: one WebSocket per worker, binary frames of the subprotocol `uplion.1`.

On picows, because a frame costs it 2 us of CPU; websockets and aiohttp spend 22 us on one.
"""

from __future__ import annotations

import asyncio
import socket
from http import HTTPStatus

import msgspec
from picows import (
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from console.gateway.node import Link, Node
from worker_embed.frames import Outbox, from_worker
from worker_embed.wire import SUBPROTOCOL

FRAME_BYTES = 16 * 1024 * 1024
UNREAD_BYTES = 1024 * 1024
HANDSHAKE_S = 10.0


class Callback(WSListener):
    """One worker's connection."""

    def __init__(self, node: Node, open_calls: set[Callback]) -> None:
        super().__init__()
        self._node = node
        self._open_calls = open_calls
        self._parts: list[bytes] = []
        self._outbox = Outbox(self._send)

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._open_calls.add(self)
        self._link: Link = self._node.connect(self._outbox.put)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._open_calls.discard(self)
        self._link.close()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        match frame.msg_type:
            case WSMsgType.BINARY | WSMsgType.CONTINUATION:
                self._take(frame)
            case WSMsgType.TEXT:
                self._hang_up(WSCloseCode.UNSUPPORTED_DATA, b"binary frames only")
            case WSMsgType.CLOSE:
                transport.send_close(frame.get_close_code())
                transport.disconnect()

    def close(self) -> None:
        """Say that this process stops."""
        self._outbox.flush()
        self._hang_up(WSCloseCode.GOING_AWAY, b"")

    def _take(self, part: WSFrame) -> None:
        data = part.get_payload_as_bytes()
        if not part.fin or self._parts:
            self._parts.append(data)
            if not part.fin:
                if sum(map(len, self._parts)) > FRAME_BYTES:
                    self._hang_up(WSCloseCode.MESSAGE_TOO_BIG, b"")
                return
            data = b"".join(self._parts)
            self._parts.clear()
        try:
            frames = from_worker(data)
        except msgspec.DecodeError:
            self._hang_up(WSCloseCode.INVALID_TEXT, b"no frames of this protocol")
            return
        for frame in frames:
            self._link.receive(frame)

    def _send(self, message: bytes) -> None:
        """Send without waiting; a worker that reads nothing is dropped."""
        if self._transport.underlying_transport.get_write_buffer_size() > UNREAD_BYTES:
            self._transport.disconnect(graceful=False)
        else:
            self._transport.send(WSMsgType.BINARY, message)

    def _hang_up(self, code: WSCloseCode, reason: bytes) -> None:
        self._transport.send_close(code, reason)
        self._transport.disconnect()


class Listener:
    """Accepts workers until it is closed."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._calls: set[Callback] = set()
        self._server: asyncio.Server | None = None

    async def start(self, sock: socket.socket) -> None:
        """Listen on a bound socket and tell the node its URL."""
        self._server = await ws_create_server(
            self._answer, sock=sock, websocket_handshake_timeout=HANDSHAKE_S, max_frame_size=FRAME_BYTES
        )
        host, port = sock.getsockname()[:2]
        self._node.url = f"ws://{f'[{host}]' if ':' in host else host}:{port}/"

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for call in list(self._calls):
            call.close()

    def _answer(self, request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        """Web pages may not call here, nor who does not offer our subprotocol."""
        if "Origin" in request.headers:
            return _refusal(HTTPStatus.FORBIDDEN, b"Web pages may not call here.\n")
        offered = ",".join(request.headers.getall("Sec-WebSocket-Protocol", []))
        if SUBPROTOCOL not in map(str.strip, offered.split(",")):
            return _refusal(HTTPStatus.BAD_REQUEST, f"Offer the subprotocol {SUBPROTOCOL}.\n".encode())
        response = WSUpgradeResponse.create_101_response({"Sec-WebSocket-Protocol": SUBPROTOCOL})
        return WSUpgradeResponseWithListener(response, Callback(self._node, self._calls))


def _refusal(status: HTTPStatus, why: bytes) -> WSUpgradeResponseWithListener:
    return WSUpgradeResponseWithListener(WSUpgradeResponse.create_error_response(status, why), None)
