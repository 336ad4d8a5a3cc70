"""More and fewer replicas, new specs, deletion: no request is lost by any of it."""

from __future__ import annotations

import asyncio

import pytest

from operator_embed.fleet.models import Scale
from tests.real.accounts import replicas_that_answered, usage
from tests.real.box import Box, find, replicas_of, words
from tests.real.clients import Asked, Clients, outcomes

pytestmark = pytest.mark.anyio

SOURCE, TEXT = words(10, per_s=20)
"""Half a second an answer."""


async def test_scale_up_helps_the_backlog_that_is_there(box: Box, clients: Clients) -> None:
    key = await box.static("grows", source=SOURCE, parallel=2)
    await box.running(key)
    asks = clients.many("grows", 24)
    await box.until(lambda view: (row := find(view, key)) and (row.queued or 0) > 12)
    await box.fleet.models.scale(key, Scale(replicas=3))
    assert await outcomes(asks, TEXT) == {"answer": 24}
    await box.running(key, 3)
    ids = {asked.request_id for asked, _ in asks}
    await box.happens(lambda: ids <= usage(box).keys())
    assert len(replicas_that_answered(box, ids)) == 3


async def test_scale_down_drains(box: Box, clients: Clients) -> None:
    key = "default/grows"
    await box.running(key, 3)
    asks = clients.many("grows", 18)
    await box.happens(lambda: sum(0 < asked.pieces < 8 for asked, _ in asks) >= 2)
    await box.fleet.models.scale(key, Scale(replicas=1))
    assert await outcomes(asks, TEXT) == {"answer": 18}
    await box.running(key, 1)


async def test_restart_is_rolling(box: Box, clients: Clients) -> None:
    key = await box.static("rolls", source=SOURCE, parallel=4, replicas=2)
    before = {row.key for row in await box.running(key, 2)}
    await box.fleet.models.restart(key)
    least = 2
    asks = []
    while {row.key for row in replicas_of(box.fleet.view(), key)} & before:
        asks += clients.many("rolls", 4)
        least = min(least, box.model(key).ready)
        await asyncio.gather(*(task for _, task in asks[-4:]))
    after = {row.key for row in await box.running(key, 2)}
    assert len(asks) >= 4
    assert await outcomes(asks, TEXT) == {"answer": len(asks)}
    assert not after & before
    assert least == 2, "new ones come before old ones go"


async def test_spec_that_cannot_work_leaves_the_old_replica_answering(box: Box, clients: Clients) -> None:
    key = await box.static("edited", source=SOURCE)
    (old,) = await box.running(key)
    await box.static("edited", source="static:hi?tokens=many")
    view = await box.until(lambda view: (row := find(view, key)) and row.degraded == "ConfigurationError")
    row = box.model(key)
    assert (row.state, row.ready) == ("Running", 1)
    assert any("tokens" in failure.message and not failure.severe for failure in view.failures if failure.model == key)
    assert (await clients.ask("edited")).outcome(TEXT) == "answer"
    await box.static("edited", source="static:mended")
    (new,) = await box.running(key)
    assert new.key != old.key
    assert box.model(key).degraded == ""
    assert (await clients.ask("edited")).outcome("mended") == "answer"


async def test_spec_that_never_worked_fails_with_the_reason(box: Box, clients: Clients) -> None:
    key = await box.static("broken", source="static:hi?tokens=many")
    await box.until(lambda view: (row := find(view, key)) and row.state == "Failed")
    assert box.model(key).degraded == "ConfigurationError"
    assert "tokens" in box.model(key).message
    await box.until(lambda view: any(e.reason == "CrashLoopBackOff" and e.model == key for e in view.events))
    (row,) = replicas_of(box.fleet.view(), key)
    assert row.restarts >= 1
    asking = asyncio.create_task(clients.ask("broken"))
    await box.until(lambda view: (row := find(view, key)) and row.queued == 1)
    await box.static("broken", source="static:mended")
    assert (await asking).outcome("mended") == "answer"
    await box.running(key)
    assert box.model(key).degraded == ""
    await box.fleet.models.delete(key)


