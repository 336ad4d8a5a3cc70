"""A program on a terminal of its own, and its CPU time at the moment it painted a text."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from tests.bench.cpu import cpu_s

READ_BYTES = 1 << 16
LIMIT_S = 60.0
END_S = 10.0
LAST_BYTES = 4_096


class Terminal:
    """Reads whatever the program paints; nobody answers what it asks."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], *, columns: int, rows: int) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._process = subprocess.Popen(
            argv, env=env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, close_fds=True
        )
        os.close(slave)
        self.pid = self._process.pid
        self._wanted = b""
        self._tail = b""
        self._painted: asyncio.Future[float] | None = None
        os.set_blocking(self._master, False)
        asyncio.get_running_loop().add_reader(self._master, self._read)

    async def paints(self, text: str) -> float:
        """The program's CPU seconds at the moment it has painted `text` for the first time."""
        self._wanted, self._painted = text.encode(), asyncio.get_running_loop().create_future()
        self._look()
        try:
            return await asyncio.wait_for(self._painted, LIMIT_S)
        except TimeoutError:
            raise RuntimeError(f"{text!r} was not painted in {LIMIT_S:g} s: {self._tail[-500:]!r}") from None

    def _read(self) -> None:
        try:
            data = os.read(self._master, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:  # what Linux answers once nobody has the other side open
            asyncio.get_running_loop().remove_reader(self._master)
            if self._painted is not None and not self._painted.done():
                self._painted.set_exception(RuntimeError(f"it ended: {self._tail[-LAST_BYTES:].decode()}"))
            return
        self._tail = (self._tail + data)[-LAST_BYTES - READ_BYTES :]
        self._look()

    def _look(self) -> None:
        if self._painted is not None and not self._painted.done() and self._wanted in self._tail:
            self._painted.set_result(cpu_s(self.pid))

    async def close(self) -> None:
        """End the program, in good order if it will."""
        try:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, END_S)
        finally:
            self._process.kill()
            self._process.wait()
            asyncio.get_running_loop().remove_reader(self._master)
            os.close(self._master)


@asynccontextmanager
async def terminal(*argv: str, env: Mapping[str, str], columns: int = 160, rows: int = 50) -> AsyncIterator[Terminal]:
    """A program that has ended when the block ends."""
    running = Terminal(argv, {**env, "TERM": "xterm-256color", "COLORTERM": "truecolor"}, columns=columns, rows=rows)
    try:
        yield running
    finally:
        await running.close()
