"""What broke the original's worker for good, and what else an API may do; each is followed by answered requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from tests.worker.node import Ask
from tests.worker.rig import QUICK, Rig, rig, until
from tests.worker.upstream import Upstream, chunk, failing, html_502, reset, running_upstream, streaming, without_usage

pytestmark = pytest.mark.anyio


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with running_upstream() as made:
        yield made


@pytest.fixture
async def box(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Rig]:
    async with rig(tmp_path, api_url=upstream.url, api_key="sk-secret", max_process_num=4) as made:
        yield made


async def answers(box: Rig, count: int = 50) -> None:
    """Ask properly and expect every answer to be the asker's own."""
    asks = [await box.ask(stream=place % 2 == 0) for place in range(count)]
    for ask in asks:
        end = await ask.final()
        assert end.status == 200
        text = ask.text if ask.deltas else msgspec.json.decode(end.body)["choices"][0]["message"]["content"]
        assert text == "Hello you"
    await box.settled()


def fault(ask: Ask) -> dict[str, Any]:
    assert ask.end is not None
    error = msgspec.json.decode(ask.end.body)["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return dict(error)


async def test_rejected_request_is_its_clients_own_affair(box: Rig, upstream: Upstream) -> None:
    upstream.next.append(failing(400, message="messages is wrong", type="invalid_request_error", param="messages"))
    async with box.working():
        bad = await box.ask()
        assert (await bad.final()).status == 400
        await answers(box)
    assert fault(bad)["param"] == "messages"
    assert box.changes() == ["Loading", "Ready", "Draining"]


async def test_reset_connections_cost_an_attempt(box: Rig, upstream: Upstream) -> None:
    upstream.next.extend([reset] * 4)
    async with box.working():
        asks = [await box.ask() for _ in range(4)]
        for ask in asks:
            assert (await ask.final()).status == 200
        await answers(box)
    assert max(start.attempt for ask in asks for start in ask.starts) > 1


async def test_answers_without_usage_are_answers(box: Rig, upstream: Upstream) -> None:
    upstream.next.extend([without_usage] * 4)
    async with box.working():
        asks = [await box.ask() for _ in range(4)]
        for ask in asks:
            assert (await ask.final()).status == 200
        await answers(box)


async def test_page_of_a_proxy_never_reaches_a_client(box: Rig, upstream: Upstream) -> None:
    upstream.next.extend([html_502] * 12)
    async with box.working():
        asks = [await box.ask(stream=place % 2 == 0) for place in range(4)]
        for ask in asks:
            assert (await ask.final()).status == 502
            assert "html" not in fault(ask)["message"].lower()
        await answers(box)
        assert await box.queue.dead_counts(["model-m"]) == {"model-m": 4}


async def test_rate_limit_leaves_the_queue_to_others(box: Rig, upstream: Upstream) -> None:
    upstream.next.append(failing(429, message="Rate limit reached for requests", headers={"Retry-After": "1"}))
    async with box.working():
        first = await box.ask()
        await box.tells("Paused")
        asks = [await box.ask() for _ in range(200)]
        backlog = (await box.queue.backlog(["model-m"]))["model-m"]
        assert backlog.in_flight <= 4
        for ask in (first, *asks):
            assert (await ask.final()).status == 200
        await box.settled()
        await box.tells("Ready")
    assert {start.attempt for start in first.starts} == {1}
    assert first.given_back == [first.starts[0].attempt_uid]


async def test_chunks_travel_as_they_come(box: Rig, upstream: Upstream) -> None:
    go_on = asyncio.Event()
    upstream.next.append(streaming(chunk("Hello"), chunk(" you"), go_on=go_on))
    async with box.working():
        ask = await box.ask(stream=True)
        await ask.until_deltas(1)
        assert ask.text == "Hello"
        go_on.set()
        await ask.final()
        assert ask.text == "Hello you"
        await answers(box, 10)


@pytest.mark.parametrize("begun", [True, False])
async def test_stream_that_ends_without_done_is_an_error(box: Rig, upstream: Upstream, begun: bool) -> None:
    upstream.next.append(streaming(*[chunk("Hello")] * begun, done=False))
    async with box.working():
        ask = await box.ask(stream=True)
        end = await ask.final()
        await answers(box, 10)
    assert end.status == (502 if begun else 200)
    assert len(ask.starts) == (1 if begun else 2), "what a client saw a part of is not begun anew"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (failing(401, message="Incorrect API key provided: sk-***"), "AuthenticationError"),
        (failing(404, message="The model `m` does not exist"), "ConfigurationError"),
        (failing(429, message="You exceeded your quota", code="insufficient_quota"), "APIQuotaExceededError"),
        (failing(402, message="Insufficient Balance"), "APIQuotaExceededError"),
    ],
)
async def test_what_is_wrong_with_the_model_is_told_and_forgotten(
    box: Rig, upstream: Upstream, answer: Any, reason: str
) -> None:
    upstream.next.append(answer)
    async with box.working():
        ask = await box.ask()
        assert (await ask.final()).status == 200
        await box.tells("Ready")
        await answers(box, 10)
    assert reason in box.changes()


