"""What is true of an AIModel, from what was asked and what is there: pure, so that each rule is a line of a test."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from operator_embed.aimodel import AIModel, Condition, Status
from operator_embed.autoscaler import Decision, bounds
from worker_embed.wire import ErrorKind

STALLED_S = 600.0
"""A replica that loads longer than this is said to be stalled."""
QUEUE_LOST_S = 30.0


class Phase(StrEnum):
    """Where one replica is in its life."""

    PENDING = "Pending"
    STARTING = "Starting"
    LOADING = "Loading"
    READY = "Ready"
    PAUSED = "Paused"
    SLEEPING = "Sleeping"
    DRAINING = "Draining"
    STOPPING = "Stopping"
    CRASHED = "Crashed"
    BACKOFF = "Backoff"


ANSWERING = frozenset({Phase.READY, Phase.PAUSED, Phase.SLEEPING})
LEAVING = frozenset({Phase.DRAINING, Phase.STOPPING})
PENDING_REASONS = frozenset({"NothingFits", "WeightsMissing", "EngineMissing"})
WORKER_ERRORS = frozenset(kind.value for kind in ErrorKind)
NAME_CONFLICT = "NameConflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One replica as its backend sees it."""

    name: str
    phase: Phase
    reason: str = ""
    """Why it is not ready: `NothingFits`, an `ErrorKind`, `GPULost`; empty when nothing is wrong."""
    message: str = ""
    since_s: float = 0.0
    """Unix time at which it entered its phase."""
    ready_s: float | None = None
    """Unix time at which it became ready last."""
    restarts: int = 0
    current: bool = True
    """False when it runs an older spec and is due for replacement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What a backend found and began when it was told how many replicas there should be."""

    replicas: tuple[Replica, ...] = ()
    fits: int | None = None
    """How many replicas of this model can be held at all; `None` without a known limit."""

    @property
    def ready(self) -> int:
        """Replicas that can answer."""
        return sum(r.phase in ANSWERING and not r.reason for r in self.replicas)


@dataclass(frozen=True, slots=True)
class Failure:
    """One cause of trouble."""

    reason: str
    message: str


