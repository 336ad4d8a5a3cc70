"""Figures of workers and API nodes, as datagrams that nobody waits for."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from worker_embed.report import Beat, Told

log = logging.getLogger(__name__)
MAX_BEAT_BYTES = 256 * 1024


class Beats:
    """Listens on a datagram socket: passes figures on, and has somebody look when a line was written."""

    def __init__(self, path: Path, hear: Callable[[Beat], None], look: Callable[[], None]) -> None:
        self._path, self._hear, self._look = path, hear, look
        self._decode = msgspec.msgpack.Decoder(Beat | Told).decode
        self._socket: socket.socket | None = None

    def start(self) -> None:
        """Bind; a socket left by a leader that died is replaced."""
        self._path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(self._path))
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def close(self) -> None:
        """Stop listening."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
            self._path.unlink(missing_ok=True)

    def _read(self) -> None:
        with suppress(BlockingIOError):
            while self._socket is not None:
                data = self._socket.recv(MAX_BEAT_BYTES)
                try:
                    beat = self._decode(data)
                except msgspec.MsgspecError as error:
                    log.warning("a figure was not understood: %s", error)
                    continue
                if isinstance(beat, Told):
                    self._look()
                else:
                    self._hear(beat)
