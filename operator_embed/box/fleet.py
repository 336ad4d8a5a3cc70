"""A box as a console sees it: the leader's view over its socket, the store where nobody leads, intents to the store."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from operator_embed.aimodel import AIModel
from operator_embed.box.box_models import BoxModels
from operator_embed.box.database import StoreError
from operator_embed.box.gpu_kill import BoxGpus
from operator_embed.box.home import Home, HomeError
from operator_embed.box.link import LinkError, ViewClient
from operator_embed.box.lock import Lock
from operator_embed.box.rows import Rows
from operator_embed.box.store import Store
from operator_embed.fleet.fleet import ContextView, EventView, FailureView, FleetView
from operator_embed.fleet.gpus import GpuView
from operator_embed.fleet.models import History, ModelView, ReplicaView, State
from operator_embed.fleet.queues import QueueView
from operator_embed.fleet.text import safe_text

if TYPE_CHECKING:
    from operator_embed.box.box_logs import BoxLogs
    from operator_embed.box.box_queues import BoxQueues
    from operator_embed.box.box_requests import BoxRequests
    from operator_embed.box.chronicle import Chronicle

Aging = TypeVar("Aging", ReplicaView, QueueView, GpuView)
TRY_EVERY_S = 0.25
TICK_S = 1.0
CHANGES_EVERY_S = 0.25
GRACE_S = 1.5
"""How long a leader may take to come, or to hand over, before it is said that nobody leads."""
STARTS_S = 10.0
"""How long a leader that holds the lock may take until it tells what it sees."""
UNKNOWN_S = 300.0
"""What a leader told is unknown again when nobody leads for so long."""
UNKNOWN_FIGURES: Mapping[str, Any] = dict.fromkeys(
    ("backlog", "queued", "in_flight", "oldest_s", "req_s", "tok_s", "ttft_p95_s", "kv_pct", "busy_pct", "vram_mib")
)
"""Of a model, while nobody tells them."""
SILENT_S = 5.0
"""A leader tells something every second; one that is silent for so long hangs."""


class BoxFleet:
    """The fleet of one home; `start` it on the loop that reads it."""

    read_only = False

    def __init__(self, home: Home, api_url: str, clock: Callable[[], float] = time.time) -> None:
        self._home, self._clock = home, clock
        self._store: Store | None = None
        self._chronicle: Chronicle | None = None
        versions = itertools.count(time.time_ns() // 1_000)
        self._events: Rows[EventView] = Rows(lambda: next(versions))
        self._failures: Rows[FailureView] = Rows(lambda: next(versions))
        self._client = ViewClient(home.engine_socket)
        self._view = FleetView(
            context=ContextView(name=os.uname().nodename, headline="loading", api_url=api_url), at_s=clock()
        )
        self._followers: set[asyncio.Event] = set()
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._alone_s, self._heard_s = clock(), time.monotonic()
        """When a leader was heard last: for a user, and by a clock that nobody sets."""
        self._stranger = ""
        """Why the leader is not understood, for a user."""
        self.models = BoxModels(home.root, self.store, self.view)
        self.gpus = BoxGpus(self.view)
        self._queues: BoxQueues | None = None
        self._api_url = api_url

    @property
    def queues(self) -> BoxQueues:
        """Loaded when first used, as the facets below: most commands need none of them."""
        if self._queues is None:
            from operator_embed.box.box_queues import BoxQueues

            self._queues = BoxQueues(self._home)
        return self._queues

    @cached_property
    def logs(self) -> BoxLogs:
        from operator_embed.box.box_logs import BoxLogs

        return BoxLogs(self._home)

    @cached_property
    def requests(self) -> BoxRequests:
        from operator_embed.box.box_requests import BoxRequests

        return BoxRequests(self._api_url)

    def store(self) -> Store:
        """This process's connection; opened when first used. Raises `StoreError`, `HomeError`."""
        if self._store is None:
            self._store = Store(self._home, self._clock)
        return self._store

    def start(self) -> None:
        """Follow the leader, and the clock."""
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._tick())]

    async def close(self) -> None:
        """Stop following; nothing of the box changes by it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._queues is not None:
            await self._queues.close()
        if self._store is not None:
            self._store.close()

    def leader(self) -> int | None:
        """Pid of whoever leads now, by the lock; 0 when it has not said so yet, `None` when nobody does."""
        return Lock(self._home.lock).holder()

    async def known(self) -> FleetView:
        """A view that is no older than this call: the leader's, or what is stored where nobody leads.

        Raises `StoreError`.
        """
        self.store().version()
        if self.leader() is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STARTS_S):
                    while not (self._stranger or _shows(self._view, self.store().list())):
                        self._news.clear()
                        await self._news.wait()
        await self.refresh()
        return self._view

    def view(self) -> FleetView:
        """The newest view."""
        return self._view

    def history(self, series: str, span_s: float, points: int, end_s: float | None = None) -> History:
        """Samples of one series, from the leader's hour and what came since."""
        return self._client.rings.read(series, span_s, points, self._view.at_s if end_s is None else end_s)

    async def changes(self) -> AsyncIterator[None]:
        """Yields when `view` has become newer, at most four times a second."""
        changed = asyncio.Event()
        changed.set()
        self._followers.add(changed)
        told_s = -CHANGES_EVERY_S
        try:
            while await changed.wait():
                if (early_s := told_s + CHANGES_EVERY_S - time.monotonic()) > 0:
                    await asyncio.sleep(early_s)
                changed.clear()
                told_s = time.monotonic()
                yield
        finally:
            self._followers.discard(changed)

    async def refresh(self) -> None:
        """Read what can be read now."""
        if self._client.hello is None:
            self._show(self._without_leader())

    async def _follow(self) -> None:
        while True:
            stranger = ""
            with contextlib.suppress(OSError):
                try:
                    async for _ in self._client.follow():
                        if self._client.complete:
                            self._show(self._client.view)
                    self._alone_s, self._heard_s = self._clock(), time.monotonic()
                except LinkError as error:
                    stranger = str(error)
            if stranger != self._stranger:
                self._stranger = stranger
                self._news.set()
            await asyncio.sleep(TRY_EVERY_S)

    async def _tick(self) -> None:
        """Where no leader is heard, the clock goes on and the store is read."""
        while True:
            began_s = time.monotonic()
            await asyncio.sleep(TICK_S - self._clock() % TICK_S)
            stood_still = time.monotonic() - began_s > 2 * TICK_S
            if stood_still:
                continue
            if self._client.hello is None:
                if time.monotonic() - self._heard_s > GRACE_S:
                    self._show(self._without_leader())
            elif (silent_s := time.monotonic() - self._client.heard_s) > SILENT_S:
                self._alone_s, self._heard_s = self._clock() - silent_s, self._client.heard_s
                self._show(self._without_leader())

    def _show(self, view: FleetView) -> None:
        self._view = view
        self._news.set()
        for changed in self._followers:
            changed.set()

    def _past_events(self) -> tuple[EventView, ...]:
        if self._chronicle is None:
            from operator_embed.box.chronicle import Chronicle

            self._chronicle = Chronicle(self.store())
        return self._events.keep(self._chronicle.views())

    def _without_leader(self) -> FleetView:
        """What was last seen, marked as old, with the models as they are stored."""
        last = self._view
        context = replace(last.context, leader_pid=None, leader_is_serve=False, tone="error")
        models, events = last.models, last.events
        try:
            headline, failures = self._unheard()
            known = {row.key: row for row in last.models}
            forgotten = self._clock() - self._alone_s > UNKNOWN_S
            models = tuple(_unwatched(model, known.get(model.key), forgotten) for model in self.store().list())
            events = self._past_events()
        except (StoreError, HomeError) as error:
            headline, failures = "STORE DOWN", (_failure("store", "Unreadable", str(error), self._alone_s),)
        return replace(
            last,
            context=replace(context, headline=headline),
            models=models,
            replicas=_aged(last.replicas),
            queues=_aged(last.queues),
            gpus=_aged(last.gpus),
            gpu_panel=replace(last.gpu_panel, stale=True),
            events=events,
            failures=self._failures.keep(failures),
            at_s=self._clock(),
        )

    def _unheard(self) -> tuple[str, tuple[FailureView, ...]]:
        """Why no leader is heard: a headline, and where somebody leads what to do about it."""
        pid, silent_s = self.leader(), time.monotonic() - self._heard_s
        if pid is not None and self._stranger:
            return "OTHER VERSION", (_failure("leader", "OtherVersion", self._stranger, self._alone_s),)
        if pid is not None and (silent_s > STARTS_S or self._client.hello is not None):
            text = f"pid {pid} leads and says nothing for {silent_s:.0f} s; if it stays so, end it and start it again"
            return "LEADER SILENT", (_failure("leader", "Silent", text, self._alone_s),)
        return "NO LEADER", ()