def current_failure(replicas: Sequence[Replica], now_s: float) -> Failure | None:
    """The worst thing that is wrong with a replica now, worst meaning: least likely to go away by itself.

    One that leaves or runs an older spec says nothing about the spec.
    """
    for replica in sorted(replicas, key=lambda r: (r.phase is not Phase.BACKOFF, r.name)):
        if replica.phase in LEAVING or not replica.current:
            continue
        if replica.reason == "QueueDown":
            if now_s - replica.since_s >= QUEUE_LOST_S:
                return Failure(ErrorKind.QUEUE_CONNECTION, replica.message)
        elif replica.reason in WORKER_ERRORS | PENDING_REASONS | {"GPULost"}:
            return Failure(replica.reason, replica.message)
        elif replica.phase is Phase.BACKOFF:
            return Failure("CrashLoopBackOff", replica.message)
        elif replica.phase in (Phase.STARTING, Phase.LOADING) and now_s - replica.since_s >= STALLED_S:
            minutes = int((now_s - replica.since_s) // 60)
            return Failure("StartStalled", f"{replica.name} is not ready after {minutes} minutes")
    return None


def name_conflict(model: AIModel, others: Iterable[AIModel]) -> Failure | None:
    """Another AIModel, older, that clients would reach by the same word, on another queue."""
    for other in others:
        older = (other.created_s, other.key) < (model.created_s, model.key) and other.deleted_s is None
        words = {other.name, other.spec.model} & {model.name, model.spec.model}
        if older and other.topic != model.topic and words:
            return Failure(NAME_CONFLICT, f"{other.key} answers to {min(words)!r} already")
    return None


def assess(
    model: AIModel,
    decision: Decision,
    observed: Observed,
    *,
    now_s: float,
    epoch: int,
    conflict: Failure | None = None,
) -> Status:
    """The status of `model`: equal to the one it has when nothing changed, so that nothing is written."""
    before = model.status
    ready = observed.ready
    failure = _unresolved(model, decision, observed, now_s) or conflict
    state, message = _state(model, decision, ready, failure)
    conditions = (
        _ready(decision, ready, observed, state, failure),
        _progressing(before, decision, observed, ready),
        Condition(
            type="Degraded",
            status=failure is not None,
            reason=failure.reason if failure else "AsAsked",
            message=failure.message if failure else "",
        ),
        _scaling(model, decision),
    )
    return Status(
        state=state,
        message=message,
        ready=ready,
        desired=decision.desired,
        observed_generation=model.generation,
        conditions=tuple(_dated(condition, before, now_s) for condition in conditions),
        epoch=epoch,
    )


def _unresolved(model: AIModel, decision: Decision, observed: Observed, now_s: float) -> Failure | None:
    """What is wrong now, or was and is not mended: a new spec or a replica that became ready since mends."""
    if now := current_failure(observed.replicas, now_s):
        return now
    degraded = model.status.condition("Degraded")
    if degraded is None or not degraded.status or model.generation != model.status.observed_generation:
        return None
    if degraded.reason == NAME_CONFLICT:
        return None
    mended = any(r.ready_s is not None and r.ready_s > degraded.since_s for r in observed.replicas)
    if mended or observed.ready >= decision.desired:
        return None
    return Failure(degraded.reason, degraded.message)


def _state(model: AIModel, decision: Decision, ready: int, failure: Failure | None) -> tuple[str, str]:
    """State and message, in the original's words where it has them."""
    if ready:
        return "Running", "AIModel is running successfully"
    if decision.desired == 0 and model.deleted_s is None:
        sleeps = decision.active or decision.reason == "BacklogUnknown"
        if sleeps and (limits := bounds(model)) and limits[0] == 0:
            return "Idle", "at zero; a request wakes it"
        return "Stopped", "stopped; scale it up to start it"
    if failure:
        return "Failed", f"{failure.reason}: {failure.message}"
    return "Pending", "being deleted" if model.deleted_s is not None else f"0 of {decision.desired} ready"


def _ready(decision: Decision, ready: int, observed: Observed, state: str, failure: Failure | None) -> Condition:
    if ready and ready >= decision.desired:
        reason = "ReplicasReady"
    elif state in ("Stopped", "Idle"):
        reason = state
    else:
        reason = failure.reason if failure else "Starting" if not ready else "ReplicasReady"
    message = f"{ready} of {decision.desired} replicas can answer"
    return Condition(type="Ready", status=ready > 0, reason=reason, message=message)


def _progressing(before: Status, decision: Decision, observed: Observed, ready: int) -> Condition:
    staying = [r for r in observed.replicas if r.phase not in LEAVING]
    if any(not r.current for r in staying):
        old = sum(not r.current for r in staying)
        return Condition(type="Progressing", status=True, reason="Updating", message=f"{old} run an older spec")
    if len(staying) != len(observed.replicas):
        leaving = len(observed.replicas) - len(staying)
        return Condition(type="Progressing", status=True, reason="Draining", message=f"{leaving} leaving")
    if ready < decision.desired:
        reason = "Starting" if ready == 0 else "Scaling"
        return Condition(type="Progressing", status=True, reason=reason, message=f"{ready} to {decision.desired}")
    return Condition(type="Progressing", status=False, reason="Settled")


def _scaling(model: AIModel, decision: Decision) -> Condition:
    """With the figures that led to the number asked for, which explain it; newer ones that change nothing do not."""
    before = model.status
    old = before.condition("ScalingActive")
    message = decision.message
    if old is not None and before.observed_generation == model.generation:
        message = old.message if (before.desired, old.status, old.reason) == decision.outcome else message
    return Condition(type="ScalingActive", status=decision.active, reason=decision.reason, message=message)


def _dated(condition: Condition, before: Status, now_s: float) -> Condition:
    """`since_s` moves with the status and with the reason."""
    old = before.condition(condition.type)
    same = old is not None and old.status == condition.status and old.reason == condition.reason
    return replace(condition, since_s=old.since_s if same and old else now_s)
