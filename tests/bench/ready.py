"""How much longer than its engine needs a model takes from `apply` to Ready."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

from tests.bench.figure import Figure, middle
from tests.real.box import Box, find, manifest, replicas_of, running_box

WEIGHTS = Path("assets/models/smollm2-135m-instruct-q4_1.gguf").absolute()
ROUNDS = 3
LOADED = re.compile(
    r"^(\S+) info srv +init: initializing .*^(\S+) info srv +init: model loaded", re.DOTALL | re.MULTILINE
)
"""In the log of a replica: when llama.cpp began and when it had its model."""


async def ready() -> AsyncIterator[Figure]:
    """The sample model, its weights in the page cache after the first round; seen as a console sees it."""
    taken, engine, own = [], [], []
    async with running_box() as box:
        for round_ in range(ROUNDS + 1):
            total_ms, start_ms, load_ms = await _applied(box, f"smollm2-{round_}")
            if round_:
                taken.append(total_ms)
                engine.append(load_ms)
                own.append(start_ms)
    yield Figure(
        name="apply to Ready, sample model",
        value=middle(taken),
        unit="ms",
        beside="the engine's own load time, from its log",
        floor=middle(engine),
    )
    yield Figure(name="added by us: reconcile, worker shell, engine process", value=middle(own), unit="ms")


async def _applied(box: Box, name: str) -> tuple[float, float, float]:
    """Milliseconds from apply to Ready, without the engine's, and the engine's."""
    key = f"default/{name}"
    began_s = time.monotonic()
    await box.apply(manifest(name, engine="llama", source=str(WEIGHTS), contextLength=1024, parallel=4))
    await box.happens(lambda: (model := find(box.fleet.view(), key)) and model.ready)
    total_ms = (time.monotonic() - began_s) * 1e3
    replica = replicas_of(box.fleet.view(), key)[0].key
    log = box.home.logs / f"{replica}.log"
    await box.happens(lambda: LOADED.search(log.read_text()))
    load_ms = _load_ms(log.read_text())
    await box.fleet.models.delete(key)
    await box.until(lambda view: find(view, key) is None)
    return total_ms, total_ms - load_ms, load_ms


def _load_ms(log: str) -> float:
    found = LOADED.search(log)
    assert found is not None
    began, loaded = map(datetime.fromisoformat, found.groups())
    return (loaded - began).total_seconds() * 1e3
