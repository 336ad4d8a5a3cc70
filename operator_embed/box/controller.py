"""The reconcile loop of a box: from the store through a queue of keys to workers and back to the store."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from operator_embed.aimodel import KIND, AIModel
from operator_embed.autoscaler import Decision, Window, decide
from operator_embed.box.changes import Expired, Op
from operator_embed.box.chronicle import Chronicle
from operator_embed.box.facts import Facts
from operator_embed.box.news import News
from operator_embed.box.store import Deposed, Store
from operator_embed.box.telemetry import SILENT_S
from operator_embed.box.workloads import ROLE, Workloads
from operator_embed.reconcile import assess, name_conflict
from operator_embed.workqueue import WorkQueue
from worker_embed.process.spec import ProcessState
from worker_embed.queue.port import Queue, QueueError, TopicSpec

log = logging.getLogger(__name__)

WINDOWS = "autoscaler windows"
CHECK_AGAIN_S = 5.0
"""When a model that is not as asked is looked at again: what it waits for may come without a word."""


@dataclass(slots=True)
class Controller:
    """Level-triggered: each pass reads what is so, takes one step, and writes only what is new."""

    store: Store
    workloads: Workloads
    chronicle: Chronicle
    facts: Facts
    keys: WorkQueue
    epoch: int
    now: Callable[[], float]
    changed: Callable[[], None]
    """Told when there is something new to show."""
    queue: Queue | None = None
    """`None` until the broker was reached for the first time."""
    _models: dict[str, AIModel] = field(default_factory=dict)
    _windows: dict[str, Window] = field(default_factory=dict)
    _ensured: set[str] = field(default_factory=set)

    async def watch(self) -> None:
        """Follow the store for ever."""
        while True:
            version = self.store.version()
            self._take_all()
            try:
                async for change in self.store.watch(version):
                    if change.kind != KIND:
                        self._take_events()
                    else:
                        self._take(change.key, change.op)
                    self.changed()
            except Expired:
                log.info("the store moved on too far; reading all of it again")

    async def work(self) -> None:
        """Reconcile one key after the other for ever; run several of these."""
        while True:
            key = await self.keys.take()
            try:
                await self._reconcile(key)
            except Deposed:
                raise
            except QueueError as error:
                log.info("%s: %s", key, error)
                self.keys.done(key, failed=True)
            except Exception:
                log.exception("%s: this pass failed; it is tried again", key)
                self.keys.done(key, failed=True)
            else:
                self.keys.done(key)

    def tick(self) -> None:
        """Once a second: let the autoscaler look, and wake models whose number of replicas it changes."""
        for key, model in self._models.items():
            decision = self._decide(model)
            if decision != self.facts.decisions.get(key):
                self.keys.add(key)

    def process_changed(self, state: ProcessState) -> None:
        """Tell it; where it is a worker, its model is due."""
        self.chronicle.process(state)
        if state.role == ROLE:
            if state.pid is None:
                self.facts.telemetry.forget(state.id)
            self.keys.add(state.labels["model"])
        self.changed()

    def save(self) -> None:
        """Leave the autoscaler's memory to the next leader, so that a hand-over restarts no cooldown."""
        windows = {key: list(window.wanted) for key, window in self._windows.items()}
        self.store.put_soft(WINDOWS, json.dumps(windows))

    def restore(self) -> None:
        """Take up what the leader before us left."""
        for key, wanted in json.loads(self.store.soft(WINDOWS) or "{}").items():
            self._windows[key] = Window(deque((at_s, count) for at_s, count in wanted))

    def wake_all(self) -> None:
        """Something changed that concerns every model, such as the queue."""
        self.wake(self._models)

    def wake(self, keys: Iterable[str]) -> None:
        """Something changed that concerns these models."""
        for key in keys:
            self.keys.add(key)

    @property
    def topics(self) -> dict[str, str]:
        """The topic of each AIModel by key."""
        return {key: model.topic for key, model in self._models.items()}

    def owner(self, topic: str) -> AIModel | None:
        """The oldest AIModel on a topic: the one that scales on it."""
        on_it = [m for m in self._models.values() if m.topic == topic and m.deleted_s is None]
        return min(on_it, key=lambda m: (m.created_s, m.key), default=None)

    def _take_all(self) -> None:
        models = {model.key: model for model in self.store.list()}
        for key in self._models.keys() - models.keys():
            self._forget(key)
        self._models = models
        self._show_models()
        self._take_events()
        self.wake_all()

    def _take(self, key: str, op: Op) -> None:
        model = self.store.get(key)
        if model is None:
            self._forget(key)
        else:
            self._models[key] = model
            if op is not Op.STATUS:
                self.keys.add(key)
        self._show_models()

    def _take_events(self) -> None:
        self.facts.news = News.of(self.chronicle.views())

    def _forget(self, key: str) -> None:
        self._models.pop(key, None)
        self._windows.pop(key, None)
        self.facts.observed.pop(key, None)
        self.facts.decisions.pop(key, None)
        self.facts.needs.pop(key, None)
        self.workloads.forget(key)

    def _show_models(self) -> None:
        self.facts.models = [self._models[key] for key in sorted(self._models)]

    async def _reconcile(self, key: str) -> None:
        model = self._models.get(key)
        if model is None:
            return
        if model.deleted_s is None:
            await self._ensure_topic(model.topic)
        decision = self._decide(model)
        before = self.facts.decisions.get(key)
        observed = self.workloads.converge(model, decision.desired, queue_ready=self._queue_up)
        self.facts.observed[key], self.facts.decisions[key] = observed, decision
        self.facts.needs[key] = self.workloads.need(model)
        if before is not None and before.desired != decision.desired and model.deleted_s is None:
            self.chronicle.scaled(model, before.desired, decision)
        conflict = name_conflict(model, self._models.values())
        status = assess(model, decision, observed, now_s=self.now(), epoch=self.epoch, conflict=conflict)
        if status != model.status:
            self.chronicle.status(model, status)
            self.store.put_status(key, status, self.epoch)
            self._models[key] = replace(model, status=status)
            self._show_models()
        self.changed()
        if model.deleted_s is not None and not observed.replicas:
            await self._finish(model)
        elif observed.ready != decision.desired:
            self.keys.add(key, CHECK_AGAIN_S)

    async def _ensure_topic(self, topic: str) -> None:
        if self.queue is not None and topic not in self._ensured:
            await self.queue.ensure(TopicSpec(topic=topic))
            self._ensured.add(topic)

    async def _finish(self, model: AIModel) -> None:
        """Nothing of it runs any more: its queue goes with the last AIModel that names it, the row goes last."""
        if self.owner(model.topic) is None:
            if self.queue is None:
                raise QueueError("its queue cannot be removed while the broker is away")
            await self.queue.drop(model.topic)
            self._ensured.discard(model.topic)
        for file in self.workloads.home.logs.glob(f"{model.name}-?????.*"):
            file.unlink(missing_ok=True)
        self.store.remove(model.key)

    def _decide(self, model: AIModel) -> Decision:
        telemetry, key = self.facts.telemetry, model.key
        known = self._queue_up and self.now() - telemetry.backlog_s <= SILENT_S
        lying = telemetry.backlog.get(model.topic) if known else None
        observed = self.facts.observed.get(key)
        before = self.facts.decisions.get(key)
        current = before.desired if before else model.status.desired
        if key not in self._windows:
            self._windows[key] = Window()
            self._windows[key].add(self.now(), current)
        return decide(
            model,
            backlog=lying.total if lying else None,
            current=current,
            fits=observed.fits if observed else None,
            topic_owner=self._owns_topic(model),
            window=self._windows[key],
            now_s=self.now(),
        )

    def _owns_topic(self, model: AIModel) -> bool:
        owner = self.owner(model.topic)
        return owner is None or owner.key == model.key

    @property
    def _queue_up(self) -> bool:
        return self.queue is not None and self.queue.connected
