"""The API node's view of a box: which models there are, read from the store without writing to it."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Sequence

from operator_embed.aimodel import KIND, AIModel, Condition
from operator_embed.box import changes
from operator_embed.box.changes import Expired
from operator_embed.box.database import StoreError, connect_read_only, explained
from operator_embed.box.doorbell import LOOK_S, Doorbell
from operator_embed.box.home import Home
from operator_embed.box.model_table import find, read_models
from operator_embed.box.store import FORMAT
from operator_embed.directory import Served
from worker_embed.wire import ErrorKind

_log = logging.getLogger(__name__)

FOR_GOOD = frozenset({ErrorKind.CONFIGURATION, ErrorKind.AUTHENTICATION, "WeightsMissing", "EngineMissing"})
"""Reasons of a failure that no restart mends, though restarts go on."""
UNREAD = -1
"""Older than any version: what changed since then is all there is."""


class BoxDirectory:
    """`ModelDirectory` of a box: what was read last stays in use while the store cannot be read."""

    def __init__(self, home: Home, now: Callable[[], float] = time.monotonic) -> None:
        self._home, self._now = home, now
        self._known: dict[str, Served] = {}
        """By key."""
        self._served: tuple[Served, ...] = ()
        self._by_name: dict[str, Served] = {}
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._rv = UNREAD
        """Version of the store that was read."""
        self._read_s = now()
        self._failing = False
        self._bell = Doorbell(home.bells)
        self._follower: asyncio.Task[None] | None = None

    def find(self, name: str) -> Served | None:
        return self._by_name.get(name)

    def all(self) -> Sequence[Served]:
        return self._served

    @property
    def age_s(self) -> float:
        return self._now() - self._read_s

    async def start(self) -> None:
        """As the protocol says; raises `StoreError` and `HomeError`."""
        self._home.prepare()
        self._bell.open()
        try:
            self._read()
        except StoreError:
            self._bell.close()
            raise
        self._follower = asyncio.create_task(self._follow())

    async def close(self) -> None:
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.wait([self._follower])
        self._bell.close()
        self._disconnect()

    async def _follow(self) -> None:
        while True:
            await self._bell.wait(LOOK_S)
            try:
                self._read()
                self._failing = False
            except StoreError as error:
                self._disconnect()
                if not self._failing:
                    _log.warning("%s; going on with the models read %.0f s ago", error, self.age_s)
                self._failing = True

    def _read(self) -> None:
        path = self._home.store
        with explained(path):
            if os.stat(path).st_ino != self._inode:
                self._disconnect()
            if self._connection is None:
                self._connection = connect_read_only(path, version=FORMAT)
                self._inode, self._rv = os.stat(path).st_ino, UNREAD
            newest = changes.newest(self._connection)
            if newest != self._rv:
                self._catch_up(self._connection)
                self._rv = newest
        self._read_s = self._now()

    def _catch_up(self, connection: sqlite3.Connection) -> None:
        """Read the models that changed, and show them if clients would notice."""
        before = self._known.copy()
        try:
            for key in {change.key for change in changes.after(connection, self._rv) if change.kind == KIND}:
                self._known.pop(key, None)
                self._know(find(connection, key))
        except Expired:
            self._known = {}
            for model in read_models(connection):
                self._know(model)
        if self._known != before:
            self._show(self._known.values())

    def _know(self, model: AIModel | None) -> None:
        if model is not None and model.deleted_s is None:
            self._known[model.key] = _served(model)

    def _show(self, alive: Collection[Served]) -> None:
        self._served = tuple(sorted(alive, key=lambda one: (one.name, one.key)))
        # Those named last win: what can answer before what cannot, `metadata.name` before `spec.model`.
        best_last = sorted(alive, key=lambda one: (not one.stopped, one.ready, -one.created_s))
        self._by_name = {one.model: one for one in best_last} | {one.name: one for one in best_last}

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _served(model: AIModel) -> Served:
    failure = _failure(model)
    return Served(
        key=model.key,
        name=model.name,
        model=model.spec.model,
        topic=model.topic,
        ready=model.status.ready,
        stopped=model.stopped,
        created_s=model.created_s,
        failed=f"{failure.reason}: {failure.message}" if failure else "",
        failed_s=failure.since_s if failure else 0.0,
    )


def _failure(model: AIModel) -> Condition | None:
    """What is wrong for good with a model that cannot answer as it is specified now."""
    status = model.status
    degraded = status.condition("Degraded")
    if status.state != "Failed" or status.observed_generation != model.generation or degraded is None:
        return None
    return degraded if degraded.status and degraded.reason in FOR_GOOD else None
