"""Intents on AIModels of a box: each is stored, and whoever leads acts on it."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from operator_embed.aimodel import PAUSED, AIModel, Spec
from operator_embed.autoscaler import bounds
from operator_embed.box.database import StoreError
from operator_embed.box.events import Event
from operator_embed.box.store import Store, restarted
from operator_embed.fleet.fleet import FleetError, FleetView
from operator_embed.fleet.models import Applied, Checked, Manifest, Scale, ScalePreview

log = logging.getLogger(__name__)

T = TypeVar("T")


class BoxModels:
    """The facet `models` of a box; YAML is read and written by modules that are loaded when first needed."""

    def __init__(self, home: Path, store: Callable[[], Store], view: Callable[[], FleetView]) -> None:
        self._home, self._store, self._view = home, store, view

    async def apply(self, text: str, *, base_dir: str = ".", resource_version: str | None = None) -> Sequence[Applied]:
        """Create or change what the YAML names; with a `resource_version` only if nobody changed it since.

        One that the text holds counts as well, as it does for kubectl.
        """
        from operator_embed.manifest import ManifestError, parse

        try:
            parsed = parse(text, base_dir=base_dir)
        except ManifestError as error:
            raise FleetError("\n".join(error.errors)) from error
        applied: list[Applied] = []
        for one in parsed:
            wanted = replace(one.model, resource_version=resource_version or one.model.resource_version)
            try:
                action, stored = self._do(partial(Store.apply, model=wanted))
            except FleetError as error:
                before = ", ".join(f"{before.key} ({before.action})" for before in applied)
                raise FleetError(f"{error}\napplied before it: {before}" if before else str(error)) from error
            if action != "unchanged":
                self._tell("Applied", f"generation {stored.generation}, {action}", stored.key)
            applied.append(Applied(key=stored.key, action=action, warnings=one.warnings))
        return applied

    async def check(self, text: str, *, base_dir: str = ".") -> Checked:
        """Validate without storing."""
        from operator_embed.manifest import ManifestError, diff, parse

        try:
            parsed = parse(text, base_dir=base_dir)
        except ManifestError as error:
            return Checked(errors=error.errors, warnings=error.warnings)
        warnings = tuple(warning for one in parsed for warning in one.warnings)
        lines: list[str] = []
        for one in parsed:
            lines += diff(self._do(partial(Store.get, key=one.model.key)), one.model)
        return Checked(warnings=warnings, diff=tuple(lines))

    async def manifest(self, key: str) -> Manifest:
        """The AIModel as stored."""
        return _manifest(self._existing(key))

    async def objects(self) -> tuple[dict[str, Any], ...]:
        """All AIModels as an API server returns them, sorted by namespace and name; secrets masked."""
        from operator_embed.manifest import to_manifest_dict

        return tuple(to_manifest_dict(model) for model in self._do(Store.list))

    async def scale(self, key: str, change: Scale) -> None:
        """Refused with the way out where `replicas` belongs to the autoscaler."""

        def scaled(model: AIModel) -> AIModel:
            spec = _scaled(model, change)
            annotations = dict(model.annotations)
            if spec.msg_backlog_threshold is None or change.paused is False:
                annotations.pop(PAUSED, None)
            elif change.paused:
                annotations[PAUSED] = str(model.status.desired)
            return replace(model, spec=spec, annotations=tuple(annotations.items()))

        before = self._existing(key)
        after = self._do(lambda store: store.patch(key, scaled))
        if after.resource_version != before.resource_version:
            self._tell("ScaleAsked", _difference(before.spec, after.spec, change), key)

    async def preview(self, key: str, change: Scale) -> ScalePreview:
        """Which replicas of that many would fit where."""
        from operator_embed.box.preview import preview

        return preview(self._existing(key), change, self._view())

    async def restart(self, key: str) -> None:
        """Replace all replicas, one after the other, drained."""
        now_s = time.time()
        self._do(lambda store: store.patch(key, lambda model: restarted(model, now_s)))
        self._tell("RestartAsked", "all replicas, one after the other", key)

    async def delete(self, key: str) -> None:
        """Drain and remove everything; returns once the wish is stored."""
        self._do(lambda store: store.delete(key))
        self._tell("DeleteAsked", "drained for up to 30 s, then removed", key)

    async def undo(self, key: str) -> Checked:
        """What taking the last change back would be."""
        from operator_embed.manifest import diff

        return Checked(diff=diff(self._existing(key), self._previous(key)))

    async def previous(self, key: str) -> Manifest:
        """The spec before its last change; refused when there is none."""
        return _manifest(self._previous(key))

    async def kill(self, replica: str) -> None:
        """SIGKILL a replica now; it comes back by itself."""
        self._signal(replica, signal.SIGKILL)
        self._tell("KillAsked", replica, self._model_of(replica))

    async def restart_replica(self, replica: str) -> None:
        """Drain one replica and start it again."""
        self._signal(replica, signal.SIGTERM)
        self._tell("RestartAsked", replica, self._model_of(replica))

    def _do(self, intent: Callable[[Store], T]) -> T:
        try:
            return intent(self._store())
        except StoreError as error:
            raise FleetError(str(error)) from error

    def _existing(self, key: str) -> AIModel:
        if model := self._do(lambda store: store.get(key)):
            return model
        raise FleetError(f"{key}: there is no such AIModel; uplion get models lists them")

    def _previous(self, key: str) -> AIModel:
        if model := self._do(lambda store: store.previous(key)):
            return model
        raise FleetError(f"{key}: it has never been changed, so there is nothing to take back")

    def _tell(self, reason: str, message: str, key: str) -> None:
        """What was asked is stored already: a note about it that cannot be kept is no reason to say that it failed."""
        try:
            self._store().record(Event(reason=reason, message=message, source="you", model=key))
        except StoreError as error:
            log.error("event %s of %s is not kept: %s", reason, key, error)

    def _model_of(self, replica: str) -> str:
        return next((row.model for row in self._view().replicas if row.key == replica), "")

    def _signal(self, replica: str, number: signal.Signals) -> None:
        """A view may be old, and the pid in it another process's by now; see pidfd_open(2)."""
        from worker_embed.process.environment import mark_of

        pid = next((row.pid for row in self._view().replicas if row.key == replica), None)
        if pid is None:
            raise FleetError(f"{replica}: no process of that name runs")
        try:
            with open(os.pidfd_open(pid), "rb") as process:
                if mark_of(pid, self._home) != replica:
                    raise ProcessLookupError
                signal.pidfd_send_signal(process.fileno(), number)
        except ProcessLookupError:
            raise FleetError(f"{replica}: it has ended") from None


