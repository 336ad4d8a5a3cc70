"""The leader of a box: keeps its children running, reconciles its models and tells everybody what is so."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import time
from asyncio import Task
from collections.abc import Callable, Iterable

from operator_embed.box.beats import Beats
from operator_embed.box.broker import Broker
from operator_embed.box.children import Settings, fixed_children
from operator_embed.box.chronicle import Chronicle
from operator_embed.box.controller import Controller
from operator_embed.box.facts import Facts
from operator_embed.box.home import Home
from operator_embed.box.ledger import Ledger
from operator_embed.box.link import PROTOCOL, Hello, Second, ViewServer
from operator_embed.box.notes import Note, leave, take_up
from operator_embed.box.parts import for_ever
from operator_embed.box.ports import recorded_port
from operator_embed.box.sources import sources
from operator_embed.box.store import Store, StoreError
from operator_embed.box.telemetry import Telemetry
from operator_embed.box.view import ViewBuilder
from operator_embed.box.worker_spec import ROLE
from operator_embed.box.workloads import Workloads
from operator_embed.workqueue import WorkQueue
from worker_embed.engines.llama_build import llama_build
from worker_embed.gpu.feed import SamplerFeed
from worker_embed.gpu.rings import Rings
from worker_embed.gpu.samples import ASKING
from worker_embed.process import environment
from worker_embed.process.spec import Phase, ProcessState
from worker_embed.process.supervisor import Supervisor
from worker_embed.queue import nats_server
from worker_embed.queue.port import Queue

RECONCILERS = 4
VIEW_EVERY_S = 0.25
LOOK_FOR_LLAMA_S = 30.0
FALLEN = frozenset({Phase.CRASHED, Phase.BACKOFF})


class Engine:
    """One term of leadership; everything runs on the loop that calls `run`."""

    def __init__(self, home: Home, settings: Settings, now: Callable[[], float] = time.time) -> None:
        """Begin the term: raises `StoreError` and `HomeError`."""
        self.home, self.settings, self._now = home, settings, now
        self.ready = asyncio.Event()
        """Set once what ran before is adopted and new wishes are acted on."""
        self._dirty = asyncio.Event()
        self._stopping = asyncio.Event()
        queue_url = nats_server.url(recorded_port(home.ports, "nats"))
        self._telemetry = Telemetry(Rings())
        self._supervisor = Supervisor(
            home.procs,
            home=home.root,
            environ=os.environ,
            on_change=self._process_changed,
            on_death=self._process_died,
        )
        self._feed = SamplerFeed(environment.allowed(os.environ))
        self._store = Store(home, now)
        self._chronicle = Chronicle(self._store)
        self._facts = Facts(
            telemetry=self._telemetry,
            name=platform.node(),
            api_url=settings.api_url,
            api_is_open=settings.api_is_open,
            store_text=str(home.root),
            queue_text=queue_url.removeprefix("nats://"),
            pid=os.getpid(),
            serve=settings.serve,
        )
        self._ledger = Ledger(home, self._supervisor, self._telemetry, queue_url)
        self._workloads = Workloads(self._ledger, self._supervisor, now)
        self._controller = Controller(
            self._store,
            self._workloads,
            self._chronicle,
            self._facts,
            WorkQueue(time.monotonic),
            epoch=self._store.next_epoch(),
            now=now,
            changed=self._dirty.set,
        )
        hello = Hello(PROTOCOL, self._controller.epoch, os.getpid(), settings.serve)
        self._server = ViewServer(home.engine_socket, hello, self._telemetry.rings)
        self._beats = Beats(home.beat_socket, self._telemetry.hear, self._supervisor.look)
        self._broker = Broker(queue_url, home.nats / "token", self._telemetry, now, self._queue_told)
        self._second: Second | None = None
        """The newest second of history, until it is published: with the view, so that followers wake once."""
        footprints, rings = self._ledger.footprints, self._telemetry.rings
        topics = self._controller.queues
        known = Note("topics", topics.export, topics.load)
        topics.keep = lambda: leave(self._store, [known])
        self._notes = (
            known,
            Note("autoscaler windows", self._controller.export, self._controller.load),
            Note("energy", self._facts.energy.export, lambda text: self._facts.energy.load(text, now())),
            Note("footprints", lambda: json.dumps(footprints.peak_mib), lambda text: footprints.load(json.loads(text))),
            Note("rings", lambda: rings.export().hex(), lambda text: rings.load(bytes.fromhex(text))),
        )

    async def run(self) -> None:
        """Lead until cancelled; children of their own sessions run on. Raises `Deposed`, and `StoreError` at first."""
        try:
            take_up(self._store, self._notes)
            self._beats.start()
            await self._server.start()
            await self._supervisor.adopt()
            for state in self._supervisor.states().values():
                self._chronicle.know(state)
            for spec in fixed_children(self.home, self._ledger.queue_url, self.settings):
                self._supervisor.run(spec)
            for model in self._store.list():
                self._workloads.resume(model)
            self._look_at_processes()
            async with asyncio.TaskGroup() as group:
                deciding = [
                    for_ever("the store's watch", self._controller.watch),
                    *(self._controller.work() for _ in range(RECONCILERS)),
                    for_ever("the look for llama.cpp", self._know_llama),
                ]
                queueing = [
                    for_ever("the queue", lambda: self._broker.run(self._queue_came)),
                    for_ever("usage records", self._write_usage),
                ]
                telling = [
                    for_ever("the sampler", self._sample),
                    for_ever("the second's figures", self._every_second),
                    for_ever("the view", self._publish),
                ]
                stages = [[group.create_task(part) for part in parts] for parts in (deciding, queueing, telling)]
                self.ready.set()
                await self._stopping.wait()
                await self._stop(*stages)
        finally:
            await self._end()

    def stop(self) -> None:
        """Have `run` drain and end every child before it returns."""
        self._stopping.set()

    async def _stop(
        self, deciding: Iterable[Task[None]], queueing: Iterable[Task[None]], telling: Iterable[Task[None]]
    ) -> None:
        """Workers first, so that their answers still find their way; who looks sees each of them drain."""
        self._workloads.stopping = True
        self._controller.wake_all()
        await asyncio.gather(*(self._supervisor.retire(name) for name in self._ledger.workers()))
        _cancel(deciding)
        await self._supervisor.retire("gateway")
        _cancel(queueing)
        await self._supervisor.stop_all()
        _cancel(telling)

    async def _end(self) -> None:
        leave(self._store, self._notes)
        self._workloads.close()
        self._beats.close()
        await self._server.close()
        await self._feed.close()
        await self._supervisor.detach()
        await self._broker.close()
        self._store.close()

    # Children

    def _look_at_processes(self) -> None:
        self._facts.processes = self._supervisor.states()
        self._facts.holds = self._ledger.holds()
        self._feed.watch(state.pid for state in self._ledger.workers().values() if state.pid is not None)

    def _process_changed(self, state: ProcessState) -> None:
        self._look_at_processes()
        if state.id == "gateway":
            self._api_changed(state)
        elif state.id == "nats-server":
            self._server_changed(state)
        self._controller.process_changed(state)

    def _api_changed(self, state: ProcessState) -> None:
        if state.phase is Phase.READY:
            self._facts.api_down_s = state.silent_s
        elif state.phase in FALLEN and self._facts.api_down_s is None:
            self._facts.api_down_s = self._now()

    def _server_changed(self, state: ProcessState) -> None:
        """A server that cannot start, or is frozen, is told by nobody who waits for its answers."""
        down_s = state.silent_s or (self._now() if state.phase in FALLEN else None)
        if down_s is not None and self._facts.queue_down_s is None:
            self._facts.queue_down_s = down_s
        elif state.phase is Phase.READY and state.silent_s is None and self._broker.connected:
            self._facts.queue_down_s = None

    async def _process_died(self, state: ProcessState) -> None:
        if state.role == ROLE:
            await self._broker.orphan(self.home.procs / f"{state.id}.inflight")

    # The queue

    def _queue_came(self, queue: Queue) -> None:
        if queue.connected:
            self._facts.queue_down_s = None
        self._controller.queues.queue = queue
        self._controller.wake_all()

    def _queue_told(self, up: bool) -> None:
        self._facts.queue_down_s = None if up else self._facts.queue_down_s or self._now()
        text = "nats answers again" if up else "nats went away"
        self._chronicle.said("QueueBack" if up else "QueueLost", text, "queue", severe=not up)
        self._controller.wake_all()
        self._dirty.set()

    async def _write_usage(self) -> None:
        await self._broker.write_usage(self.home.root / "accounts.db", self.home.procs / "usage.inflight")

    # Figures

    async def _know_llama(self) -> None:
        """Ask once what llama.cpp can do here; again only while it is not there, as somebody may install it."""
        while True:
            self._facts.llama = self._ledger.llama = await llama_build(environment.allowed(os.environ))
            self._controller.wake_all()
            if self._facts.llama.version:
                return
            await asyncio.sleep(LOOK_FOR_LLAMA_S)

    async def _sample(self) -> None:
        before: object = None
        async for sample in self._feed.samples():
            self._telemetry.see(sample)
            self._facts.energy.take(sample)
            for event in self._facts.gpu_news.take(sample, self._facts.on_gpus()):
                self._chronicle.tell(event)
            readable = {gpu.uuid for gpu in sample.gpus if gpu.total_mib is not None and not gpu.lost}
            known = sample.notice != ASKING, readable
            if known != before:
                before = known
                self._controller.wake_all()
                self._dirty.set()
            self._controller.wake(self._workloads.short())

    async def _every_second(self) -> None:
        while True:
            next_s = time.monotonic() + 1.0
            for topic, count in (await self._broker.poll(self._controller.topics.values())).items():
                if owner := self._controller.owner(topic):
                    self._chronicle.dead_letters(owner, count, self._telemetry.last_dead.get(topic))
            self._look_at_store()
            self._look_at_disk()
            self._facts.sources = sources(self._facts, self._supervisor.states())
            self._controller.tick()
            self._controller.wake(self._ledger.learn())
            keys = self._controller.topics
            replicas = {key: self._facts.replicas(key) for key in keys}
            now_s = self._now()
            self._second = Second(now_s, self._telemetry.tick(now_s, keys, replicas))
            self._dirty.set()
            await asyncio.sleep(max(0.0, next_s - time.monotonic()))

    def _look_at_store(self) -> None:
        """Whether the store can be used; after a failure by writing once more, as nobody else may have to."""
        if self._store.trouble:
            with contextlib.suppress(StoreError):
                self._store.put_soft("tried again", "")
        self._facts.store_trouble = self._store.trouble
        if not self._store.trouble:
            self._facts.store_down_s = None
        elif self._facts.store_down_s is None:
            self._facts.store_down_s = self._now()

    def _look_at_disk(self) -> None:
        """A broker whose disk is full answers questions, so nobody else finds it out."""
        if not nats_server.full(self.home.nats, self.home.nats_log):
            self._facts.queue_full_s = None
        elif self._facts.queue_full_s is None:
            self._facts.queue_full_s = self._now()

    async def _publish(self) -> None:
        builder = ViewBuilder()
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            self._controller.refresh()
            self._server.publish(builder.build(self._facts, self._now()), self._second)
            self._second = None
            await asyncio.sleep(VIEW_EVERY_S)


def _cancel(tasks: Iterable[Task[None]]) -> None:
    for task in tasks:
        task.cancel()
