"""A supervisor on a home of its own, and children small enough to read at a glance."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from worker_embed.process import environment, proc
from worker_embed.process.backoff import Backoff
from worker_embed.process.liveness import TICK_S, Patience
from worker_embed.process.spec import Phase, ProcessSpec, ProcessState, Stop
from worker_embed.process.supervisor import Supervisor

QUICK = Backoff(first_s=0.01, most_s=0.05)
IMPATIENT = Patience(every_s=TICK_S)
DRAINS = 'trap "echo drained; exit 0" TERM; touch "$READY"; sleep 1000 & wait'
"""Ends by itself when asked to."""
DRAINS_LATE = 'trap "until [ -e $READY.go ]; do sleep 0.01; done; exit 0" TERM; touch "$READY"; sleep 1000 & wait'
"""Drains until the file `$READY.go` is there."""
STUBBORN = 'trap "" TERM; sh -c "sleep 1001" & touch "$READY"; wait'
"""Ignores SIGTERM, and so does what it started."""


def shell(home: Path, id: str, script: str, *, stop: Stop = Stop(), own_session: bool = True) -> ProcessSpec:
    """A child that runs `script` and is ready when it has made the file `$READY`."""
    ready = home / f"{id}.ready"

    async def made() -> bool:
        return ready.exists()

    return ProcessSpec(
        id=id,
        role="test",
        argv=("/bin/sh", "-c", script),
        env={"READY": str(ready), "EVENTS": str(home / f"{id}.events")},
        ready=made,
        stop=stop,
        log=home / f"{id}.log",
        events=home / f"{id}.events",
        own_session=own_session,
        labels={"model": f"default/{id}"},
    )


class Bench:
    """One leader after another on the same home, and what they were told."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.told: list[ProcessState] = []
        self.deaths: list[ProcessState] = []
        self.ahead_s = 0.0
        """How far the clock is ahead of the real one."""
        self.owner_fails = False
        """Whether the owner fails to deal with deaths and changes."""

    def now(self) -> float:
        return time.time() + self.ahead_s

    def lead(self, backoff: Backoff = QUICK, environ: Mapping[str, str] = os.environ) -> Supervisor:
        async def on_death(state: ProcessState) -> None:
            self.deaths.append(state)
            if self.owner_fails:
                raise ConnectionError("no queue to give deliveries back to")

        def on_change(state: ProcessState) -> None:
            self.told.append(state)
            if self.owner_fails:
                raise ConnectionError("no screen to tell it to")

        return Supervisor(
            self.home / "run" / "procs",
            home=self.home,
            environ=environ,
            on_change=on_change,
            on_death=on_death,
            backoff=backoff,
            patience=IMPATIENT,
            now=self.now,
        )

    def phases(self, id: str) -> list[Phase]:
        """The phases that `id` went through, each named once in a row."""
        seen = [state.phase for state in self.told if state.id == id]
        return [phase for before, phase in zip([None, *seen], seen, strict=False) if phase != before]

    def last(self, id: str, phase: Phase) -> ProcessState:
        return [state for state in self.told if state.id == id and state.phase is phase][-1]

    def processes(self) -> set[int]:
        """Living processes of this home, children and what they started."""
        return {pid for pid, _ in environment.marked(self.home)}

    def kill_everything(self) -> None:
        while pids := self.processes():
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)


async def until(happened: Callable[[], object]) -> None:
    """Wait for something that processes do; fails after 10 s."""
    give_up_s = time.monotonic() + 10
    while time.monotonic() < give_up_s:
        if happened():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("did not happen within 10 s")


async def ready(supervisor: Supervisor, id: str) -> int:
    """Wait until `id` is ready; its pid."""

    def pid() -> int | None:
        state = supervisor.states().get(id)
        return state.pid if state and state.phase is Phase.READY else None

    await until(pid)
    return pid() or 0


def running(pid: int) -> bool:
    found = proc.stat(pid)
    return found is not None and found.alive


def reap(pid: int) -> None:
    """Wait for a child of ours that nobody watches any more."""
    os.waitpid(pid, 0)


def is_zombie(pid: int) -> bool:
    found = proc.stat(pid)
    return found is not None and not found.alive and found.parent == os.getpid()
