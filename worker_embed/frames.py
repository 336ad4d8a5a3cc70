"""How frames of `uplion.1` travel: a message of the WebSocket is a msgpack array of them, in order.

What one turn of the loop sends leaves as one message, so that a busy node and its workers pay for a system call, a
wake-up and a WebSocket header once for many requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from worker_embed.wire import FromNode, FromWorker

JOINED_BYTES: Final = 64 * 1024
"""A message of this size waits for no more frames."""

_encode = msgspec.msgpack.Encoder().encode
from_worker: Callable[[bytes], list[FromWorker]] = msgspec.msgpack.Decoder(list[FromWorker]).decode
"""Raises `msgspec.DecodeError`."""
from_node: Callable[[bytes], list[FromNode]] = msgspec.msgpack.Decoder(list[FromNode]).decode
"""Raises `msgspec.DecodeError`."""


class Outbox:
    """Gathers what goes to the other side; `send` takes a whole message and never blocks."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._frames: list[msgspec.Raw] = []
        self._size = 0

    def put(self, frame: FromNode | FromWorker) -> None:
        """Send a frame, with what else is put until the loop turns."""
        data = _encode(frame)
        if not self._frames:
            asyncio.get_running_loop().call_soon(self.flush)
        self._frames.append(msgspec.Raw(data))
        self._size += len(data)
        if self._size >= JOINED_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what was put now."""
        if self._frames:
            message = _encode(self._frames)
            self._frames.clear()
            self._size = 0
            self._send(message)
