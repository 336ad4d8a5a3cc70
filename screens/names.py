"""What models are called where there may be several of one name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from operator_embed.fleet.models import ModelView


def model_names(models: Iterable[ModelView]) -> Mapping[str, str]:
    """By their keys: the name, and where another namespace has it too `namespace/name`."""
    found = tuple(models)
    held = Counter(model.name for model in found)
    return {model.key: model.name if held[model.name] == 1 else model.key for model in found}
