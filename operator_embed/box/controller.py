"""The reconcile loop of a box: from the store through a queue of keys to workers and back to the store."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace

from operator_embed.aimodel import KIND, AIModel
from operator_embed.autoscaler import Decision, Window, decide
from operator_embed.box.changes import Expired, Op
from operator_embed.box.chronicle import Chronicle
from operator_embed.box.database import StoreError
from operator_embed.box.facts import Facts
from operator_embed.box.news import News
from operator_embed.box.parts import leaving
from operator_embed.box.roster import Roster
from operator_embed.box.store import Deposed, Store
from operator_embed.box.telemetry import SILENT_S
from operator_embed.box.topics import Topics
from operator_embed.box.worker_spec import ROLE
from operator_embed.box.workloads import Workloads
from operator_embed.reconcile import assess, name_conflict
from operator_embed.workqueue import WorkQueue
from worker_embed.process.spec import ProcessState
from worker_embed.queue.port import QueueError

log = logging.getLogger(__name__)

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
    queues: Topics = field(default_factory=Topics)
    models: Roster = field(default_factory=Roster)
    _windows: dict[str, Window] = field(default_factory=dict)
    _desired: dict[str, int] = field(default_factory=dict)
    """What the newest pass acted on, by key."""
    _news_due: bool = True

    async def watch(self) -> None:
        """Follow the store for ever."""
        while True:
            version = self.store.version()
            self._take_all()
            try:
                async with aclosing(self.store.watch(version)) as changes:
                    async for change in changes:
                        if change.kind == KIND:
                            self._take(change.key, change.op)
                        else:
                            self._news_due = True
                        self.changed()
            except Expired:
                log.info("the store moved on too far; reading all of it again")

    async def work(self) -> None:
        """Reconcile one key after the other for ever; run several of these."""
        while not leaving():
            key = await self.keys.take()
            try:
                await self._reconcile(key)
            except Deposed:
                raise
            except (QueueError, StoreError) as error:
                log.info("%s: %s", key, error)
                self.keys.done(key, failed=True)
            except Exception:
                log.exception("%s: this pass failed; it is tried again", key)
                self.keys.done(key, failed=True)
            else:
                self.keys.done(key)

    def tick(self) -> None:
        """Once a second: let the autoscaler look, and wake models whose number of replicas it changes."""
        for model in self.facts.models:
            key = model.key
            before, decision = self.facts.decisions.get(key), self._decide(model)
            self.facts.decisions[key] = decision
            if before is None or before.outcome != decision.outcome:
                self.keys.add(key)

    def process_changed(self, state: ProcessState) -> None:
        """Tell it; where it is a worker, its model is due."""
        self.chronicle.process(state)
        if state.role == ROLE:
            if state.pid is None:
                self.facts.telemetry.forget(state.id)
            self.wake(filter(None, [state.labels.get("model")]))
        self.changed()

    def refresh(self) -> None:
        """Read what happened, if anything did; called before a view is made, as events come in bursts.

        A store that cannot be read leaves what was read before: its trouble is shown elsewhere.
        """
        if self._news_due:
            with suppress(StoreError):
                self.facts.news = News.of(self.chronicle.views())
                self._news_due = False

    def export(self) -> str:
        """The autoscaler's memory for the next leader, so that a hand-over restarts no cooldown."""
        return json.dumps({key: list(window.wanted) for key, window in self._windows.items()})

    def load(self, exported: str) -> None:
        """Take up what the leader before us left."""
        windows = json.loads(exported).items()
        self._windows = {key: Window(deque((float(at_s), int(count)) for at_s, count in w)) for key, w in windows}

    def wake_all(self) -> None:
        """Something changed that concerns every model, such as the queue."""
        self.wake(self.models)

    def wake(self, keys: Iterable[str]) -> None:
        """Something changed that concerns these models."""
        for key in keys:
            self.keys.add(key)

    @property
    def topics(self) -> dict[str, str]:
        """The topic of each AIModel by key."""
        return self.models.topics

    def owner(self, topic: str) -> AIModel | None:
        """The AIModel that scales on a topic."""
        return self.models.owner(topic)

    def _take_all(self) -> None:
        stored = {model.key: model for model in self.store.list()}
        for key in stored.keys() | set(self.models):
            self._know(key, stored.get(key))
        self._windows = {key: window for key, window in self._windows.items() if key in stored}
        self.workloads.keep_only(stored)
        self._show_models()
        self._news_due = True
        self.wake_all()

    def _take(self, key: str, op: Op) -> None:
        self._know(key, self.store.get(key))
        if op is not Op.STATUS:
            self.keys.add(key)
        self._show_models()

    def _know(self, key: str, model: AIModel | None) -> None:
        """The model of that key as it is stored now."""
        before = self.models.get(key)
        if before is not None and (model is None or before.uid != model.uid):
            self._forget(key)
        elif before is not None and model is not None and before.topic != model.topic:
            self.queues.suspect(before.topic)
        if model is not None:
            self.models.put(model)

    def _forget(self, key: str) -> None:
        if model := self.models.drop(key):
            self.queues.suspect(model.topic)
            self.workloads.forget(model)
        self._windows.pop(key, None)
        self._desired.pop(key, None)
        self.facts.observed.pop(key, None)
        self.facts.decisions.pop(key, None)
        self.facts.needs.pop(key, None)

    def _show_models(self) -> None:
        self.facts.models = self.models.sorted()

    async def _reconcile(self, key: str) -> None:
        model = self.models.get(key)
        if model is None:
            return
        trouble, need = "", None
        if model.deleted_s is None:
            trouble, need = await self.queues.trouble(model.topic), await self.workloads.ledger.need(model)
            if self.models.get(key) is not model:
                self.keys.add(key)
                return
        decision = self._decide(model)
        observed = self.workloads.converge(model, decision.desired, need, queue_trouble=trouble)
        self.facts.observed[key], self.facts.decisions[key], self.facts.needs[key] = observed, decision, need
        self._tell_scaled(model, decision)
        conflict = name_conflict(model, self.models.namesakes(model))
        status = assess(model, decision, observed, now_s=self.now(), epoch=self.epoch, conflict=conflict)
        if status != model.status:
            self.chronicle.status(model, status)
            self.store.put_status(key, status, self.epoch)
            self.models.put(replace(model, status=status))
            self._show_models()
        self.changed()
        if model.deleted_s is not None and not observed.replicas:
            await self._finish(model)
            return
        if self.queues.up:
            await self._drop_former()
        if not observed.ready == decision.desired == len(observed.replicas):
            self.keys.add(key, CHECK_AGAIN_S)

    def _tell_scaled(self, model: AIModel, decision: Decision) -> None:
        told = model.status.desired if model.status.observed_generation else None
        before = self._desired.get(model.key, told)
        self._desired[model.key] = decision.desired
        if before is not None and before != decision.desired and model.deleted_s is None:
            self.chronicle.scaled(model, before, decision)

    async def _drop_former(self) -> None:
        """Remove queues that only older specs named."""
        while topic := self._former():
            await self.queues.drop(topic)

    def _former(self) -> str:
        """A queue that no AIModel names and no worker of an older spec reads; empty when there is none."""
        for topic in self.queues.suspects():
            if self.models.on(topic):
                self.queues.former.remove(topic)
            elif not self.workloads.reads(topic):
                return topic
        return ""

    async def _finish(self, model: AIModel) -> None:
        """Nothing of it runs any more: its queue goes with the last AIModel that names it, the row goes last."""
        topic = model.topic
        if all(other.key == model.key for other in self.models.on(topic)) and not self.workloads.reads(topic):
            await self.queues.drop(topic)
        self.store.remove(model.key, uid=model.uid)
        self._forget(model.key)
        self._show_models()

    def _decide(self, model: AIModel) -> Decision:
        telemetry, key = self.facts.telemetry, model.key
        known = self.queues.up and self.now() - telemetry.backlog_s <= SILENT_S
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
        owner = self.models.owner(model.topic)
        return owner is None or owner.key == model.key
