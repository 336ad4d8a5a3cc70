"""One running child: how it is started, found again, signalled and laid to rest."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from worker_embed.process import environment, proc
from worker_embed.process.records import Record
from worker_embed.process.spec import ProcessSpec

_TIED = str(Path(__file__).with_name("tied.py"))


class Child:
    """A process that leads a session of its own, whether we started it or found it.

    Its exit is read from a pidfd, which works in any thread and for children of others.
    """

    def __init__(self, id: str, home: Path, pid: int, on_end: Callable[[], None]) -> None:
        self.id = id
        self.pid = pid
        self.ended = False
        self._home = home
        self._on_end = on_end
        self._fd = os.pidfd_open(pid)
        found = proc.stat(pid)
        self.start_ticks = found.start_ticks if found else 0
        asyncio.get_running_loop().add_reader(self._fd, self._end)

    @classmethod
    def start(cls, spec: ProcessSpec, home: Path, environ: Mapping[str, str], on_end: Callable[[], None]) -> Child:
        """Start `spec`; raises OSError or ValueError when it cannot be.

        A child that is to die with us dies with the thread that calls this.
        """
        tie = () if spec.own_session else (sys.executable, "-I", "-S", _TIED, str(os.getpid()))
        with open(os.open(spec.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as log:
            process = subprocess.Popen(
                [*tie, *spec.argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**environ, **spec.env, **environment.marks(spec.id, home)},
                cwd=home,
                start_new_session=True,
            )
        try:
            child = cls(spec.id, home, process.pid, on_end)
        except OSError:  # no file descriptor left to watch it by
            os.killpg(process.pid, signal.SIGKILL)  # with what it may have started by now
            process.wait()
            raise
        # Otherwise Popen waits for it behind our back, and complains when it outlives us.
        process.returncode = 0
        return child

    @classmethod
    def find(cls, record: Record, home: Path, on_end: Callable[[], None]) -> Child | None:
        """The child of `record` if it still runs; another process that has its pid by now is not it."""
        pid = record.state.pid
        if pid is None or not record.own_session or record.boot_id != proc.boot_id():
            return None
        try:
            child = cls(record.state.id, home, pid, on_end)
        except OSError:  # no such process, or by now the number of a thread
            return None
        # The pidfd is open: from here on the pid cannot come to mean another process.
        found = proc.stat(pid)
        same = found is not None and found.alive and found.start_ticks == record.start_ticks
        if same and environment.mark_of(pid, home) == record.state.id:
            return child
        child.release()
        return None

    def ask_to_end(self) -> None:
        """SIGTERM to the child alone, so that it can drain what it leads."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._fd, signal.SIGTERM)

    def ask_all_to_end(self) -> None:
        """SIGTERM to its group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to it and to all that it started."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._fd, signal.SIGKILL)
        kill(self._others())

    async def bury(self) -> str:
        """End what the child left behind, once it has ended; returns how it ended, or nothing if that is unknown.

        It takes as long as a driver holds a process: until then its GPU memory is not free either.
        """
        # The session's number is free for others only after the last member is gone and its leader reaped.
        await kill_all(self._others)
        status = self._status()
        self.release()
        return status

    def _status(self) -> str:
        try:
            result = os.waitid(os.P_PIDFD, self._fd, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            return ""
        if result is None:
            return ""
        if result.si_code == os.CLD_EXITED:
            return f"exit {result.si_status}"
        names: dict[int, str] = {known.value: known.name for known in signal.Signals}
        return names.get(result.si_status, f"signal {result.si_status}")

    def release(self) -> None:
        """Stop watching; the child runs on."""
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        self.ended = True
        self._on_end()

    def _others(self) -> set[int]:
        """Its session, and processes that left the session but carry its mark."""
        return {pid for pid in proc.own_pids() if pid != self.pid and self._is_mine(pid)}

    def _is_mine(self, pid: int) -> bool:
        found = proc.stat(pid)
        return (
            found is not None
            and found.alive
            and (found.session == self.pid or environment.mark_of(pid, self._home) == self.id)
        )


def kill(pids: set[int]) -> None:
    """SIGKILL to those that still run."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def kill_all(find: Callable[[], set[int]]) -> None:
    """SIGKILL what `find` finds until it finds nothing more: a process may fork while it is looked for."""
    pause_s = 0.001
    while found := find():
        kill(found)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, 0.25)
