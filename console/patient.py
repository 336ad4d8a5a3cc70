"""Keys from the terminal, waited for instead of looked for."""

from __future__ import annotations

import os
from codecs import getincrementaldecoder
from contextlib import suppress
from selectors import EVENT_READ, SelectSelector
from threading import Event
from typing import Any, TextIO, cast

from textual import constants
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

READ_BYTES = 4_096
SETTLE_S = constants.ESCAPE_DELAY + 0.01
"""After this long an escape that was begun is a key of its own."""


class Bell(Event):
    """An event that can be waited for beside a file."""

    def __init__(self) -> None:
        super().__init__()
        self._heard, self._rings = os.pipe()

    def fileno(self) -> int:
        """Can be read while it is set."""
        return self._heard

    def set(self) -> None:
        if not self.is_set():
            super().set()
            os.write(self._rings, b"!")

    def clear(self) -> None:
        if self.is_set():
            super().clear()
            os.read(self._heard, 1)


class Closable:
    """A terminal that may be closed: what is written after that goes nowhere.

    Textual's writer would end at the first write that fails, and whoever writes on would wait for it for ever; the
    kernel's SIGCONT after a hang-up even has it paint anew.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.fileno = file.fileno

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._file.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._file.flush()


class PatientDriver(LinuxDriver):
    """Textual's own looks ten times a second whether it should end: a fifth of what an idle console may cost."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        assert self._file is not None
        self._file = cast(Any, Closable(self._file))
        self.exit_event = self._bell = Bell()

    def run_input_thread(self) -> None:
        """Hand on what is typed until `exit_event`."""
        parser = XTermParser(self._debug)
        decode = getincrementaldecoder("utf-8")(errors="replace").decode
        with SelectSelector() as waiting:
            waiting.register(self.fileno, EVENT_READ)
            waiting.register(self._bell, EVENT_READ)
            settle_s: float | None = None
            while True:
                ready = waiting.select(settle_s)
                if self._bell.is_set():
                    return
                if ready:
                    if not (typed := self._typed()):
                        return
                    if text := decode(typed):
                        for event in parser.feed(text):
                            self.process_message(event)
                for event in parser.tick():
                    self.process_message(event)
                settle_s = SETTLE_S if ready else None

    def _typed(self) -> bytes:
        """What the terminal has; nothing once it is gone."""
        try:
            return os.read(self.fileno, READ_BYTES)
        except OSError:
            return b""
