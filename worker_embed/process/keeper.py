"""Keeps one process as its owner wants it: a task that starts, watches, stops and starts it again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from worker_embed.process import proc
from worker_embed.process.backoff import Backoff
from worker_embed.process.child import Child
from worker_embed.process.files import ChangesFile, tail_lines
from worker_embed.process.liveness import Patience, Probe, answered, answers
from worker_embed.process.records import Record, Records
from worker_embed.process.spec import Phase, ProcessSpec, ProcessState

_log = logging.getLogger(__name__)
_TAIL_LINES = 20
_AGAIN_S = 1.0
_LOOK_S = 5.0
"""How often the wall clock is looked at while a next try is waited for."""
_OF_THE_LIVING = {"Starting", "Loading", "Ready", "Paused", "Sleeping", "Draining"}
"""Reasons of changes that do not tell why a child ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the keepers of one supervisor share."""

    home: Path
    environ: Mapping[str, str]
    """The part of our own environment that children get."""
    records: Records
    backoff: Backoff
    patience: Patience
    now: Callable[[], float]
    on_change: Callable[[ProcessState], None]
    on_death: Callable[[ProcessState], Awaitable[None]]
    on_gone: Callable[[str], None]


class Keeper:
    """One supervised process, from its first start or its adoption until nobody wants it.

    Owners set what they want and poke; only the task acts, so no two intents meet half done.
    """

    def __init__(self, around: Surroundings, record: Record) -> None:
        self._around = around
        self._record = record
        self._changes = ChangesFile(Path(record.events), record.events_read) if record.events else None
        self._spec: ProcessSpec | None = None
        """What should run; none while it is being retired, and after adoption until its owner asks for it."""
        self._child: Child | None = None
        self._due_s = 0.0
        """When the next try is, by the loop's clock: a step of the wall clock must not make it a day."""
        self._poked = asyncio.Event()
        self._retired: asyncio.Future[None] | None = None
        self._hurry = self._again = False
        self._killed = ""
        """Why we killed it."""
        self._asking: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, around: Surroundings, spec: ProcessSpec) -> Keeper:
        """For a process that never ran."""
        return cls(around, Record.of(spec, around.now()))

    @property
    def state(self) -> ProcessState:
        return self._record.state

    # What owners ask for

    def begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._live())
        self._task.add_done_callback(_surface)

    def run(self, spec: ProcessSpec) -> None:
        """Have `spec` running; a child with another hash is stopped first."""
        self._spec = spec
        self._record = msgspec.structs.replace(self._record, stop=spec.stop)
        if spec.spec_hash == self.state.spec_hash and spec.labels != self.state.labels:
            self._become(labels=dict(spec.labels))
        self._poked.set()

    async def retire(self, drain: bool) -> None:
        """Returns when the process is gone."""
        self._spec = None
        self._hurry |= not drain
        if self._retired is None:
            self._retired = asyncio.get_running_loop().create_future()
        self._poked.set()
        await asyncio.shield(self._retired)

    def restart(self) -> None:
        self._again = True
        self._poked.set()

    def kill(self, why: str = "killed by an operator") -> None:
        if self._child is not None and not self._child.ended:
            self._killed = why
            self._child.kill()

    def follow(self) -> None:
        """Tell the changes that the child wrote since the last call."""
        if self._child is not None:
            self._read_changes()

    def _read_changes(self) -> None:
        for change in self._changes.newest() if self._changes else ():
            self._become(change=change)

    async def detach(self) -> None:
        """Let the child run on unwatched; one that is to die with us does."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._stop_asking()
        if self._child is None:
            return
        if self._record.own_session:
            self._child.release()
            return
        self._child.kill()
        await self._ends(self._child)
        await self._child.bury()
        self._around.records.remove(self.state.id)

    # Adoption

    def find(self) -> bool:
        """Whether the recorded child still runs, or waits for its next try."""
        if self.state.phase is Phase.BACKOFF and self._record.boot_id == proc.boot_id():
            left_s = (self.state.next_try_s or 0.0) - self._around.now()
            self._wait(min(left_s, self._around.backoff.most_s))
            return True
        self._child = Child.find(self._record, self._around.home, self._poked.set)
        return self._child is not None

    async def found_dead(self) -> None:
        """Tell the death of a child that ended while nobody watched, and forget it."""
        known = self.state.exit if self.state.pid is None else ""
        await self._died(known, crashed=self.state.phase is not Phase.STOPPING)
        self._leave()

    # The task

    async def _live(self) -> None:
        while True:
            try:
                if not await self._go_on():
                    break
            except Exception:
                # As a leader without a file descriptor left meets it: what is not kept now is kept later.
                _log.exception("%s: it could not be looked after; begun again", self.state.id)
                await asyncio.sleep(_AGAIN_S)
        self._leave()

    async def _go_on(self) -> bool:
        """From one start to the next; False once nobody wants it to run."""
        if self._child is not None:
            await self._watch(self._child)
            if self._spec is None:
                return False
        await self._pause()
        if self._spec is None:
            return False
        self._start(self._spec)
        return True

    async def _pause(self) -> None:
        """Wait until the next start is due, or until it is retired."""
        while self._spec is not None or self._retired is None:
            wait_s = None
            if self._spec is not None:
                self._settle()
                skipped = self._again or self._spec.spec_hash != self.state.spec_hash
                # The loop's clock stands still while the machine sleeps.
                due = self.state.next_try_s is not None and self._around.now() >= self.state.next_try_s
                wait_s = min(self._due_s - asyncio.get_running_loop().time(), _LOOK_S)
                if skipped or due or wait_s <= 0:
                    return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._until_poked()

    def _wait(self, wait_s: float) -> None:
        self._due_s = asyncio.get_running_loop().time() + wait_s

    def _start(self, spec: ProcessSpec) -> None:
        """Start it; what cannot be started is tried again as what crashed is."""
        before = self._record
        failed = self.state.phase in (Phase.CRASHED, Phase.BACKOFF)
        changed = self._again or spec.spec_hash != self.state.spec_hash
        self._record = Record.of(
            spec,
            self._around.now(),
            crashes=0 if changed else before.crashes,
            restarts=before.state.restarts + failed,
            exit=before.state.exit,
            stderr_tail=before.state.stderr_tail,
        )
        self._changes = ChangesFile(spec.events) if spec.events else None
        self._hurry = self._again = False
        self._killed = ""
        self._due_s = 0.0
        try:
            if spec.events:
                spec.events.unlink(missing_ok=True)
            self._child = Child.start(spec, self._around.home, self._around.environ, self._poked.set)
        except OSError as error:
            self._failed(f"{error.filename or spec.argv[0]}: {error.strerror}")
        except ValueError as error:
            self._failed(f"{spec.argv[0]}: {error}")
        else:
            self._record = msgspec.structs.replace(self._record, start_ticks=self._child.start_ticks)
            self._become(pid=self._child.pid)

    def _failed(self, why: str) -> None:
        crashes = self._record.crashes + 1
        self._become(phase=Phase.CRASHED, exit=f"cannot start: {why}", stderr_tail=(), crashes=crashes)
        self._back_off()

    async def _watch(self, child: Child) -> None:
        """Until the child is dead and told to be, by itself or because it is no longer wanted as it is."""
        while not child.ended and not self._must_stop():
            if self._spec is not None and self._asking is None:
                self._asking = asyncio.get_running_loop().create_task(self._attend(self._spec))
            await self._until_poked()
        self._stop_asking()
        if stopped := not child.ended:
            await self._stop(child)
        status = await child.bury()
        self._child = None
        await self._died(status, crashed=not stopped)
        if not stopped and self._spec is not None:
            self._back_off()

    def _must_stop(self) -> bool:
        replaced = self._spec is not None and self._spec.spec_hash != self.state.spec_hash
        # A child that is found while it stops was sent its signal by a leader that is gone.
        half_stopped = self.state.phase is Phase.STOPPING
        return replaced or half_stopped or self._again or self._retired is not None

    async def _stop(self, child: Child) -> None:
        asked_before = self.state.phase is Phase.STOPPING
        self._become(phase=Phase.STOPPING)
        stop = self._record.stop
        if not self._hurry:
            # A worker takes a second SIGTERM for impatience, and cuts off the answers that it was to finish.
            if not asked_before:
                child.ask_to_end()
            await self._ends(child, stop.drain_s, patient=True)
        if not child.ended:
            child.ask_all_to_end()
            await self._ends(child, stop.kill_s)
        if not child.ended:
            child.kill()
            await self._ends(child)

    async def _ends(self, child: Child, within_s: float | None = None, patient: bool = False) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not child.ended and not (patient and self._hurry):
                    await self._until_poked()

    async def _died(self, status: str, crashed: bool) -> None:
        """Tell the owner of a death; `status` is empty when it is unknown."""
        self._read_changes()
        exit = self._killed or status or self._last_word()
        if crashed:
            tail = tail_lines(Path(self._record.log), _TAIL_LINES, self._record.log_start)
            crashes = 0 if self._was_steady() else self._record.crashes + 1
            self._become(phase=Phase.CRASHED, pid=None, exit=exit, stderr_tail=tail, silent_s=None, crashes=crashes)
        else:
            self._become(pid=None, exit=exit)
        try:
            await self._around.on_death(self.state)
        except Exception:
            _log.exception("%s: its death could not be dealt with", self.state.id)

    def _last_word(self) -> str:
        change = self.state.change
        if change is None or change.reason in _OF_THE_LIVING:
            return "exited (status unknown)"
        return f"{change.reason}: {change.message}" if change.message else change.reason

    def _was_steady(self) -> bool:
        ready_s = self.state.ready_s
        return ready_s is not None and self._around.now() - ready_s >= self._around.backoff.steady_s

    def _back_off(self) -> None:
        if delay_s := self._around.backoff.delay_s(self._record.crashes):
            self._wait(delay_s)
            self._become(phase=Phase.BACKOFF, next_try_s=self._around.now() + delay_s)

    async def _attend(self, spec: ProcessSpec) -> None:
        """Wait until it is ready, then see that it stays so."""
        if self.state.phase is Phase.STARTING:
            await answered(spec.id, spec.ready)
            self._become(phase=Phase.READY, ready_s=self._around.now())
        if spec.alive is not None:
            await self._listen(spec.alive)

    async def _listen(self, alive: Probe) -> None:
        """Ask now and then; tell since when it is silent, and kill it when that goes on."""
        patience, misses, asked_s = self._around.patience, 0, 0.0
        while misses < patience.misses:
            if not misses:
                await asyncio.sleep(patience.every_s)
                asked_s = self._around.now()
            well = self._drains or await answers(self.state.id, alive, patience.every_s)
            misses = 0 if well else misses + 1
            silent_s = asked_s if misses else None
            if (silent_s is None) != (self.state.silent_s is None):
                self._become(silent_s=silent_s)
        self.kill(f"killed after {patience.silent_s:.0f} s without an answer")

    @property
    def _drains(self) -> bool:
        """Whether somebody else told it to end: it finishes what runs and takes nothing new, no question either."""
        return self.state.change is not None and self.state.change.reason == "Draining"

    def _stop_asking(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    def _leave(self) -> None:
        if self._changes is not None:
            self._changes.path.unlink(missing_ok=True)
        self._around.records.remove(self.state.id)
        self._around.on_gone(self.state.id)
        self._tell(replace(self.state, phase=Phase.GONE, next_try_s=None))
        self._settle()

    def _settle(self) -> None:
        """Let those go on who wait for the process to be gone."""
        if self._retired is not None:
            self._retired.set_result(None)
            self._retired = None

    async def _until_poked(self) -> None:
        await self._poked.wait()
        self._poked.clear()

    def _become(self, *, crashes: int | None = None, **changes: Any) -> None:
        """Change the state, on disk first."""
        self._record = msgspec.structs.replace(
            self._record,
            state=replace(self.state, **changes),
            events_read=self._changes.read if self._changes else 0,
            crashes=self._record.crashes if crashes is None else crashes,
        )
        self._around.records.save(self._record)
        self._tell(self.state)

    def _tell(self, state: ProcessState) -> None:
        """An owner that fails must not leave its process unwatched."""
        try:
            self._around.on_change(state)
        except Exception:
            _log.exception("%s: its change could not be dealt with", state.id)


def _surface(task: asyncio.Task[None]) -> None:
    """Hand what ended a task to the loop's exception handler."""
    if not task.cancelled():
        task.result()
