"""The original's protocol: its route and texts, and its workers' callbacks where they are wanted."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
from websockets.asyncio.client import connect

from tests.gateway.harness import HI, MODEL, QUICK, Box, box, completion, error, send_raw
from worker_embed.queue.port import TopicSpec
from worker_embed.wire import Task

pytestmark = pytest.mark.anyio


async def post(node: Box, path: str, body: bytes) -> tuple[int, Any]:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    reply = await send_raw(node.port, head + body)
    return reply.status, json.loads(reply.body)


@pytest.mark.parametrize("body", [b"{", b'{"model":1}', b'{"model":"smollm2","stream":"yes"}'])
async def test_the_originals_route_words_its_400_as_the_original(tmp_path: Path, body: bytes) -> None:
    async with box(tmp_path) as node:
        status, reply = await post(node, "/api/v1/chat/completions", body)
    assert status == 400
    assert reply == {
        "error": {
            "message": "We could not parse the JSON body of your request.",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }
    }


async def test_the_originals_route_times_out_with_408(tmp_path: Path) -> None:
    async with box(tmp_path, timeout_s=1, limits=QUICK) as node:
        status, reply = await post(node, "/api/v1/chat/completions", json.dumps(HI).encode())
    assert status == 408
    assert reply["error"] == {
        "message": "Request timeout",
        "type": "request_timeout_error",
        "param": None,
        "code": None,
    }


async def test_the_originals_route_answers(tmp_path: Path) -> None:
    async with box(tmp_path) as node, node.client(path="/api/v1") as client:
        await node.serving()
        assert (await client.chat.completions.create(**HI)).choices[0].message.content == "Hello!"


async def test_callbacks_are_not_there_unless_asked_for(tmp_path: Path) -> None:
    async with box(tmp_path) as node:
        assert (await post(node, "/res", b'{"request_id":"x","data":{}}'))[0] == 404
        assert (await send_raw(node.port, b"GET /res/ws HTTP/1.1\r\nHost: x\r\n\r\n")).status == 404


async def taken(node: Box) -> Task:
    """The next task, taken as the original's workers do: ack after the answer, no handshake."""
    await node.queue.ensure(TopicSpec(topic=MODEL.topic))
    intake = await node.queue.consume(MODEL.topic, "original")
    await intake.grant()
    async with asyncio.timeout(10):
        delivery = await intake.next()
    await intake.ack(delivery)
    return msgspec.json.decode(delivery.body, type=Task)


async def test_an_original_worker_answers_whole(tmp_path: Path) -> None:
    async with box(tmp_path, compat=True) as node, node.client() as client:
        asking = asyncio.create_task(client.chat.completions.create(**HI))
        task = await taken(node)
        assert task.endpoint == f"{node.url}/res"
        result = b'{"request_id":"%s","data":%s}' % (task.request_id.encode(), completion("from the past"))
        assert await post(node, "/res", result) == (200, {"status": "ok"})
        assert (await asking).choices[0].message.content == "from the past"
        assert await post(node, "/res", result) == (404, {"error": "Request ID not found"})
        assert (await post(node, "/res", b'{"request_id":7}'))[0] == 400


async def test_counts_that_make_no_sense_cost_nobody_the_answer(tmp_path: Path) -> None:
    async with box(tmp_path, compat=True) as node, node.client() as client:
        asking = asyncio.create_task(client.chat.completions.create(**HI))
        task = await taken(node)
        body = completion("text").replace(b'"prompt_tokens":3', b'"prompt_tokens":-99999999999999999999999')
        await post(node, "/res", b'{"request_id":"%s","data":%s}' % (task.request_id.encode(), body))
        assert (await asking).choices[0].message.content == "text"


async def test_an_original_workers_error_gets_a_status(tmp_path: Path) -> None:
    async with box(tmp_path, compat=True) as node, node.client() as client:
        asking = asyncio.create_task(client.chat.completions.create(**HI))
        task = await taken(node)
        body = error("no such model", "model_not_found")
        await post(node, "/res", b'{"request_id":"%s","data":%s}' % (task.request_id.encode(), body))
        with pytest.raises(openai.NotFoundError):
            await asking


async def test_an_original_worker_streams(tmp_path: Path) -> None:
    async with box(tmp_path, compat=True) as node, node.client() as client:
        asking = asyncio.create_task(client.chat.completions.create(**HI, stream=True))
        task = await taken(node)
        assert task.endpoint == f"ws{node.url[4:]}/res/ws"
        async with connect(task.endpoint, proxy=None) as socket:
            for word in ("a", "b"):
                data = {"choices": [{"index": 0, "delta": {"content": word}}]}
                await socket.send(json.dumps({"request_id": task.request_id, "end": False, "data": data}, indent=1))
            await socket.send("nonsense")
            await socket.send(json.dumps({"request_id": "unknown", "end": True}))
            await socket.send(json.dumps({"request_id": task.request_id, "end": True}))
            assert [piece.choices[0].delta.content async for piece in await asking] == ["a", "b"]


async def test_an_original_worker_lost_mid_stream_is_an_error(tmp_path: Path) -> None:
    async with box(tmp_path, compat=True) as node, node.client() as client:
        asking = asyncio.create_task(client.chat.completions.create(**HI, stream=True))
        task = await taken(node)
        async with connect(task.endpoint, proxy=None) as socket:
            data = {"choices": [{"index": 0, "delta": {"content": "half"}}]}
            await socket.send(json.dumps({"request_id": task.request_id, "data": data, "end": False}))
            pieces = aiter(await asking)
            await anext(pieces)
        with pytest.raises(openai.APIError):
            await anext(pieces)
