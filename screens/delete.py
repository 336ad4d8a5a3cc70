"""Deleting models."""

from __future__ import annotations

from collections.abc import Sequence

from operator_embed.fleet.models import ModelView
from screens.confirm import ConfirmDialog
from screens.format import count, plural


def what_is_lost(models: Sequence[ModelView]) -> str:
    """What deleting these models does to their replicas and to those who wait for them."""
    ready = sum(model.ready for model in models)
    in_flight = sum(model.in_flight or 0 for model in models)
    queued = sum(model.queued or 0 for model in models)
    busy = f" ({count(in_flight)} in flight: drained for up to 30 s)" if in_flight else ""
    stops = f"Stops {plural(ready, 'replica')}{busy}" if ready else "No replica is ready"
    if any(model.queued is None for model in models):
        return f"{stops}. How many requests wait is unknown; their clients get an error now."
    if queued:
        requests = "request; its client gets" if queued == 1 else "requests; their clients get"
        return f"{stops} and drops {count(queued)} queued {requests} an error now."
    return f"{stops}. No request waits."


class DeleteDialog(ConfirmDialog):
    """Asks before models and their queues go; a protected context wants the name typed."""

    def __init__(self, models: Sequence[ModelView], context: str, *, protected: bool = False) -> None:
        name = models[0].name if len(models) == 1 else plural(len(models), "model")
        happens = what_is_lost(models)
        if len(models) > 1:
            happens = f"{', '.join(model.name for model in models)}.\n{happens}"
        super().__init__(f"Delete {name} from {context}", happens, verb="delete", type_name=name if protected else "")
