"""Completions as clients of OpenAI's API see them, and what reaches the queue."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.gateway.harness import (
    HI,
    MODEL,
    QUICK,
    WORDS,
    answer,
    box,
    chunk,
    completion,
    deadline_of,
    read_reply,
    send_raw,
)
from worker_embed.wire import Header, Verdict

pytestmark = pytest.mark.anyio


async def test_the_same_text_streamed_and_whole(tmp_path: Path) -> None:
    async with box(tmp_path) as node, node.client() as client:
        await node.serving()
        whole = await client.chat.completions.create(**HI)
        pieces = [piece async for piece in await client.chat.completions.create(**HI, stream=True)]
    assert whole.choices[0].message.content == "Hello!"
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == "Hello!"


async def test_twenty_at_once_are_all_answered(tmp_path: Path) -> None:
    async with box(tmp_path) as node, node.client() as client:
        await node.serving()

        async def ask(n: int) -> str:
            if n % 2:
                stream = await client.chat.completions.create(**HI, stream=True)
                return "".join([piece.choices[0].delta.content or "" async for piece in stream])
            return (await client.chat.completions.create(**HI)).choices[0].message.content or ""

        assert await asyncio.gather(*map(ask, range(20))) == ["Hello!"] * 20
        await node.emptied()


async def test_events_arrive_while_the_model_still_works(tmp_path: Path) -> None:
    async with box(tmp_path) as node, node.client() as client:
        worker = await node.worker()
        asking = asyncio.create_task(client.chat.completions.create(**HI, stream=True))
        job = await worker.job()
        assert await job.start() is Verdict.GO
        await job.delta(chunk("first"))
        pieces = aiter(await asking)
        assert (await anext(pieces)).choices[0].delta.content == "first"
        await job.delta(chunk("second"))
        assert (await anext(pieces)).choices[0].delta.content == "second"
        await job.final(chunk("last"))
        assert [piece.choices[0].delta.content async for piece in pieces] == ["last"]


async def test_the_stream_is_the_workers_bytes_and_done(tmp_path: Path) -> None:
    """No `id:`, `event:` or `retry:` fields: each of them breaks the official client."""
    async with box(tmp_path) as node:
        await node.serving()
        body = json.dumps({**HI, "stream": True}).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
            % len(body)
            + body
        )
        head, _, chunks = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    sent = b"".join(chunks.split(b"\r\n")[1::2])
    assert sent == b"".join(map(chunk, WORDS)) + b"data: [DONE]\n\n"
    assert b"text/event-stream" in head
    assert b"x-request-id" in head


async def test_a_task_carries_the_clients_bytes_and_none_of_its_secrets(tmp_path: Path) -> None:
    body = (
        b'{ "model":"smollm2",\n "messages":[{"role":"user","content":"\xc3\xa9"}], "temperature":0.10 , "own": [1e2] }'
    )
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-very-secret\r\n"
        b"Cookie: session=sk-very-secret\r\nX-Api-Key: sk-very-secret\r\nX-Custom: a\r\nx-custom: b\r\n"
        b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
    )
    async with box(tmp_path) as node:
        worker = await node.worker()
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
        writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        job = await worker.job()
        await job.start()
        await job.final(completion("ok"))
        reply = await read_reply(reader)
        writer.close()
        node_url = node.gateway.node.url
    assert bytes(job.task.data) == body
    assert job.task.request_id == job.delivery.id == reply.headers["x-request-id"]
    assert job.task.metadata.headers["Authorization"] == ["[redacted]"]
    assert job.task.metadata.headers["X-Custom"] == ["a", "b"]
    assert b"sk-very-secret" not in job.delivery.body
    assert job.delivery.headers[Header.NODE] == node_url
    assert job.delivery.headers[Header.TRACE].startswith("00-0af7")
    assert 20 < deadline_of(job.delivery) <= 30
    assert Header.PATH not in job.delivery.headers
    assert "sk-very-secret" not in (tmp_path / "gateway.log").read_text()


async def test_text_completions_tell_the_worker_their_route(tmp_path: Path) -> None:
    async with box(tmp_path) as node, node.client() as client:
        worker = await node.worker()
        asking = asyncio.create_task(client.completions.create(model="smollm2", prompt="Once"))
        job = await worker.job()
        await job.start()
        await job.final(b'{"id":"1","object":"text_completion","created":1,"model":"m","choices":[]}')
        assert (await asking).object == "text_completion"
    assert job.delivery.headers[Header.PATH] == "completions"


async def test_a_model_answers_to_both_of_its_names(tmp_path: Path) -> None:
    async with box(tmp_path) as node, node.client() as client:
        await node.serving()
        reply = await client.chat.completions.create(model=MODEL.model, messages=[{"role": "user", "content": "x"}])
    assert reply.choices[0].message.content == "Hello!"


async def test_models_are_listed_and_found_by_ids_with_a_slash(tmp_path: Path) -> None:
    async with box(tmp_path) as node, node.client() as client:
        listed = (await client.models.list()).data
        found = await client.models.retrieve("Qwen/Qwen3-8B")
        escaped = await send_raw(node.port, b"GET /v1/models/Qwen%2FQwen3-8B/ HTTP/1.1\r\nHost: x\r\n\r\n")
    assert [(model.id, model.owned_by, model.created) for model in listed] == [
        (name, "uplion", 1_700_000_000) for name in ("asleep", "qwen", "smollm2")
    ]
    assert found.id == json.loads(escaped.body)["id"] == "Qwen/Qwen3-8B"


async def test_a_silent_stream_is_kept_alive_by_comments(tmp_path: Path) -> None:
    async with box(tmp_path, limits=QUICK) as node, node.client() as client:
        worker = await node.worker()
        asking = asyncio.create_task(client.chat.completions.create(**HI, stream=True))
        job = await worker.job()
        stream = await asking
        assert stream.response.status_code == 200
        await job.start()
        await answer(job)
        assert "".join([piece.choices[0].delta.content or "" async for piece in stream]) == "Hello!"


@pytest.mark.parametrize(
    ("request_line", "status", "code", "allow"),
    [
        ("GET /v2/nothing", 404, "unknown_url", None),
        ("POST /v1/models/x/y/z", 405, "method_not_supported", "GET, HEAD"),
        ("GET /v1/chat/completions/", 405, "method_not_supported", "POST"),
        ("OPTIONS /v1/chat/completions", 405, "method_not_supported", "POST"),
        ("DELETE /health", 405, "method_not_supported", "GET, HEAD"),
        ("GET /v1/models/nope", 404, "model_not_found", None),
        ("POST /res", 404, "unknown_url", None),
    ],
)
async def test_what_is_not_there(tmp_path: Path, request_line: str, status: int, code: str, allow: str | None) -> None:
    async with box(tmp_path) as node:
        reply = await send_raw(node.port, f"{request_line} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
    error = json.loads(reply.body)["error"]
    assert (reply.status, error["code"], reply.headers.get("allow")) == (status, code, allow)
    assert set(error) == {"message", "type", "param", "code"}
    assert reply.headers["x-request-id"]
    assert "access-control-allow-origin" not in reply.headers


async def test_health_and_metrics_are_for_this_host(tmp_path: Path) -> None:
    async with box(tmp_path) as node, node.client() as client:
        await node.serving()
        await client.chat.completions.create(**HI)
        health = await send_raw(node.port, b"GET /health/ HTTP/1.1\r\nHost: x\r\n\r\n")
        metrics = await send_raw(node.port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        proxied = await send_raw(node.port, b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 8.8.8.8\r\n\r\n")
    assert health.body == b'{"status":"ok"}'
    assert f'uplion_requests_total{{topic="{MODEL.topic}"}} 1\n'.encode() in metrics.body
    assert f'uplion_tokens_total{{topic="{MODEL.topic}"}} 3\n'.encode() in metrics.body
    assert b'uplion_responses_total{status="200"} 2\n' in metrics.body
    assert proxied.status == 404


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (b"http://localhost:3000", 200),
        (b"app://desktop", 200),
        (b"https://evil.example", 403),
        (b"http://evil.example:8080", 403),
        (b"null", 403),
        (b"http://[::1", 403),
    ],
)
async def test_pages_of_other_hosts_cannot_spend_the_gpu(tmp_path: Path, origin: bytes, status: int) -> None:
    body = json.dumps(HI).encode()
    async with box(tmp_path) as node:
        await node.serving()
        reply = await send_raw(
            node.port,
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nOrigin: %s\r\nContent-Length: %d\r\n\r\n"
            % (origin, len(body))
            + body,
        )
    assert reply.status == status
