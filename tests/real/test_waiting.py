"""Requests that wait: withdrawn, over their deadline, for models that are not there, for weights that come later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.real.accounts import usage
from tests.real.box import Box, find, manifest, replicas_of, running_box, words
from tests.real.clients import Asked, Clients, outcomes

pytestmark = pytest.mark.anyio

TIMEOUT_S = 5
SLOW = "default/slow"
SOURCE, TEXT = words(4, per_s=4)
WEIGHTS = Path("assets/models/smollm2-135m-instruct-q4_1.gguf").absolute()


@pytest.fixture(scope="module")
async def box() -> AsyncIterator[Box]:
    """A box whose requests wait for a short time only, with a model that does one after the other."""
    async with running_box(UPLION_TIMEOUT_S=str(TIMEOUT_S)) as made:
        await made.static("slow", source=SOURCE, parallel=1)
        await made.running(SLOW)
        yield made


async def test_unknown_and_stopped_models_are_refused_at_once(box: Box, clients: Clients) -> None:
    await box.static("still", source=SOURCE, replicas=0)
    await box.until(lambda view: (row := find(view, "default/still")) and row.state == "Stopped")
    for stream in (False, True):
        assert (await clients.ask("nobody", stream=stream)).outcome("") == "error 404 model_not_found"
        assert (await clients.ask("still", stream=stream)).outcome("") == "error 503 no_worker"
    await box.fleet.models.delete("default/still")
    await box.until(lambda view: find(view, "default/still") is None)


async def test_client_that_leaves_takes_its_queued_request_along(box: Box, clients: Clients) -> None:
    running = Asked(stream=True)
    first = asyncio.create_task(clients.put(running, "slow"))
    await running.first.wait()
    leaving = clients.many("slow", 5)
    await box.until(lambda view: (row := find(view, SLOW)) and row.queued == 5)
    for _, task in leaving:
        task.cancel()
    await box.until(lambda view: (row := find(view, SLOW)) and row.queued == 0)
    await first
    assert running.outcome(TEXT) == "answer"
    last = await clients.ask("slow")
    assert last.outcome(TEXT) == "answer"
    await box.happens(lambda: last.request_id in usage(box))
    assert len(usage(box)) == 2, "nobody worked for those who left"


async def test_deadline_ends_the_waiting_and_the_work(box: Box, clients: Clients) -> None:
    asks = clients.many("slow", 16)
    came = await outcomes(asks, TEXT)
    assert came["answer"] + came["error 504 queue_timeout"] + came["error 504 worker_timeout"] == 16, came
    assert came["answer"] >= 2
    assert came["error 504 queue_timeout"] >= 4
    await box.until(
        lambda view: (row := find(view, SLOW)) and row.backlog == 0 and replicas_of(view, SLOW)[0].busy == 0
    )
    assert (await clients.ask("slow")).outcome(TEXT) == "answer"


@pytest.mark.realmodel
async def test_model_whose_weights_come_later(box: Box, clients: Clients) -> None:
    later = box.home.root / "later.gguf"
    await box.apply(manifest("later", engine="llama", source=str(later), contextLength=256, parallel=1))
    view = await box.until(lambda view: (row := find(view, "default/later")) and row.degraded == "WeightsMissing")
    assert str(later) in box.model("default/later").message
    assert replicas_of(view, "default/later")[0].state == "Pending"
    await box.until(lambda view: any(event.reason == "WeightsMissing" for event in view.events))
    later.symlink_to(WEIGHTS)
    await box.running("default/later")
    assert box.model("default/later").degraded == ""
    assert (await clients.ask("later", max_tokens=1)).done
    await box.fleet.models.delete("default/later")
    await box.until(lambda view: find(view, "default/later") is None)
