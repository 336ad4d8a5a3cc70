"""Keys on a terminal, read by a driver that sleeps until there are some."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import sys
import termios
from collections.abc import AsyncIterator

import pytest

from tests.real.terminal import Terminal

pytestmark = pytest.mark.anyio

PROGRAM = """
from textual.app import App
from textual.widgets import Label
from console.patient import PatientDriver

class Keys(App):
    def compose(self):
        yield Label("ready")

    def on_key(self, event):
        if event.key == "s":
            with self.suspend():
                print("away")
        if event.key == "q":
            self.exit()
        self.query_one(Label).update(f"got {event.key} of {event.character!r}")

Keys(driver_class=PatientDriver).run()
"""


@pytest.fixture
async def terminal() -> AsyncIterator[Terminal]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 60, 0, 0))
    env = {**os.environ, "TERM": "xterm-256color"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, env=env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    os.close(slave)
    try:
        yield (terminal := Terminal(process, master))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        terminal.close()


async def test_what_is_typed_arrives_also_after_an_editor_had_the_terminal(terminal: Terminal) -> None:
    await terminal.shows("ready")
    terminal.type("a")
    await terminal.shows("got a")
    terminal.type("é")
    await terminal.shows("é")
    terminal.type("s")
    await terminal.shows("away")
    await terminal.shows("got s")
    terminal.type("\x1b[A")
    await terminal.shows("got up")
    terminal.type("q")
    assert await terminal.ended() == 0


async def test_escape_alone_is_a_key_after_a_moment(terminal: Terminal) -> None:
    await terminal.shows("ready")
    terminal.type("\x1b")
    await terminal.shows("got escape")
    terminal.type("q")
    assert await terminal.ended() == 0
