"""AIModels and events of a box, in one SQLite file that several processes share."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final as Constant
from typing import Literal

from operator_embed.aimodel import KIND, RESTARTED_AT, AIModel, Status
from operator_embed.box import changes, events, model_table
from operator_embed.box.changes import Change, Expired, Op, names
from operator_embed.box.database import Refused, StoreError, connect, connect_read_only, explained, transaction
from operator_embed.box.doorbell import LOOK_S, Doorbell, ring
from operator_embed.box.events import Event
from operator_embed.box.home import Home
from operator_embed.box.model_table import Pairs
from operator_embed.box.secrets import Secrets
from operator_embed.schema import problems, to_fields

__all__ = ["Change", "Conflict", "Deposed", "Event", "Expired", "Invalid", "NotFound", "Op", "Store", "StoreError"]

FORMAT: Constant = 1
"""Version of the file; a newer one is refused."""
EVENT: Constant = "Event"
OUR_ANNOTATIONS: Constant = "uplion.io/"

_TABLES: Constant = """
CREATE TABLE soft(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE term(epoch INTEGER NOT NULL) STRICT;
INSERT INTO term VALUES (0)
"""


class NotFound(Refused):
    """No AIModel has that key."""


class Conflict(Refused):
    """Somebody else changed the model since it was read, or it is being deleted."""


class Invalid(Refused):
    """The change would leave a spec that nobody can run."""


class Deposed(Refused):
    """A newer leader writes the status now."""


class Store:
    """One thread's connection; every method may raise `StoreError`.

    A call takes a fraction of a millisecond, `list` about 20 us a model.
    Reading and watching: `rv = store.version()`, then `store.list()`, then `store.watch(rv)`.
    """

    def __init__(self, home: Home, now: Callable[[], float] = time.time) -> None:
        """Open the store, create it where there is none; raises `HomeError` and `StoreError`.

        In a home that can only be read it can be read, and every change is refused.
        """
        self._home, self._now = home, now
        self.trouble = ""
        """Why the store could not be used, until something can be written again."""
        self._secrets = Secrets(home.secrets)
        if home.read_only:
            self._connection = connect_read_only(home.store, version=FORMAT)
            return
        home.prepare()
        tables = ";".join((_TABLES, model_table.TABLES, changes.TABLES, events.TABLES))
        self._connection = connect(home.store, version=FORMAT, schema=tables, synchronous="NORMAL")

    def close(self) -> None:
        self._connection.close()

    def version(self) -> int:
        """Of the newest change; what `watch` starts from."""
        with self._used():
            return changes.newest(self._connection)

    def list(self) -> tuple[AIModel, ...]:
        """All models, also those being deleted, sorted by namespace and name."""
        with self._used():
            return model_table.read_models(self._connection)

    def get(self, key: str) -> AIModel | None:
        """One model by `namespace/name`."""
        with self._used():
            return self._find(key)

    def previous(self, key: str) -> AIModel | None:
        """The model with the spec that it had before the last change; `None` when it never had another."""
        with self._used():
            if (model := self._find(key)) is None:
                return None
            spec = model_table.previous_spec(self._connection, key)
            return replace(model, spec=spec) if spec else None

    def apply(self, model: AIModel) -> tuple[Literal["created", "configured", "unchanged"], AIModel]:
        """Create or replace spec, labels and annotations; returns what was done and the model as stored.

        With `model.resource_version` only if nobody changed it since, else `Conflict`; so is a model being deleted.
        Annotations of ours (`uplion.io/...`) survive a text without them, unless it came with a `resource_version`.
        A key goes into `secrets/`; a new key of an existing model replaces its replicas.
        """
        key = self._secrets.given(model.spec)
        secret = f"{model.namespace}.{model.name}"
        if key is not None:
            model = replace(model, spec=replace(model.spec, api_key=None, api_key_from=f"secret:{secret}"))
        _refuse_invalid(model)
        with self._secrets.replacing(secret, key) as new_key, self._writing():
            old = self._find(model.key)
            if old is not None:
                _refuse_stale(old, model.resource_version)
            elif model.resource_version:
                raise Conflict(f"{model.key}: is gone since it was read; remove resourceVersion to create it again")
            if old is None:
                return "created", self._insert(model)
            if not model.resource_version:
                model = replace(model, annotations=_with_ours(model.annotations, old.annotations))
            if new_key and model.spec == old.spec:
                model = restarted(model, self._now())
            stored = self._update(old, model, new_key=new_key)
            return ("unchanged" if stored is old else "configured"), stored

    def patch(self, key: str, change: Callable[[AIModel], AIModel], *, resource_version: str = "") -> AIModel:
        """Change spec, labels or annotations of the model as it is now; nobody can come between reading and writing.

        Raises `NotFound`, `Conflict` as `apply`, `Invalid`, and whatever `change` raises.
        """
        with self._writing():
            old = self._existing(key)
            _refuse_stale(old, resource_version)
            new = change(old)
            _refuse_invalid(new)
            return self._update(old, new)

    def delete(self, key: str, *, resource_version: str = "") -> AIModel:
        """Set `deletionTimestamp`; whoever leads drains the model and calls `remove`. Again is no error."""
        with self._writing():
            old = self._existing(key)
            if old.deleted_s is not None:
                return old
            _refuse_stale(old, resource_version)
            rv = self._log(KIND, key, Op.MODIFIED)
            deleted = replace(old, deleted_s=self._now(), resource_version=str(rv))
            model_table.mark_deleted(self._connection, deleted)
            return deleted

    def remove(self, key: str, *, uid: str = "") -> None:
        """Drop the row and the key of its own; only for the leader, when nothing of the model is left.

        With `uid` only that incarnation: a model of the same name may have come since.
        """
        with self._writing():
            if model_table.remove(self._connection, key, uid):
                self._secrets.delete(".".join(names(key)))
                self._log(KIND, key, Op.DELETED)

    def put_status(self, key: str, status: Status, epoch: int) -> bool:
        """Write the status; False when it is the same as before or the model is gone.

        Raises `Deposed` when `epoch` is not the newest leader's. `resource_version` stays: it tells users of changes by
        users.
        """
        with self._writing():
            if epoch < (newest := self._epoch()):
                raise Deposed(f"{key}: status of leader {epoch} refused, leader {newest} has taken over")
            old = self._find(key)
            new = replace(status, epoch=epoch)
            if old is None or replace(old.status, epoch=epoch) == new:
                return False
            self._log(KIND, key, Op.STATUS)
            model_table.write_status(self._connection, key, new)
            return True

    def next_epoch(self) -> int:
        """Begin a leader's term; status of older terms is refused from now on."""
        with self._writing():
            self._connection.execute("UPDATE term SET epoch = epoch + 1")
            return self._epoch()

    def record(self, event: Event) -> None:
        """Keep an event; `id`, `rv`, `count` and times in it are the store's to set."""
        with self._writing():
            events.record(self._connection, event, self._log(EVENT, event.model, Op.ADDED), self._now())

    def events(self, limit: int = 1_000, *, model: str | None = None, since_rv: int = 0) -> tuple[Event, ...]:
        """What happened in the last seven days, newest first; `since_rv` leaves out what was seen before."""
        with self._used():
            return events.newest(self._connection, limit, model, since_rv, self._now() - events.KEPT_S)

    def soft(self, key: str) -> str | None:
        """A note of the engine to its successor."""
        with self._used():
            row = self._connection.execute("SELECT value FROM soft WHERE key = ?", (key,)).fetchone()
            return None if row is None else str(row[0])

    def put_soft(self, key: str, value: str) -> None:
        """Keep a note; wakes nobody."""
        with self._writing():
            self._connection.execute(
                "INSERT INTO soft VALUES (?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value", (key, value)
            )

    def changes(self, since: int) -> tuple[Change, ...]:
        """What changed after version `since`, oldest first; raises `Expired`."""
        with self._used():
            return changes.after(self._connection, since)

    async def watch(self, since: int) -> AsyncGenerator[Change, None]:
        """Changes after version `since` as they come, from this and any other process; raises `Expired`."""
        with Doorbell(self._home.bells) as bell:
            while True:
                for change in self.changes(since):
                    since = change.rv
                    yield change
                await bell.wait(LOOK_S)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction; who watches is told after it, if it changed anything."""
        with self._used():
            before = changes.newest(self._connection)
            with transaction(self._connection):
                yield
            if changes.newest(self._connection) != before:
                ring(self._home.bells)
        self.trouble = ""

    @contextmanager
    def _used(self) -> Iterator[None]:
        """Note why the file cannot be used, where that is the trouble."""
        try:
            with explained(self._home.store):
                yield
        except Refused:
            raise
        except StoreError as error:
            self.trouble = str(error)
            raise

    def _epoch(self) -> int:
        return int(self._connection.execute("SELECT epoch FROM term").fetchone()[0])

    def _find(self, key: str) -> AIModel | None:
        return model_table.find(self._connection, key)

    def _existing(self, key: str) -> AIModel:
        if model := self._find(key):
            return model
        raise NotFound(f"{key}: there is no such {KIND}; uplion get models lists them")

    def _log(self, kind: str, key: str, op: Op) -> int:
        return changes.add(self._connection, kind, key, op)

    def _insert(self, model: AIModel) -> AIModel:
        rv = self._log(KIND, model.key, Op.ADDED)
        new = replace(
            model,
            uid=str(uuid.uuid4()),
            generation=1,
            resource_version=str(rv),
            created_s=self._now(),
            deleted_s=None,
            labels=tuple(sorted(model.labels)),
            annotations=tuple(sorted(model.annotations)),
            status=Status(),
        )
        model_table.insert(self._connection, new)
        return new

    def _update(self, old: AIModel, wanted: AIModel, *, new_key: bool = False) -> AIModel:
        """Store what users may change; `old` itself when nothing differs."""
        new = replace(
            old,
            spec=wanted.spec,
            labels=tuple(sorted(wanted.labels)),
            annotations=tuple(sorted(wanted.annotations)),
            generation=old.generation + (new_key or wanted.spec != old.spec),
        )
        if new == old:
            return old
        new = replace(new, resource_version=str(self._log(KIND, old.key, Op.MODIFIED)))
        model_table.update(self._connection, new)
        return new


def _refuse_invalid(model: AIModel) -> None:
    if model.spec.api_key is not None or not (model.spec.api_key_from or "secret:").startswith("secret:"):
        raise Invalid(f"{model.key}: spec.apiKeyFrom: a key is taken in by apply only")
    for field, problem in problems(to_fields(model.spec)):
        raise Invalid(f"{model.key}: spec.{field}: {problem}")


def _refuse_stale(stored: AIModel, resource_version: str) -> None:
    if stored.deleted_s is not None:
        raise Conflict(f"{stored.key}: is being deleted; wait until it is gone, then apply it again")
    if resource_version not in ("", stored.resource_version):
        raise Conflict(
            f"{stored.key}: was changed by somebody else since it was read (resourceVersion {resource_version}, "
            f"now {stored.resource_version}); look again and retry"
        )


def _with_ours(wanted: Pairs, stored: Pairs) -> Pairs:
    """What a text does not say about our own annotations stays as it is."""
    return tuple(
        {**{name: value for name, value in stored if name.startswith(OUR_ANNOTATIONS)}, **dict(wanted)}.items()
    )


def restarted(model: AIModel, now_s: float) -> AIModel:
    """The model with the wish that all its replicas are replaced, made at Unix time `now_s`."""
    at = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return replace(model, annotations=tuple({**dict(model.annotations), RESTARTED_AT: at}.items()))