async def test_delete_drains_tells_who_waits_and_leaves_nothing(box: Box, clients: Clients) -> None:
    key = await box.static("gone", source=SOURCE, parallel=2)
    await box.running(key)
    asks = clients.many("gone", 12)
    await box.happens(lambda: any(asked.pieces for asked, _ in asks))
    await box.fleet.models.delete(key)
    came = await outcomes(asks, TEXT)
    assert came["answer"] + came["error 404 model_not_found"] == 12, came
    assert came["answer"] >= 2
    assert came["error 404 model_not_found"] > 0
    await box.until(lambda view: find(view, key) is None)
    assert not [mark for mark in box.processes().values() if mark.startswith("gone-")]
    assert not list(box.home.logs.glob("gone-*"))
    assert not list(box.home.procs.glob("gone-*"))
    assert "model-gone" not in await box.backlog("model-gone")
    assert (await clients.ask("gone")).outcome("") == "error 404 model_not_found"

    await box.static("gone", source=SOURCE, parallel=2)
    await box.running(key)
    assert await outcomes(clients.many("gone", 4), TEXT) == {"answer": 4}
    await box.fleet.models.delete(key)
    await box.until(lambda view: find(view, key) is None)


async def test_request_that_kills_each_worker_that_takes_it(box: Box, clients: Clients) -> None:
    source, text = words(3, delay_s=2.5)
    key = await box.static("fragile", source=source, parallel=1, replicas=3)
    await box.running(key, 3)
    asking = asyncio.create_task(clients.ask("fragile"))
    killed = set[str]()

    def at_work() -> set[str]:
        return {row.key for row in replicas_of(box.fleet.view(), key) if row.busy} - killed

    for _ in range(3):
        await box.happens(at_work)
        for victim in at_work():
            box.kill(victim)
            killed.add(victim)
    asked = await asking
    assert asked.outcome(text) == "error 502 upstream_error"
    await box.until(lambda view: any(queue.dead == 1 for queue in view.queues))
    (letter,) = await box.fleet.queues.dead("model-fragile")
    assert (letter.request_id, letter.attempts) == (asked.request_id, 3)
    await box.until(lambda view: {"Crashed", "DeadLetter"} <= {e.reason for e in view.events if e.model == key})
    await box.running(key, 3)
    assert box.model(key).degraded == ""
    assert (await clients.ask("fragile")).outcome(text) == "answer"
    assert await box.fleet.queues.discard("model-fragile", [letter.key]) == 1


async def test_backlog_scales_up_at_once_and_down_after_the_cooldown(box: Box, clients: Clients) -> None:
    key = await box.static("auto", source=SOURCE, parallel=1, msgBacklogThreshold=3, maxReplicas=3, cooldownSeconds=2)
    await box.running(key)
    asks = clients.many("auto", 16)
    await box.until(lambda view: (row := find(view, key)) and row.desired == 3)
    assert await outcomes(asks, TEXT) == {"answer": 16}
    await box.running(key, 1)
    decisions = next(queue.decisions for queue in box.fleet.view().queues if queue.model == key)
    assert decisions[0].text in ("3 to 1", "2 to 1")
    assert any(decision.text == "1 to 3" and "backlog" in decision.why for decision in decisions)
    await box.static("second", model="auto", source=SOURCE, msgBacklogThreshold=3)
    view = await box.until(
        lambda view: (
            (row := find(view, "default/second"))
            and any(c.type == "ScalingActive" and c.reason == "TopicShared" for c in row.conditions)
        )
    )
    assert view
    await box.fleet.models.delete("default/second")
    await box.fleet.models.delete(key)
    await box.until(lambda view: find(view, key) is None)


async def test_model_at_zero_is_woken_by_one_request(box: Box, clients: Clients) -> None:
    key = await box.static(
        "sleeper", source=SOURCE, msgBacklogThreshold=10, minReplicas=0, maxReplicas=2, cooldownSeconds=1
    )
    await box.until(lambda view: (row := find(view, key)) and row.state == "Idle" and not replicas_of(view, key))
    asked = Asked(stream=True)
    await clients.put(asked, "sleeper")
    assert asked.outcome(TEXT) == "answer"
    await box.until(lambda view: (row := find(view, key)) and row.state == "Idle" and not replicas_of(view, key))


async def test_another_model_name_is_another_queue(box: Box, clients: Clients) -> None:
    key = await box.static("renamed", model="before", source=SOURCE, parallel=1)
    await box.running(key)
    asks = clients.many("renamed", 30)
    await box.happens(lambda: any(asked.pieces for asked, _ in asks))
    await box.static("renamed", model="after", source="static:new", parallel=1)
    came = await outcomes(asks, TEXT)
    assert came["answer"] + came["error 404 model_not_found"] == 30, came
    assert came["answer"] >= 1
    assert (await clients.ask("renamed")).outcome("new") == "answer"
    await box.running(key)
    assert (await clients.ask("after")).outcome("new") == "answer"
    assert (await clients.ask("before")).outcome("") == "error 404 model_not_found"
    async with asyncio.timeout(30):
        while "model-before" in await box.backlog("model-before"):
            await asyncio.sleep(0.2)