async def test_rejected_key_shows_before_the_first_request(box: Rig, upstream: Upstream) -> None:
    upstream.models_status = 401
    async with box.working():
        await box.tells("AuthenticationError")
        upstream.models_status = 200
        await box.tells("Ready")
        await answers(box, 4)
    assert upstream.keys == {"Bearer sk-secret"}
    assert "sk-secret" not in box.events.read_text()


async def test_key_that_the_api_repeats_is_told_to_nobody(box: Rig, upstream: Upstream) -> None:
    upstream.next.append(failing(403, message="sk-secret may not use this"))
    upstream.next.append(failing(401, message="Incorrect API key provided: sk-secret"))
    async with box.working():
        refused = await box.ask()
        assert (await refused.final()).status == 403
        assert (await (await box.ask()).final()).status == 200
    assert fault(refused)["message"] == "[redacted] may not use this"
    assert "Incorrect API key provided: [redacted]" in box.events.read_text()


async def test_api_that_cannot_be_reached_costs_no_attempt(box: Rig, upstream: Upstream) -> None:
    nobody = replace(box, config=replace(box.config, api_url="http://127.0.0.1:9/v1"))
    async with nobody.working():
        await box.tells("GeneralError")
        ask = await box.ask()
    async with box.working():
        assert (await ask.final()).status == 200
    assert {start.attempt for start in ask.starts} == {1}


async def test_answer_that_no_node_would_take_is_not_sent(box: Rig, upstream: Upstream) -> None:
    async def endless(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.Response(body=b'{"choices":"' + b"x" * 16 * 1024 * 1024 + b'"}')

    upstream.next.extend([endless] * 3)
    async with box.working():
        ask = await box.ask()
        assert (await ask.final()).status == 502
        await answers(box, 4)


async def test_silent_api_costs_an_attempt(box: Rig, upstream: Upstream) -> None:
    never = asyncio.Event()

    async def silent(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await never.wait()
        return web.Response()

    upstream.next.append(silent)
    async with box.working(limits=replace(QUICK, stall_s=0.2)):
        ask = await box.ask(stream=True)
        assert (await ask.final()).status == 200
        await until(lambda: not upstream.running)
    assert [start.attempt for start in ask.starts] == [1, 2]


async def test_client_that_leaves_ends_the_request_upstream(box: Rig, upstream: Upstream) -> None:
    never = asyncio.Event()
    upstream.next.append(streaming(chunk("Hello"), chunk(" you"), go_on=never))
    async with box.working():
        ask = await box.ask(stream=True)
        await ask.until_deltas(1)
        await box.node.cancel(ask)
        await until(lambda: not upstream.running)
        await box.settled()


async def test_usage_is_always_asked_for_and_only_given_to_those_who_want_it(box: Rig, upstream: Upstream) -> None:
    async with box.working():
        ask = await box.ask(stream=True, tools=[{"type": "function"}])
        end = await ask.final()
    assert upstream.bodies[0]["stream_options"] == {"include_usage": True}
    assert upstream.bodies[0]["tools"] == [{"type": "function"}]
    assert end.usage is not None
    assert (end.usage.prompt_tokens, end.usage.completion_tokens) == (5, 2)
    assert all("usage" not in event for event in ask.chunks)
