"""What the operator thinks a worker will do, against what the worker does with the variables that it gets."""

from __future__ import annotations

import itertools

import pytest

from operator_embed.aimodel import Engine
from operator_embed.box.needs import engine_of
from operator_embed.worker_env import Place, worker_env
from tests.reconcile.models import aimodel
from worker_embed.config import WorkerConfig
from worker_embed.engines.choice import _name

KINDS = list(itertools.product(Engine, ("local", "remote"), (None, "static:hi", "/weights.gguf", "staticx")))


@pytest.mark.parametrize(("engine", "type", "source"), KINDS)
def test_operator_and_worker_choose_the_same_engine(engine: Engine, type: str, source: str | None) -> None:
    model = aimodel(engine=engine, type=type, source=source, base_url="http://127.0.0.1:1/v1")
    config = WorkerConfig.from_env(worker_env(model, Place(queue_url="nats://127.0.0.1:1")))
    assert engine_of(model) == _name(config)
