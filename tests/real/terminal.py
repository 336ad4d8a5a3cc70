"""A program in a terminal of its own: keys in, text out, and it can be closed like a window."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import struct
import termios
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from tests.real.box import LIMIT_S, UPLION

SIZES = frozenset({"COLUMNS", "LINES"})
"""Set by who runs the tests; a program believes them more than its terminal."""
_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|[PX^_\]].*?(\x1b\\|\x07)|.)", re.DOTALL)


class Terminal:
    """`uplion` as a user runs it."""

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self.process, self._master = process, master
        self._output = bytearray()
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(master, self._read)

    @property
    def pid(self) -> int:
        return self.process.pid

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    async def shows(self, text: str) -> None:
        """Wait until `text` was painted since the last call."""
        try:
            async with asyncio.timeout(LIMIT_S):
                while text not in self.painted:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"never painted: {text!r}; the last was {self.painted[-2000:]!r}") from None
        self._output.clear()

    @property
    def painted(self) -> str:
        return _ESCAPES.sub("", self._output.decode(errors="replace"))

    async def ended(self) -> int:
        """Its exit code."""
        async with asyncio.timeout(LIMIT_S):
            return await self.process.wait()

    def close(self) -> None:
        """Close the window: the kernel sends SIGHUP."""
        if self._master >= 0:
            asyncio.get_running_loop().remove_reader(self._master)
            os.close(self._master)
            self._master = -1

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            self._output += os.read(self._master, 65536)
        self._news.set()


@asynccontextmanager
async def console(env: Mapping[str, str]) -> AsyncIterator[Terminal]:
    """The console in a terminal of 120 x 40; killed at the end of the block if it still runs."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *UPLION,
        env={**{name: value for name, value in env.items() if name not in SIZES}, "TERM": "xterm-256color"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    terminal = Terminal(process, master)
    try:
        yield terminal
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        terminal.close()
