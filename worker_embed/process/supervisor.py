"""Keeps child processes running, and lets the next leader go on where this one stopped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from worker_embed.process import environment
from worker_embed.process.backoff import Backoff
from worker_embed.process.child import kill_all
from worker_embed.process.keeper import Keeper, Surroundings
from worker_embed.process.liveness import Patience
from worker_embed.process.records import Records
from worker_embed.process.spec import ProcessSpec, ProcessState

_FOLLOW_EVERY_S = 0.5
_BACKOFF = Backoff()
_PATIENCE = Patience()


class Supervisor:
    """The child processes of one home, for its one leader.

    Everything is to be called in the thread of one running loop, which need not be the main one. That thread has to
    live as long as we lead: the kernel ends children of `own_session=False` with the thread that started them.
    """

    def __init__(
        self,
        records: Path,
        *,
        home: Path,
        environ: Mapping[str, str],
        on_change: Callable[[ProcessState], None],
        on_death: Callable[[ProcessState], Awaitable[None]],
        backoff: Backoff = _BACKOFF,
        patience: Patience = _PATIENCE,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Keep records in the folder `records`; children get the allow-listed part of `environ` and start in `home`.

        `on_change` is told every new state and every line of an events file. `on_death` is awaited at each end of a
        process, wanted or not, before it is started again: there its deliveries are given back. It bounds its own time.
        """
        self._home = home
        self._records = Records(records)
        self._keepers: dict[str, Keeper] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._around = Surroundings(
            home=home,
            environ=environment.allowed(environ),
            records=self._records,
            backoff=backoff,
            patience=patience,
            now=now,
            on_change=on_change,
            on_death=on_death,
            on_gone=self._forget,
        )

    def states(self) -> Mapping[str, ProcessState]:
        """What is known of each process that should run or still does, by id."""
        return {id: keeper.state for id, keeper in self._keepers.items()}

    def run(self, spec: ProcessSpec) -> None:
        """From now on `spec` should run: start it, keep it, or replace what runs under its id with another hash."""
        keeper = self._keepers.get(spec.id)
        if keeper is None:
            keeper = Keeper.of(self._around, spec)
            self._keep(keeper)
        keeper.run(spec)

    async def retire(self, id: str, *, drain: bool = True) -> None:
        """End a process as its `Stop` says, without the draining if so wished; returns when all of it is gone."""
        if keeper := self._keepers.get(id):
            await keeper.retire(drain)

    def restart(self, id: str) -> None:
        """Drain it and start it again, at once if it waits for its next try."""
        if keeper := self._keepers.get(id):
            keeper.restart()

    def look(self) -> None:
        """Tell what children wrote to their events files since the last look; done anyway twice a second."""
        for keeper in list(self._keepers.values()):
            keeper.follow()

    def kill(self, id: str) -> None:
        """SIGKILL to all of it now; as after a crash it is started again."""
        if keeper := self._keepers.get(id):
            keeper.kill()

    async def stop_all(self, *, drain: bool = True) -> None:
        """Retire everything at once."""
        await asyncio.gather(*(self.retire(id, drain=drain) for id in list(self._keepers)))

    async def adopt(self) -> None:
        """Take over what the leader before us left: call it once, before anything else.

        What still runs is in `states` afterwards, untouched, and so is what waits for its next try; it waits for `run`
        or `retire`. What died meanwhile is told to `on_death` and forgotten. Processes that some leader of this home
        started and that belong to none of these are killed: an orphaned engine holds the memory of its GPU.
        """
        dead = []
        for record in self._records.load():
            keeper = Keeper(self._around, record)
            if keeper.find():
                self._keep(keeper)
            else:
                dead.append(keeper)
        await kill_all(self._orphans)
        await asyncio.gather(*(keeper.found_dead() for keeper in dead))

    async def detach(self) -> None:
        """Stop watching; what survives us is the next leader's, and the records tell it how often what crashed."""
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.gather(*(keeper.detach() for keeper in self._keepers.values()))
        self._keepers.clear()

    def _orphans(self) -> set[int]:
        return {pid for pid, mark in environment.marked(self._home) if mark not in self._keepers}

    def _keep(self, keeper: Keeper) -> None:
        self._keepers[keeper.state.id] = keeper
        keeper.begin()
        if self._timer is None:
            self._follow()

    def _forget(self, id: str) -> None:
        self._keepers.pop(id, None)

    def _follow(self) -> None:
        """Most of the cost of looking is to wake up for it."""
        self._timer = asyncio.get_running_loop().call_later(_FOLLOW_EVERY_S, self._follow) if self._keepers else None
        self.look()
