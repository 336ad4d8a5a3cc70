"""An AIModel as a worker's environment: the one place where variables are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from operator_embed.aimodel import DEFAULT_MAX_PROCESS_NUM, AIModel
from worker_embed.wire import RESULT_TOPIC


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a worker runs, and what it finds there."""

    queue_url: str
    queue_token_file: Path | None = None
    api_key_file: Path | None = None
    weights: Path | None = None
    """Folder in which a model without `source` is looked for."""
    log: Path | None = None
    events: Path | None = None
    beat: Path | None = None
    inflight: Path | None = None
    devices: Mapping[str, str] = field(default_factory=dict)
    """What pins the worker to its GPUs."""


def worker_env(model: AIModel, place: Place) -> dict[str, str]:
    """The original's ten variables, always all of them, and those of ours that say something."""
    spec = model.spec
    ten = {
        "NODE_TYPE": spec.type,
        "MODEL_NAME": spec.model,
        "API_URL": spec.base_url or "",
        "API_KEY": spec.api_key or "",
        "MAX_PROCESS_NUM": str(spec.max_process_num or DEFAULT_MAX_PROCESS_NUM),
        "PULSAR_URL": place.queue_url,
        "PULSAR_TOKEN": "",
        "RES_TOPIC_NAME": RESULT_TOPIC,
        "AIMODEL_NAME": model.name,
        "AIMODEL_NAMESPACE": model.namespace,
    }
    ours = {
        "UPLION_ENGINE": spec.engine,
        "UPLION_SOURCE": spec.source,
        "UPLION_CONTEXT_LENGTH": spec.context_length,
        "UPLION_PARALLEL": spec.parallel,
        "UPLION_MODELS": place.weights,
        "UPLION_QUEUE_TOKEN_FILE": place.queue_token_file,
        "UPLION_API_KEY_FILE": place.api_key_file,
        "UPLION_LOG": place.log,
        "UPLION_EVENTS": place.events,
        "UPLION_BEAT": place.beat,
        "UPLION_INFLIGHT": place.inflight,
    }
    return ten | {name: str(value) for name, value in ours.items() if value is not None} | dict(place.devices)
