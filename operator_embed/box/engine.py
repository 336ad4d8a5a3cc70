"""The leader of a box: keeps its children running, reconciles its models and tells everybody what is so."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import platform
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operator_embed.accounts.usage import UsageWriter
from operator_embed.box.beats import Beats
from operator_embed.box.chronicle import Chronicle
from operator_embed.box.controller import Controller
from operator_embed.box.facts import Facts
from operator_embed.box.home import Home
from operator_embed.box.ledger import Ledger
from operator_embed.box.link import PROTOCOL, Hello, Second, ViewServer
from operator_embed.box.ports import recorded_port
from operator_embed.box.sources import sources
from operator_embed.box.store import Store
from operator_embed.box.telemetry import Telemetry
from operator_embed.box.view import ViewBuilder
from operator_embed.box.worker_spec import ROLE
from operator_embed.box.workloads import Workloads
from operator_embed.workqueue import WorkQueue
from worker_embed.engines.llama_build import llama_build
from worker_embed.gpu.feed import SamplerFeed
from worker_embed.gpu.rings import Rings
from worker_embed.gpu.samples import ASKING
from worker_embed.inflight import read_tokens
from worker_embed.process import environment
from worker_embed.process.spec import Phase, ProcessSpec, ProcessState
from worker_embed.process.supervisor import Supervisor
from worker_embed.queue import nats_server
from worker_embed.queue.open import open_queue
from worker_embed.queue.port import Queue, QueueError

log = logging.getLogger(__name__)

RECONCILERS = 4
VIEW_EVERY_S = 0.25
DEAD_EVERY_S = 2.0
POLL_LIMIT_S = 2.0
LOOK_FOR_LLAMA_S = 30.0
RINGS, ENERGY, FOOTPRINTS = "rings", "energy", "footprints"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlace:
    """What the API node of a box needs to know."""

    home: Path
    queue_url: str
    queue_token_file: Path
    node_port: int
    beat: Path
    events: Path
    log: Path
    out: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a leader is told from above."""

    api_node: Callable[[NodePlace], ProcessSpec]
    api_url: str
    serve: bool
    """Without a console of its own."""


