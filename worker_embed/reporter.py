"""How a worker tells what it is doing; see `worker_embed.report`."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from worker_embed.report import Change, Told, WorkerBeat

log = logging.getLogger("worker")


class Reporter:
    """Appends changes to a file and throws figures at a socket; neither ever stops the work."""

    def __init__(self, events: Path | None, beat: Path | None, now_s: Callable[[], float] = time.time) -> None:
        self._events, self._beat, self._now_s = events, beat, now_s
        self._last = ("", "")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

    def change(self, reason: str, message: str = "") -> None:
        """Tell a state or an error once, until it is another."""
        if (reason, message) == self._last:
            return
        self._last = (reason, message)
        log.info("%s%s", reason, f": {message}" if message else "")
        line = msgspec.json.encode(Change(at=self._now_s(), reason=str(reason), message=message)) + b"\n"
        if self._events is None:
            sys.stderr.buffer.write(line)
            sys.stderr.flush()
            return
        try:
            descriptor = os.open(self._events, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)
        except OSError as error:
            log.warning("cannot tell %s: %s", reason, error)
        else:
            self._send(Told())

    def beat(self, figures: WorkerBeat) -> None:
        """Send figures to whoever listens; nobody is no error."""
        self._send(figures)

    def close(self) -> None:
        """Send no more."""
        self._socket.close()

    def _send(self, datagram: WorkerBeat | Told) -> None:
        if self._beat is not None:
            with suppress(OSError):
                self._socket.sendto(msgspec.msgpack.encode(datagram), str(self._beat))
