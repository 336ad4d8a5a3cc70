"""How processes tell each other that the store changed: one datagram to everybody who waits."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final as Constant

LOOK_S: Constant = 1.0
"""How often a watcher looks by itself, in case no bell rang."""


def ring(folder: Path) -> None:
    """Wake all who wait; never blocks, never fails: who is not reached looks within a second.

    Sockets that nobody holds any more are removed.
    """
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
        for bell in _bells(folder):
            try:
                sender.sendto(b"!", bell)
            except ConnectionRefusedError:
                with suppress(FileNotFoundError):
                    os.unlink(bell)
            except OSError:
                continue


class Doorbell:
    """One who waits; a context manager, used on one event loop."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"{os.getpid()}-{os.urandom(4).hex()}"
        self._socket: socket.socket | None = None
        self._rung = asyncio.Event()

    def open(self) -> None:
        """Hear what rings from now on."""
        bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            bell.bind(str(self._path))
            asyncio.get_running_loop().add_reader(bell, self._hear)
        except BaseException:
            bell.close()
            raise
        self._socket = bell

    def close(self) -> None:
        """Hear no more, and leave nothing in the folder."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        with suppress(OSError):
            self._path.unlink()

    def __enter__(self) -> Doorbell:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def wait(self, timeout_s: float) -> bool:
        """Return True once it was rung since the last call, False after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True

    def _hear(self) -> None:
        with suppress(BlockingIOError):
            while self._socket is not None and self._socket.recv(16):
                self._rung.set()


def _bells(folder: Path) -> list[str]:
    try:
        return [entry.path for entry in os.scandir(folder)]
    except FileNotFoundError:
        return []
