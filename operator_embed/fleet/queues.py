"""Queues and dead letters as a screen shows them, and what can be done to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleDecision:
    """One thing that the autoscaler did."""

    at_s: float
    text: str
    """`1 to 2`."""
    why: str
    """`backlog 204 / 100 = 3, max 2`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueView:
    """One model's queue."""

    key: str
    """Topic."""
    version: int
    model: str
    """Key of the AIModel that scales on it."""
    name: str
    queued: int | None = None
    in_flight: int | None = None
    delayed: int = 0
    slots: int = 0
    oldest_s: float | None = None
    in_s: float | None = None
    out_s: float | None = None
    drain: str = ""
    """`~2m30s`, `grows`, `busy`, `stuck`, `paused`, `loads`; empty when nothing waits."""
    ready: int = 0
    desired: int = 0
    dead: int = 0
    trend: int = 0
    backlog_5min: tuple[float | None, ...] = ()
    """16 samples."""
    autoscaler: str = ""
    """`wants 5, max 2`, `off: fixed 1`."""
    explain: str = ""
    """The sentence below the graphs: the formula with its numbers."""
    decisions: tuple[ScaleDecision, ...] = ()
    stale: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterView:
    """One request that was given up."""

    key: str
    """Its reference in the queue."""
    version: int
    topic: str
    request_id: str
    attempts: int
    reason: str
    error: str
    replica: str
    body_bytes: int
    died_s: float


class Queues(Protocol):
    """What can be done to queues; all raise `FleetError` when refused."""

    async def dead(self, topic: str) -> Sequence[DeadLetterView]: ...

    async def requeue(self, topic: str, keys: Sequence[str]) -> int: ...

    async def discard(self, topic: str, keys: Sequence[str]) -> int: ...

    async def purge(self, topic: str) -> int:
        """Drop all that is queued; its clients get an error."""
