"""A box without processes: a real store and queue, the real controller, and workers that do what a test says."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from operator_embed.aimodel import AIModel, Spec
from operator_embed.box.chronicle import Chronicle
from operator_embed.box.controller import Controller
from operator_embed.box.events import Event
from operator_embed.box.facts import Facts
from operator_embed.box.home import Home
from operator_embed.box.ledger import Ledger
from operator_embed.box.store import Store
from operator_embed.box.telemetry import Telemetry
from operator_embed.box.topics import Topics
from operator_embed.box.workloads import Workloads
from operator_embed.workqueue import WorkQueue
from worker_embed.engines.llama_build import LlamaBuild
from worker_embed.gpu.rings import Rings
from worker_embed.gpu.samples import NO_GPU, HostSample, Sample
from worker_embed.process.spec import Phase, ProcessSpec, ProcessState
from worker_embed.queue.memory import MemoryBroker, MemoryQueue
from worker_embed.report import Change

LIMIT_S = 10.0
PLENTY_MIB = 64_000.0


class Workers:
    """`Processes` that start at once, load until `ready`, and go when told, or when `gone` if they are `patient`."""

    def __init__(self) -> None:
        self.told: Callable[[ProcessState], None] = lambda state: None
        self.patient = False
        self.specs: dict[str, ProcessSpec] = {}
        self.retired: list[str] = []
        self._states: dict[str, ProcessState] = {}
        self._gone: dict[str, asyncio.Event] = {}
        self._pids = itertools.count(70_000)

    def states(self) -> Mapping[str, ProcessState]:
        return dict(self._states)

    def run(self, spec: ProcessSpec) -> None:
        self.specs[spec.id] = spec
        if spec.id not in self._states:
            state = ProcessState(
                id=spec.id,
                role=spec.role,
                phase=Phase.STARTING,
                pid=next(self._pids),
                spec_hash=spec.spec_hash,
                labels=spec.labels,
                started_s=time.time(),
            )
            self.become(spec.id, state)

    async def retire(self, id: str, *, drain: bool = True) -> None:
        self.retired.append(id)
        gone = self._gone.setdefault(id, asyncio.Event())
        if self.patient:
            await gone.wait()
        self.gone(id)

    def become(self, id: str, state: ProcessState) -> None:
        self._states[id] = state
        self.told(state)

    def ready(self, id: str) -> None:
        """It answers from now on."""
        now_s = time.time()
        self.become(
            id, replace(self._states[id], phase=Phase.READY, ready_s=now_s, change=Change(at=now_s, reason="Ready"))
        )

    def crashes(self, id: str, last: str) -> None:
        """It ended with this line, and waits for its next try."""
        for phase in (Phase.CRASHED, Phase.BACKOFF):
            self.become(
                id,
                replace(self._states[id], phase=phase, pid=None, exit="exit 1", stderr_tail=(last,), restarts=1),
            )

    def gone(self, id: str) -> None:
        """Nothing of it is left."""
        self._gone.setdefault(id, asyncio.Event()).set()
        if state := self._states.pop(id, None):
            self.told(replace(state, phase=Phase.GONE, pid=None))

    def of(self, name: str) -> list[str]:
        """Workers of an AIModel by its name."""
        return [id for id, state in self._states.items() if state.labels["model"] == f"default/{name}"]


class Rig:
    """One leader's loop over one home."""

    def __init__(self, home: Home, queue: MemoryQueue) -> None:
        self.home = home
        self.queue = queue
        self.store = Store(home)
        self.workers = Workers()
        self.telemetry = Telemetry(Rings())
        self.facts = Facts(telemetry=self.telemetry, name="box", api_url="", store_text="")
        self.ledger = Ledger(home, self.workers, self.telemetry, "nats://127.0.0.1:1", llama=LlamaBuild(version="1"))
        self.workloads = Workloads(self.ledger, self.workers, time.time)
        self.keys = WorkQueue(time.monotonic)
        self.tasks: list[asyncio.Task[None]] = []
        self.controller = Controller(
            self.store,
            self.workloads,
            Chronicle(self.store),
            self.facts,
            self.keys,
            epoch=self.store.next_epoch(),
            now=time.time,
            changed=lambda: None,
            queues=Topics(queue),
        )
        self.workers.told = self.controller.process_changed
        self.sees()

    def sees(self, *, ram_mib: float = PLENTY_MIB) -> None:
        """What the sampler sees from now on."""
        host = HostSample("cpu", 4, 1.0, 0.0, ram_mib, ())
        self.telemetry.see(Sample(time.time(), 1.0, "none", "", f"{NO_GPU}: none", host, ()))
        self.controller.wake(self.workloads.short())

    async def until(self, happened: Callable[[], object]) -> None:
        """Wait for it; fails after ten seconds."""
        async with asyncio.timeout(LIMIT_S):
            while not happened():
                await asyncio.sleep(0.002)

    async def settled(self) -> None:
        """Wait until what was stored is known, nobody works on a key and none is due."""
        version = self.store.version()
        self.store.record(Event(reason="Probe"))
        async with aclosing(self.store.watch(version)) as changes:
            async for _ in changes:
                break
        await asyncio.sleep(0)
        await self.until(lambda: not self.keys._busy and all(s > time.monotonic() for s in self.keys._when.values()))

    def watch(self) -> None:
        """Follow the store from now on."""
        self.tasks.append(asyncio.create_task(self.controller.watch()))

    async def unwatched(self) -> None:
        """The watch of the store has failed, and is not begun again yet."""
        self.tasks[-1].cancel()
        await asyncio.wait([self.tasks.pop()])

    async def poll(self) -> None:
        """What the engine does once a second."""
        topics = sorted(self.controller.topics.values())
        self.telemetry.backlog, self.telemetry.backlog_s = await self.queue.backlog(topics), time.time()
        self.controller.tick()

    def model(self, name: str) -> AIModel:
        found = self.store.get(f"default/{name}")
        assert found is not None
        return found

    def reason(self, name: str, condition: str) -> str:
        found = self.model(name).status.condition(condition)
        return found.reason if found else ""

    def apply(self, name: str, *, namespace: str = "default", **spec: Any) -> None:
        fields = {"type": "local", "model": name, "source": "static:hi"} | spec
        self.store.apply(AIModel(namespace=namespace, name=name, spec=Spec(**fields)))

    async def runs(self, name: str, count: int = 1) -> list[str]:
        """Wait for so many workers of a model and have them ready; their names."""
        await self.until(lambda: len(self.workers.of(name)) == count)
        for id in self.workers.of(name):
            self.workers.ready(id)
        await self.until(lambda: self.model(name).status.ready == count)
        return sorted(self.workers.of(name))

    def said(self, reason: str) -> list[str]:
        """Messages of all events of that reason, newest first."""
        return [event.message for event in self.store.events() if event.reason == reason]


@asynccontextmanager
async def leading(queue: MemoryQueue | None = None, *, connected: bool = True) -> AsyncIterator[Rig]:
    """A rig whose controller works."""
    with tempfile.TemporaryDirectory(prefix="up", dir="/tmp") as folder:
        rig = Rig(Home(Path(folder) / "home"), queue or MemoryQueue(MemoryBroker()))
        if not connected:
            rig.controller.queues.queue = None
        rig.tasks = [asyncio.create_task(rig.controller.work()) for _ in range(2)]
        rig.watch()
        try:
            yield rig
            for task in rig.tasks:
                assert not task.done(), task
        finally:
            for task in rig.tasks:
                task.cancel()
            await asyncio.gather(*rig.tasks, return_exceptions=True)
            rig.workloads.close()
            rig.store.close()
