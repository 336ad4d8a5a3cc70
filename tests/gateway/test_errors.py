"""Every error of the table: status, code, and whether the official client comes back for more."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import openai
import pytest

from operator_embed.box.home import Home
from operator_embed.directory import Served
from tests.gateway.harness import (
    HI,
    MODEL,
    QUICK,
    Box,
    Job,
    StillDirectory,
    box,
    chunk,
    completion,
    error,
    send_raw,
    until,
)
from worker_embed.queue import nats_server
from worker_embed.queue.memory import MemoryQueue
from worker_embed.queue.port import QueueError, Ref, TopicSpec
from worker_embed.wire import Verdict

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"


async def post(node: Box, body: bytes, path: str = CHAT) -> tuple[int, dict[str, Any], Mapping[str, str]]:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    reply = await send_raw(node.port, head + body)
    return reply.status, json.loads(reply.body)["error"], reply.headers


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"", "invalid_json", None),
        (b"{", "invalid_json", None),
        (b"[]", "invalid_json", None),
        (b"null", "invalid_json", None),
        (b'{"model":"smollm2","messages":[{}]} {}', "invalid_json", None),
        (b'{"model":"smollm2","messages":[{}],"x":"\xff"}', "invalid_json", None),
        (b'{"model":"smollm2","messages":[{}],"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "invalid_json", None),
        (b'{"messages":[{}]}', None, "model"),
        (b'{"model":7,"messages":[{}]}', None, "model"),
        (b'{"model":"smollm2"}', None, "messages"),
        (b'{"model":"smollm2","messages":[]}', None, "messages"),
        (b'{"model":"smollm2","messages":"hi"}', None, "messages"),
        (b'{"model":"smollm2","messages":[{}],"stream":"yes"}', None, "stream"),
        (b'{"model":"smollm2","messages":[{}],"max_tokens":"9"}', None, "max_tokens"),
        (b'{"model":"smollm2","messages":[{}],"max_tokens":0}', None, "max_tokens"),
        (b'{"model":"smollm2","messages":[{}],"n":0}', None, "n"),
        (b'{"model":"smollm2","messages":[{}],"stream_options":{"include_usage":true}}', None, "stream_options"),
        (
            b'{"model":"smollm2","messages":[{}],"stream":true,"stream_options":{"include_usage":1}}',
            None,
            "stream_options.include_usage",
        ),
    ],
)
async def test_a_wrong_body_is_named(tmp_path: Path, body: bytes, code: str | None, param: str | None) -> None:
    async with box(tmp_path) as node:
        status, error, _ = await post(node, body)
        assert await node.queue.backlog([MODEL.topic]) == {}
    assert (status, error["type"], error["code"], error["param"]) == (400, "invalid_request_error", code, param)
    assert param is None or f"'{param}'" in error["message"]


@pytest.mark.parametrize("model", ["nope", "", "../../etc", "model-*", "a\r\nb", "x" * 10_000, "\x1b[31m[red]"])
async def test_an_unknown_model_is_refused_at_once_and_makes_no_topic(tmp_path: Path, model: str) -> None:
    queue = MemoryQueue()
    async with box(tmp_path, queue=queue) as node:
        status, error, headers = await post(node, json.dumps({**HI, "model": model}).encode())
        assert queue._broker.topics == {}
    assert (status, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert "x-should-retry" not in headers
    assert "\x1b" not in (tmp_path / "gateway.log").read_text()


async def test_a_stopped_model_has_no_worker(tmp_path: Path) -> None:
    async with box(tmp_path) as node:
        status, error, headers = await post(node, json.dumps({**HI, "model": "asleep"}).encode())
    assert (status, error["code"]) == (503, "no_worker")
    assert headers["x-should-retry"] == "true"
    assert 1 <= int(headers["retry-after"]) <= 3


async def test_what_waits_for_a_model_gets_404_when_it_is_deleted(tmp_path: Path) -> None:
    async with box(tmp_path, limits=QUICK) as node, node.client() as client:
        await node.queue.ensure(TopicSpec(topic=MODEL.topic))
        asking = asyncio.create_task(client.chat.completions.create(**HI))
        await until(lambda: node.gateway.node.waiting)
        node.directory.models.clear()
        with pytest.raises(openai.NotFoundError) as refused:
            await asking
        assert refused.value.code == "model_not_found"


async def test_a_full_queue_is_503_and_the_client_tries_again(tmp_path: Path) -> None:
    queue = MemoryQueue()
    await queue.ensure(TopicSpec(topic=MODEL.topic, max_messages=1))
    await queue.publish(MODEL.topic, b"{}", id="somebody's")
    async with box(tmp_path, queue=queue) as node, node.client() as client:
        with pytest.raises(openai.InternalServerError) as refused:
            await client.chat.completions.create(**HI)
    assert (refused.value.status_code, refused.value.code) == (503, "queue_full")
    assert refused.value.response.headers["x-should-retry"] == "true"


class LostQueue(MemoryQueue):
    """A broker that is away."""

    async def publish(
        self, topic: str, body: bytes, *, id: str, headers: Mapping[str, str] | None = None, attempt: int = 1
    ) -> Ref:
        raise QueueError("nats://127.0.0.1:1: connection refused")


async def test_a_queue_that_is_away_is_503_and_says_when_to_come_back(tmp_path: Path) -> None:
    async with box(tmp_path, queue=LostQueue()) as node:
        status, error, headers = await post(node, json.dumps(HI).encode())
    assert (status, error["code"], headers["x-should-retry"]) == (503, "queue_unavailable", "true")
    assert "127.0.0.1" not in error["message"]


async def test_a_full_disk_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path)
    home.nats.mkdir()
    home.logs.mkdir()
    async with box(tmp_path, limits=QUICK) as node:
        home.nats_log.write_text("[1] [ERR] JetStream failed to store a msg on stream 'x': no space left on device\n")
        monkeypatch.setattr(nats_server, "ROOM_BYTES", 1 << 62)
        await until(lambda: node.gateway.app.inference._full)
        status, error, headers = await post(node, json.dumps(HI).encode())
        assert (status, error["code"], headers["x-should-retry"]) == (503, "queue_unavailable", "true")
        assert "disk of the queue is full" in error["message"]
        monkeypatch.undo()
        await until(lambda: not node.gateway.app.inference._full)


@pytest.mark.parametrize("stream", [False, True])
async def test_what_no_worker_can_come_for_is_told_its_cause_soon(tmp_path: Path, stream: bool) -> None:
    cause = "ConfigurationError: weights.gguf: no such file"
    failed = replace(MODEL, ready=0, failed=cause, failed_s=1.0)
    async with box(tmp_path, failed, limits=replace(QUICK, failed_s=0.2, keepalive_s=10)) as node:
        status, error, headers = await post(node, json.dumps({**HI, "stream": stream}).encode())
        await node.emptied()
    assert (status, error["code"], headers["x-should-retry"]) == (503, "no_worker", "true")
    assert error["message"] == f"The model 'smollm2' cannot run: {cause}"


async def test_a_worker_that_comes_after_all_answers(tmp_path: Path) -> None:
    failed = replace(MODEL, ready=0, failed="AuthenticationError: wrong key", failed_s=1.0)
    async with box(tmp_path, failed, limits=replace(QUICK, failed_s=5.0)) as node, node.client() as client:
        asking = asyncio.create_task(client.chat.completions.create(**HI))
        await until(lambda: node.gateway.node.waiting)
        await node.serving()
        assert (await asking).choices[0].message.content == "Hello!"


@pytest.mark.parametrize("stream", [False, True])
async def test_nobody_free_in_time_is_504_and_leaves_nothing_in_the_queue(tmp_path: Path, stream: bool) -> None:
    async with box(tmp_path, timeout_s=1, limits=replace(QUICK, keepalive_s=10)) as node:
        status, error, headers = await post(node, json.dumps({**HI, "stream": stream}).encode())
        await node.emptied()
    assert (status, error["code"], headers["x-should-retry"]) == (504, "queue_timeout", "true")


async def test_deadlines_are_kept_after_a_fault_of_ours(tmp_path: Path) -> None:
    async with box(tmp_path, timeout_s=1, limits=QUICK) as node:
        models, node.directory.models = node.directory.models, cast(list[Served], [None])
        await until(lambda: "a tick failed" in (tmp_path / "gateway.log").read_text())
        node.directory.models = models
        assert (await post(node, json.dumps(HI).encode()))[0] == 504


async def test_a_topic_that_was_dropped_with_its_model_is_made_anew(tmp_path: Path) -> None:
    async with box(tmp_path, limits=QUICK) as node, node.client() as client:
        worker = await node.serving()
        await client.chat.completions.create(**HI)
        await worker.close()
        node.directory.models.clear()
        began_s = node.gateway.node.clock()
        await until(lambda: node.gateway.node.clock() - began_s > 3 * QUICK.tick_s)
        await node.queue.drop(MODEL.topic)
        node.directory.models.append(MODEL)
        asking = asyncio.create_task(client.chat.completions.create(**HI))
        await until(lambda: node.gateway.node.waiting or asking.done())
        await node.serving()
        assert (await asking).choices


async def test_a_worker_that_takes_too_long_is_504_cancelled_and_not_retried(tmp_path: Path) -> None:
    async with box(tmp_path, timeout_s=1, limits=QUICK) as node:
        worker = await node.worker()
        asking = asyncio.create_task(post(node, json.dumps(HI).encode()))
        job = await worker.job()
        assert await job.start() is Verdict.GO
        status, error, headers = await asking
        await job.cancelled()
    assert (status, error["code"], headers["x-should-retry"]) == (504, "worker_timeout", "false")


@pytest.mark.parametrize(
    ("status", "body", "raised", "attempts"),
    [
        (400, error("prompt is too long", "context_length_exceeded"), openai.BadRequestError, 1),
        (401, error("Incorrect API key", "invalid_api_key"), openai.AuthenticationError, 1),
        (404, error("no such model", "model_not_found"), openai.NotFoundError, 1),
        (422, error("cannot", None), openai.UnprocessableEntityError, 1),
        (409, error("conflict", None), openai.ConflictError, 1),
        (429, error("slow down", "rate_limit_exceeded", "requests"), openai.RateLimitError, 3),
        (500, error("out of memory", None, "server_error"), openai.InternalServerError, 1),
        (502, b"<html>bad gateway</html>", openai.InternalServerError, 1),
        (502, b'{"detail":"nothing"}', openai.InternalServerError, 1),
        (999, error("strange", None), openai.InternalServerError, 1),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_workers_error_keeps_its_status_and_is_run_once(
    tmp_path: Path, status: int, body: bytes, raised: type[openai.APIStatusError], attempts: int, stream: bool
) -> None:
    ran = 0

    async def fail(job: Job) -> None:
        nonlocal ran
        ran += 1
        await job.final(body, status=status, retry_after_s=0.1)

    async with box(tmp_path) as node, node.client(retries=2) as client:
        await node.serving(fail)
        if status == 429:
            client = client.with_options(max_retries=2, timeout=30)
        with pytest.raises(raised) as refused:
            await client.chat.completions.create(**HI, stream=stream)
    assert ran == attempts
    sent = refused.value.response.json()["error"]
    assert set(sent) == {"message", "type", "param", "code"}
    assert refused.value.request_id
    assert refused.value.status_code == (502 if status == 999 else status)


@pytest.mark.parametrize(
    ("asked_s", "told"), [(math.inf, "120"), (1e300, "120"), (math.nan, "1"), (-5.0, "1"), (7.4, "7")]
)
async def test_a_wait_that_a_worker_passes_on_is_one_that_clients_obey(
    tmp_path: Path, asked_s: float, told: str
) -> None:
    async def fail(job: Job) -> None:
        await job.final(error("slow down", "rate_limit_exceeded"), status=429, retry_after_s=asked_s)

    async with box(tmp_path) as node:
        await node.serving(fail)
        status, _, headers = await post(node, json.dumps(HI).encode())
    assert (status, headers["retry-after"]) == (429, told)


async def test_an_error_in_a_stream_is_an_event_and_then_done(tmp_path: Path) -> None:
    async def fail_late(job: Job) -> None:
        await job.delta(chunk("Hel"))
        await job.final(b'{"error": {"message": "out of\\nmemory",\n "code": 500}}', status=500)

    async with box(tmp_path) as node, node.client(retries=2) as client:
        await node.serving(fail_late)
        pieces = aiter(await client.chat.completions.create(**HI, stream=True))
        assert (await anext(pieces)).choices[0].delta.content == "Hel"
        with pytest.raises(openai.APIError) as failed:
            await anext(pieces)
        assert (failed.value.message, failed.value.code, failed.value.type) == ("out of\nmemory", "500", "server_error")


async def test_fifty_of_fifty_are_answered_after_hostile_requests(tmp_path: Path) -> None:
    async def work(job: Job) -> None:
        if b"poison" in bytes(job.task.data):
            await job.final(error("no", "context_length_exceeded"), status=400)
        elif b"html" in bytes(job.task.data):
            await job.final(b"<html>", status=502)
        else:
            await job.final(completion("fine"))

    async with box(tmp_path) as node, node.client() as client:
        await node.serving(work)
        for text in ("poison", "html") * 4:
            with pytest.raises(openai.APIStatusError):
                await client.chat.completions.create(model="smollm2", messages=[{"role": "user", "content": text}])
        for hostile in (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", b"\x16\x03\x01\x02\x00" * 20, b"\x00" * 100):
            assert (await send_raw(node.port, hostile)).status == 400
        replies = await asyncio.gather(*(client.chat.completions.create(**HI) for _ in range(50)))
    assert [reply.choices[0].message.content for reply in replies] == ["fine"] * 50


class BrokenDirectory(StillDirectory):
    """A fault of ours."""

    def find(self, name: str) -> Any:
        raise KeyError("sk-internal")


async def test_our_own_fault_is_500_without_its_inside(tmp_path: Path) -> None:
    async with box(tmp_path) as node:
        node.gateway.app.inference._directory = BrokenDirectory()
        status, error, headers = await post(node, json.dumps(HI).encode())
        original = await post(node, json.dumps(HI).encode(), "/api" + CHAT)
    assert (status, error["code"], headers["x-should-retry"]) == (500, "internal_error", "false")
    assert "sk-internal" not in error["message"]
    assert original[1]["message"] == "Internal server error"
    assert "KeyError" in (tmp_path / "gateway.log").read_text()
