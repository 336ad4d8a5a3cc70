"""Marks, words and tones of rows: what needs a person stands out, what runs well does not.

A tone never stands alone: each comes with a mark and a word.
"""

from __future__ import annotations

from operator_embed.fleet.fleet import EventView, FailureView
from operator_embed.fleet.gpus import GpuView
from operator_embed.fleet.models import ModelView, ReplicaView, State
from screens.format import Tone

TONE_OF_MARK: dict[str, Tone] = {"!": "error", "~": "warning", "z": "muted", "?": "muted", " ": ""}
MARK_OF_STATE = {
    State.FAILED: "!",
    State.PENDING: "~",
    State.IDLE: "z",
    State.STOPPED: "z",
    State.RUNNING: " ",
}
CHANGING = frozenset({"Pending", "Starting", "Loading", "Draining", "Stopping", "Paused"})
BROKEN = frozenset({"Crashed", "Backoff"})


def model_mark(model: ModelView) -> str:
    """`!` cannot answer, `~` changing, short of what was asked or of answers, `z` at zero on purpose, `?` silent."""
    if model.store_stale:
        return "?"
    mark = MARK_OF_STATE[model.state]
    return "~" if mark != "!" and (model.degraded or model.progress or model.dead) else mark


def model_tone(model: ModelView) -> Tone:
    """Tone of a model's mark and word."""
    return TONE_OF_MARK[model_mark(model)]


def model_word(model: ModelView) -> str:
    """The state, or what says more than it."""
    if model.state is State.FAILED:
        return "Failed"
    return model.progress or ("Degraded" if model.degraded else str(model.state))


def replica_mark(replica: ReplicaView) -> str:
    """As for models; one that runs and has a reason why it cannot answer counts as broken."""
    if replica.stale:
        return "?"
    if replica.state in BROKEN or fails(replica):
        return "!"
    if replica.state in CHANGING:
        return "~"
    return "z" if replica.state == "Sleeping" else " "


def fails(replica: ReplicaView) -> bool:
    """Whether it is up, but what it was asked last failed for a reason that is its own."""
    return replica.state == "Ready" and bool(replica.reason)


def replica_word(replica: ReplicaView) -> str:
    """The state, or what says more than it."""
    if fails(replica):
        return "Failing"
    return replica.state if replica.state != "Backoff" else "Crashed"


def replica_tone(replica: ReplicaView) -> Tone:
    """Tone of a replica's mark and word."""
    return TONE_OF_MARK[replica_mark(replica)]


def gpu_mark(gpu: GpuView) -> str:
    """`!` lost, `?` silent, `~` throttled."""
    return "!" if gpu.lost else "?" if gpu.stale else "~" if gpu.throttle else " "


def event_mark(event: EventView | FailureView) -> str:
    """`!` somebody got no answer, `~` less than what was asked for."""
    if event.severe:
        return "!"
    return "~" if isinstance(event, FailureView) or event.warning else " "


def event_tone(event: EventView | FailureView) -> Tone:
    """Tone of an event's or a failure's mark."""
    return TONE_OF_MARK[event_mark(event)]