def _manifest(model: AIModel) -> Manifest:
    from operator_embed.manifest import render, render_status

    return Manifest(yaml=render(model), status_yaml=render_status(model), resource_version=model.resource_version)


def _scaled(model: AIModel, change: Scale) -> Spec:
    """The spec after `change`; raises `FleetError` where somebody else owns the number."""
    limits = bounds(model)
    if change.replicas is not None and limits is not None and change.threshold != 0:
        raise FleetError(
            f"{model.key}: the autoscaler owns replicas (msgBacklogThreshold is {model.spec.msg_backlog_threshold}); "
            "set its bounds with --min and --max, --threshold, or hold it with --pause"
        )
    asked_for_bounds = change.min_replicas is not None or change.max_replicas is not None or change.paused
    if limits is None and asked_for_bounds and change.threshold is None:
        raise FleetError(f"{model.key}: no autoscaler runs; set --replicas, or start one with --threshold")
    spec = model.spec
    return replace(
        spec,
        replicas=spec.replicas if change.replicas is None else change.replicas,
        min_replicas=spec.min_replicas if change.min_replicas is None else change.min_replicas,
        max_replicas=spec.max_replicas if change.max_replicas is None else change.max_replicas,
        msg_backlog_threshold=spec.msg_backlog_threshold if change.threshold is None else change.threshold or None,
    )


def _difference(before: Spec, after: Spec, change: Scale) -> str:
    """`replicas 1 to 2, max 4 to 6`."""
    parts = [
        f"{name} {'unset' if old is None else old} to {'unset' if new is None else new}"
        for name, old, new in (
            ("replicas", before.replicas, after.replicas),
            ("min", before.min_replicas, after.min_replicas),
            ("max", before.max_replicas, after.max_replicas),
            ("threshold", before.msg_backlog_threshold, after.msg_backlog_threshold),
        )
        if old != new
    ]
    if change.paused is not None:
        parts.append("autoscaler held" if change.paused else "autoscaler let go")
    return ", ".join(parts)
