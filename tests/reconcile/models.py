"""AIModels and replicas for tests, with what a test cares about replaced."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from operator_embed.aimodel import AIModel, Spec, Status
from operator_embed.autoscaler import Decision
from operator_embed.reconcile import Phase, Replica


def aimodel(*, status: Status = Status(), generation: int = 1, deleted_s: float | None = None, **spec: Any) -> AIModel:
    """A local model `default/m`."""
    return AIModel(
        namespace="default",
        name="m",
        uid="u",
        spec=replace(Spec(type="local", model="m"), **spec),
        generation=generation,
        status=status,
        deleted_s=deleted_s,
    )


def replica(phase: Phase = Phase.READY, **fields: Any) -> Replica:
    """A replica `m-aaaaa`."""
    return replace(Replica(name="m-aaaaa", phase=phase), **fields)


def asked(desired: int, **fields: Any) -> Decision:
    """A decision that no autoscaler made."""
    return replace(Decision(desired=desired, active=False, reason="Static", message=""), **fields)
