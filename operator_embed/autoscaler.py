"""How many replicas a model should have: KEDA's formula with the horizontal pod autoscaler's scale-down window."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from operator_embed.aimodel import PAUSED, AIModel
from operator_embed.schema import MAX_REPLICAS

DEFAULT_MAX = 100
DEFAULT_COOLDOWN_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How many replicas there should be, and in whose name."""

    desired: int
    active: bool
    """Whether an autoscaler decides: the status of the condition ScalingActive."""
    reason: str
    """`Backlog`, `Static`, `TopicShared`, `BoundByGPU`, `Paused` or `BacklogUnknown`."""
    message: str
    wants: int | None = None
    """What the backlog alone asks for, before the bounds."""

    @property
    def outcome(self) -> tuple[int, bool, str]:
        """What is decided, without the figures that led to it: those move all the time."""
        return self.desired, self.active, self.reason


@dataclass(slots=True)
class Window:
    """What was wanted lately: capacity goes down only when nothing in the whole cooldown wanted more."""

    wanted: deque[tuple[float, int]] = field(default_factory=deque)
    """(seconds, replicas), falling in the second: an entry that a later, larger one outlives is dropped."""

    def add(self, now_s: float, replicas: int) -> None:
        """Note what is wanted now; what was noted for later than now dates from a clock that was set back."""
        while self.wanted and (self.wanted[-1][1] <= replicas or self.wanted[-1][0] > now_s):
            self.wanted.pop()
        self.wanted.append((now_s, replicas))

    def highest(self, now_s: float, cooldown_s: float) -> int:
        """The largest number wanted within the last `cooldown_s`."""
        while len(self.wanted) > 1 and self.wanted[0][0] < now_s - cooldown_s:
            self.wanted.popleft()
        return self.wanted[0][1] if self.wanted else 0


def bounds(model: AIModel) -> tuple[int, int] | None:
    """The autoscaler's bounds, or `None` where `spec.replicas` alone counts."""
    if model.spec.msg_backlog_threshold is None:
        return None
    low = 1 if model.spec.min_replicas is None else model.spec.min_replicas
    high = DEFAULT_MAX if model.spec.max_replicas is None else model.spec.max_replicas
    return low, max(low, high)


def decide(
    model: AIModel,
    *,
    backlog: int | None,
    current: int,
    fits: int | None,
    topic_owner: bool,
    window: Window,
    now_s: float,
) -> Decision:
    """desired = ceil(backlog / msgBacklogThreshold) within min..max: up at once, down after the cooldown.

    `current` is what was desired last, `fits` how many replicas the box can hold (`None`: no limit known). One replica
    more than fits is asked for at the most: it waits, says why, and takes the room as soon as there is some.
    """
    static = 1 if model.spec.replicas is None else model.spec.replicas
    if model.deleted_s is not None:
        return Decision(desired=0, active=False, reason="Static", message="being deleted")
    limits = bounds(model)
    if limits is None:
        return Decision(desired=static, active=False, reason="Static", message=f"fixed at {static}")
    if not topic_owner:
        message = f"another AIModel scales on the queue of {model.spec.model}; fixed at {static}"
        return Decision(desired=static, active=False, reason="TopicShared", message=message)
    if (held := model.annotation(PAUSED)) is not None:
        number = min(int(held), MAX_REPLICAS) if held.isdecimal() and len(held) < 10 else current
        return Decision(desired=number, active=False, reason="Paused", message=f"held at {number}")
    low, high = limits
    if backlog is None:
        kept = min(max(current, low), high)
        message = f"the queue does not answer; kept at {kept}"
        return Decision(desired=kept, active=False, reason="BacklogUnknown", message=message)

    threshold = model.spec.msg_backlog_threshold or 1
    wants = math.ceil(backlog / threshold)
    formula = f"backlog {backlog} / {threshold} = {wants}"
    now_wanted = min(max(wants, low), high)
    window.add(now_s, now_wanted)
    cooldown_s = DEFAULT_COOLDOWN_S if model.spec.cooldown_seconds is None else model.spec.cooldown_seconds
    desired = max(now_wanted, min(current, window.highest(now_s, cooldown_s), high))
    if fits is not None and desired > max(low, fits + 1):
        desired = max(low, fits + 1)
    if fits is not None and now_wanted > fits:
        return Decision(
            desired=desired, active=True, reason="BoundByGPU", message=f"{formula}, {fits} fits", wants=wants
        )
    limit = f", max {high}" if wants > high else f", min {low}" if wants < low else ""
    wait = f", down after {cooldown_s:g} s" if desired > now_wanted else ""
    return Decision(desired=desired, active=True, reason="Backlog", message=formula + limit + wait, wants=wants)
