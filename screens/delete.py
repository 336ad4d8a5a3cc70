"""Deleting a model."""

from __future__ import annotations

from operator_embed.fleet.models import ModelView
from screens.confirm import ConfirmDialog
from screens.format import count, plural


def what_is_lost(model: ModelView) -> str:
    """What deleting this model does to its replicas and to those who wait for it."""
    busy = f" ({count(model.in_flight)} in flight: drained for up to 30 s)" if model.in_flight else ""
    stops = f"Stops {plural(model.ready, 'replica')}{busy}" if model.ready else "No replica runs"
    if model.queued is None:
        return f"{stops}. How many requests wait is unknown; their clients get an error now."
    if model.queued:
        requests = "request" if model.queued == 1 else "requests"
        return f"{stops} and drops {count(model.queued)} queued {requests}; their clients get an error now."
    return f"{stops}. No request waits for it."


class DeleteDialog(ConfirmDialog):
    """Asks before a model and its queue go; a protected context wants the name typed."""

    def __init__(self, model: ModelView, context: str, *, protected: bool = False) -> None:
        super().__init__(
            f"Delete {model.name} from {context}",
            what_is_lost(model),
            verb="delete",
            type_name=model.name if protected else "",
        )
