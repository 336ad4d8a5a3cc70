"""What broke the original for good, through the whole path: each misdeed of an API is followed by answered requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.real.accounts import usage
from tests.real.box import Box, argv, find, manifest, replicas_of
from tests.real.clients import KEY as CLIENT_KEY
from tests.real.clients import Asked, Clients, outcomes
from tests.worker.upstream import Upstream, chunk, failing, html_502, reset, running_upstream, streaming, without_usage
from worker_embed.process import proc

pytestmark = pytest.mark.anyio

KEY = "sk-never-to-be-seen-4711"
TEXT = "Hello you"
SLOTS = 4
UP = "default/up"
TOPIC = "model-up"


@pytest.fixture(scope="module")
async def upstream() -> AsyncIterator[Upstream]:
    async with running_upstream() as made:
        yield made


@pytest.fixture(scope="module")
async def up(box: Box, upstream: Upstream) -> str:
    await box.apply(manifest("up", type="remote", baseURL=upstream.url, apiKey=KEY, maxProcessNum=SLOTS))
    await box.running(UP)
    return UP


async def fifty_answers(clients: Clients) -> None:
    assert await outcomes(clients.many("up", 50), TEXT) == {"answer": 50}


async def test_rejected_request_is_its_clients_own_affair(
    box: Box, clients: Clients, up: str, upstream: Upstream
) -> None:
    upstream.next.append(failing(400, message="messages is wrong", type="invalid_request_error", param="messages"))
    bad = await clients.ask("up")
    assert bad.status == 400
    assert bad.error == {
        "message": "messages is wrong",
        "type": "invalid_request_error",
        "param": "messages",
        "code": None,
    }
    await fifty_answers(clients)
    assert box.model(up).degraded == ""


async def test_reset_connections(clients: Clients, up: str, upstream: Upstream) -> None:
    upstream.next.extend([reset] * 4)
    assert await outcomes(clients.many("up", 4), TEXT) == {"answer": 4}
    await fifty_answers(clients)


async def test_answers_without_usage(clients: Clients, up: str, upstream: Upstream) -> None:
    upstream.next.extend([without_usage] * 4)
    for _ in range(4):
        assert (await clients.ask("up")).outcome(TEXT) == "answer"
    await fifty_answers(clients)


async def test_page_of_a_proxy_then_dead_letters_are_seen_and_given_another_try(
    box: Box, clients: Clients, up: str, upstream: Upstream
) -> None:
    upstream.next.extend([html_502] * 12)
    came = await outcomes(asks := clients.many("up", 4), TEXT)
    assert came == {"error 502 upstream_error": 4}, "nobody saw a part of an answer, so streams get the status as well"
    assert "html" not in str([asked.error for asked, _ in asks])
    await fifty_answers(clients)
    view = await box.until(lambda view: any(queue.dead == 4 for queue in view.queues))
    assert any(failure.reason == "DeadLetters" and failure.model == up for failure in view.failures)
    await box.until(lambda view: any(e.reason == "DeadLetter" and e.model == up for e in view.events))
    letters = await box.fleet.queues.dead(TOPIC)
    assert {letter.request_id for letter in letters} == {asked.request_id for asked, _ in asks}
    assert {(letter.attempts, letter.reason) for letter in letters} == {(3, "MaxAttempts")}
    assert "502" in letters[0].error
    assert await box.fleet.queues.requeue(TOPIC, [letter.key for letter in letters]) == 4
    await box.until(lambda view: all(queue.dead == 0 for queue in view.queues) and not view.failures)
    await box.until(lambda view: (row := find(view, up)) and row.backlog == 0)


async def test_rate_limit_leaves_the_queue_to_others(box: Box, clients: Clients, up: str, upstream: Upstream) -> None:
    upstream.next.append(failing(429, message="Rate limit reached for requests", headers={"Retry-After": "2"}))
    first = asyncio.create_task(clients.ask("up"))
    await box.until(lambda view: replicas_of(view, up)[0].state == "Paused")
    asks = clients.many("up", 50)
    await box.until(lambda view: (row := find(view, up)) and (row.queued or 0) > 50 - SLOTS)
    assert (box.model(up).in_flight or 0) <= SLOTS
    assert (await first).outcome(TEXT) == "answer"
    assert await outcomes(asks, TEXT) == {"answer": 50}
    await box.until(lambda view: replicas_of(view, up)[0].state == "Ready")


async def test_chunks_reach_the_client_as_they_come(clients: Clients, up: str, upstream: Upstream) -> None:
    go_on = asyncio.Event()
    upstream.next.append(streaming(chunk("Hello"), chunk(" you"), go_on=go_on))
    asked = Asked(stream=True)
    reading = asyncio.create_task(clients.put(asked, "up"))
    await asked.first.wait()
    assert asked.text == "Hello"
    go_on.set()
    await reading
    assert asked.outcome(TEXT) == "answer"
    await fifty_answers(clients)


async def test_client_that_leaves_ends_the_request_upstream(
    box: Box, clients: Clients, up: str, upstream: Upstream
) -> None:
    upstream.next.append(streaming(chunk("Hello"), chunk(" you"), go_on=asyncio.Event()))
    asked = Asked(stream=True)
    reading = asyncio.create_task(clients.put(asked, "up"))
    await asked.first.wait()
    reading.cancel()
    await box.happens(lambda: not upstream.running)
    await box.until(lambda view: (row := find(view, up)) and row.backlog == 0)


async def test_usage_is_in_the_accounts_once_for_each_request(box: Box, clients: Clients, up: str) -> None:
    asks = clients.many("up", 20)
    assert await outcomes(asks, TEXT) == {"answer": 20}
    ids = {asked.request_id for asked, _ in asks}
    await box.happens(lambda: ids <= usage(box).keys())
    assert {usage(box)[id] for id in ids} == {("ok", 5, 2)}


async def test_keys_are_seen_nowhere(box: Box, clients: Clients, up: str, upstream: Upstream) -> None:
    assert upstream.keys == {f"Bearer {KEY}"}
    for command in (("get", "models", "up", "-o", "yaml"), ("describe", "up"), ("logs", "up"), ("events",)):
        printed = await box.command(*command)
        assert KEY not in printed
        assert CLIENT_KEY not in printed
    files = {path: path.read_bytes() for path in box.home.root.rglob("*") if path.is_file()}
    holders = {path for path, data in files.items() if KEY.encode() in data}
    assert {path.parent for path in holders} == {box.home.secrets}
    assert {oct(path.stat().st_mode & 0o777) for path in holders} == {"0o600"}
    assert [path for path, data in files.items() if CLIENT_KEY.encode() in data] == []
    for pid in box.processes():
        assert KEY not in " ".join(argv(pid))
        assert KEY not in str(proc.environ(pid))