def _failure(subject: str, reason: str, message: str, since_s: float) -> FailureView:
    return FailureView(
        key=f"{subject}/{reason}",
        version=0,
        severe=True,
        since_s=since_s,
        count=1,
        subject=subject,
        reason=reason,
        message=safe_text(message),
    )


def _shows(view: FleetView, stored: Sequence[AIModel]) -> bool:
    """Whether a leader made this view after it had read these AIModels."""
    seen = {row.key: row.generation for row in view.models}
    return view.context.leader_pid is not None and all(seen.get(m.key, 0) >= m.generation for m in stored)


def _aged(rows: tuple[Aging, ...]) -> tuple[Aging, ...]:
    """Rows as they were seen last, marked as old."""
    if all(row.stale for row in rows):
        return rows
    return tuple(row if row.stale else replace(row, stale=True, version=row.version + 1) for row in rows)


def _unwatched(model: AIModel, row: ModelView | None, forgotten: bool) -> ModelView:
    """A row whose figures nobody reads any more; forgotten ones are unknown."""
    base = row or ModelView(
        key=model.key,
        version=0,
        name=model.name,
        namespace=model.namespace,
        type=model.spec.type,
        model=safe_text(model.spec.model),
        engine=model.spec.engine,
        topic=model.topic,
        ready=model.status.ready,
        created_s=model.created_s,
    )
    stale = replace(
        base,
        generation=model.generation,
        desired=model.status.desired,
        replicas=1 if model.spec.replicas is None else model.spec.replicas,
        state=State(model.status.state or "Pending"),
        progress="Draining" if model.deleted_s is not None else "",
        queue_stale=True,
        store_stale=True,
        **(UNKNOWN_FIGURES if forgotten else {}),
    )
    return base if stale == base else replace(stale, version=base.version + 1)