class Engine:
    """One term of leadership; everything runs on the loop that calls `run`."""

    def __init__(self, home: Home, settings: Settings, now: Callable[[], float] = time.time) -> None:
        self.home, self.settings, self._now = home, settings, now
        self.ready = asyncio.Event()
        """Set once what ran before is adopted and new wishes are acted on."""
        self._dirty = asyncio.Event()
        self._stopping = asyncio.Event()
        self._queue: Queue | None = None
        self._queue_url = nats_server.url(recorded_port(home.ports, "nats"))
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
        self._facts = Facts(
            telemetry=self._telemetry,
            name=platform.node(),
            api_url=settings.api_url,
            store_text=str(home.root),
            queue_text=self._queue_url.removeprefix("nats://"),
            pid=os.getpid(),
            serve=settings.serve,
        )
        self._ledger = Ledger(home, self._supervisor, self._telemetry, self._queue_url)
        self._workloads = Workloads(self._ledger, self._supervisor, now)
        self._controller = Controller(
            self._store,
            self._workloads,
            Chronicle(self._store),
            self._facts,
            WorkQueue(time.monotonic),
            epoch=self._store.next_epoch(),
            now=now,
            changed=self._dirty.set,
        )
        hello = Hello(PROTOCOL, self._controller.epoch, os.getpid(), settings.serve)
        self._server = ViewServer(home.engine_socket, hello, self._telemetry.rings)
        self._beats = Beats(home.beat_socket, self._telemetry.hear)
        self._orphaned: set[str] = set()
        """Deliveries that dead workers had in hand, until the broker has them back."""
        self._dead_s = 0.0
        self._second: Second | None = None
        """The newest second of history, until it is published: with the view, so that followers wake once."""

    async def run(self) -> None:
        """Lead until cancelled; children of their own sessions run on. Raises `Deposed` and `StoreError`."""
        try:
            if saved := self._store.soft(RINGS):
                self._telemetry.rings.load(bytes.fromhex(saved))
            self._controller.restore()
            if saved := self._store.soft(ENERGY):
                self._facts.energy.load(saved, self._now())
            self._ledger.footprints.peak_mib.update(json.loads(self._store.soft(FOOTPRINTS) or "{}"))
            self._beats.start()
            await self._server.start()
            await self._supervisor.adopt()
            for state in self._supervisor.states().values():
                self._controller.chronicle.know(state)
            self._run_children()
            for model in self._store.list():
                self._workloads.resume(model)
            self._look_at_processes()
            await self._until_stopped(
                self._controller.watch(),
                *(self._controller.work() for _ in range(RECONCILERS)),
                self._keep_queue(),
                self._know_llama(),
                self._sample(),
                self._every_second(),
                self._publish(),
            )
            await self._stop_children()
        finally:
            await self._end()

    def stop(self) -> None:
        """Have `run` drain and end every child before it returns."""
        self._stopping.set()

    async def _stop_children(self) -> None:
        """Workers first, so that their answers still find their way."""
        states = self._supervisor.states().values()
        await asyncio.gather(*(self._supervisor.retire(s.id) for s in states if s.role == ROLE))
        await self._supervisor.retire("gateway")
        await self._supervisor.stop_all()

    async def _until_stopped(self, *parts: Coroutine[Any, Any, None]) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(part) for part in parts]
            self.ready.set()
            await self._stopping.wait()
            for task in tasks:
                task.cancel()

    async def _end(self) -> None:
        await self._server.close()
        self._beats.close()
        await self._feed.close()
        await self._supervisor.detach()
        if self._queue is not None:
            await self._queue.close()
        with contextlib.suppress(Exception):
            self._controller.save()
            self._store.put_soft(ENERGY, self._facts.energy.export())
            self._store.put_soft(FOOTPRINTS, json.dumps(self._ledger.footprints.peak_mib))
            self._store.put_soft(RINGS, self._telemetry.rings.export().hex())
        self._store.close()

    def _run_children(self) -> None:
        home = self.home
        self._supervisor.run(
            nats_server.spec(home.nats, recorded_port(home.ports, "nats"), home.logs / "nats-server.log")
        )
        place = NodePlace(
            home=home.root,
            queue_url=self._queue_url,
            queue_token_file=home.nats / "token",
            node_port=recorded_port(home.ports, "node"),
            beat=home.beat_socket,
            events=home.procs / "gateway.events",
            log=home.logs / "gateway.log",
            out=home.logs / "gateway.out",
        )
        self._supervisor.run(self.settings.api_node(place))

    def _look_at_processes(self) -> None:
        states = self._supervisor.states()
        self._facts.processes = states
        self._facts.holds = self._ledger.holds()
        self._feed.watch(s.pid for s in states.values() if s.role == ROLE and s.pid is not None)

    def _process_changed(self, state: ProcessState) -> None:
        self._look_at_processes()
        if state.id == "gateway":
            self._api_changed(state)
        self._controller.process_changed(state)

    def _api_changed(self, state: ProcessState) -> None:
        if state.phase is Phase.READY:
            self._facts.api_down_s = None
        elif state.phase in (Phase.CRASHED, Phase.BACKOFF) and self._facts.api_down_s is None:
            self._facts.api_down_s = self._now()

    async def _process_died(self, state: ProcessState) -> None:
        """Give back what a dead worker had in hand, so that another one takes it at once."""
        if state.role == ROLE:
            inflight = self.home.procs / f"{state.id}.inflight"
            self._orphaned.update(read_tokens(inflight))
            inflight.unlink(missing_ok=True)
            await self._give_back()

    async def _give_back(self) -> None:
        if not self._orphaned or self._queue is None or not self._queue.connected:
            return
        tokens = frozenset(self._orphaned)
        with contextlib.suppress(TimeoutError, QueueError):
            async with asyncio.timeout(POLL_LIMIT_S):
                await asyncio.gather(*(self._queue.give_back(token) for token in tokens))
            self._orphaned -= tokens

    async def _keep_queue(self) -> None:
        """Connect as soon as the broker is there, then follow its coming and going; write usage records meanwhile."""
        token = (self.home.nats / "token").read_text().strip()
        while self._queue is None:
            try:
                self._queue = await open_queue(self._queue_url, token=token, name="uplion", timeout_s=2.0)
            except QueueError as error:
                log.info("queue: %s", error)
                await asyncio.sleep(0.05)
        self._controller.queue = self._queue
        self._controller.wake_all()
        await self._give_back()
        async with asyncio.TaskGroup() as group:
            group.create_task(UsageWriter(self._queue, self.home.root / "accounts.db").run())
            async for up in self._queue.lost():
                self._facts.queue_down_s = None if up else self._now()
                self._controller.chronicle.said(
                    "QueueBack" if up else "QueueLost",
                    "nats answers again" if up else "nats went away",
                    "queue",
                    severe=not up,
                )
                self._controller.wake_all()
                self._dirty.set()
                await self._give_back()

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
                self._store.record(event)
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
            await self._poll_queue()
            self._facts.sources = sources(self._facts, self._supervisor.states())
            self._controller.tick()
            self._controller.wake(self._ledger.learn())
            keys = self._controller.topics
            replicas = {key: self._facts.replicas(key) for key in keys}
            now_s = self._now()
            self._second = Second(now_s, self._telemetry.tick(now_s, keys, replicas))
            self._dirty.set()
            await asyncio.sleep(max(0.0, next_s - time.monotonic()))

    async def _poll_queue(self) -> None:
        if self._queue is None or not self._queue.connected:
            return
        topics = sorted(set(self._controller.topics.values()))
        with contextlib.suppress(TimeoutError, QueueError):
            async with asyncio.timeout(POLL_LIMIT_S):
                self._telemetry.backlog = await self._queue.backlog(topics)
                self._telemetry.backlog_s = self._now()
                if self._now() - self._dead_s >= DEAD_EVERY_S:
                    self._dead_s = self._now()
                    await self._count_dead(self._queue, topics)

    async def _count_dead(self, queue: Queue, topics: list[str]) -> None:
        for topic in topics:
            before, now = self._telemetry.dead.get(topic), await queue.dead_count(topic)
            self._telemetry.dead[topic] = now
            owner = self._controller.owner(topic)
            if owner and before is not None and now > before:
                self._controller.chronicle.dead_letters(owner, now - before)

    async def _publish(self) -> None:
        builder = ViewBuilder()
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            self._controller.refresh()
            self._server.publish(builder.build(self._facts, self._now()), self._second)
            self._second = None
            await asyncio.sleep(VIEW_EVERY_S)
