"""An API node that is told to stop, and what it writes down."""

from __future__ import annotations

import asyncio
import json
import os
import resource
from pathlib import Path

import openai
import pytest

from console.gateway.config import Limits
from console.gateway.log import KEPT, ROTATE_BYTES, LogFile
from tests.gateway.harness import HI, MODEL, QUICK, box, chunk, read_reply, send_raw, until
from worker_embed.queue.port import TopicSpec
from worker_embed.wire import Verdict

pytestmark = pytest.mark.anyio


async def test_what_does_not_finish_in_time_is_told_so(tmp_path: Path) -> None:
    """A stream by an event, a request that runs and one that waits by their status; then the connections end."""
    async with box(tmp_path, limits=QUICK) as node, node.client() as client:
        worker = await node.worker()
        streaming = asyncio.create_task(client.chat.completions.create(**HI, stream=True))
        job = await worker.job()
        assert await job.start() is Verdict.GO
        await job.delta(chunk("half"))
        pieces = aiter(await streaming)
        await anext(pieces)
        running = asyncio.create_task(client.chat.completions.create(**HI))
        other = await worker.job()
        assert await other.start() is Verdict.GO
        waiting = asyncio.create_task(client.chat.completions.create(**HI))
        await until(lambda: node.gateway.node.waiting == 3)
        await node.gateway.drain()
        with pytest.raises(openai.APIError) as cut:
            await anext(pieces)
        with pytest.raises(openai.InternalServerError) as stopped:
            await running
        with pytest.raises(openai.InternalServerError) as never_ran:
            await waiting
        await job.cancelled()
        await other.cancelled()
    assert cut.value.code == "cancelled"
    assert (stopped.value.code, stopped.value.response.headers["x-should-retry"]) == ("draining", "false")
    assert (never_ran.value.code, never_ran.value.response.headers["x-should-retry"]) == ("draining", "true")


async def test_without_workers_nobody_is_kept_waiting(tmp_path: Path) -> None:
    async with box(tmp_path, limits=Limits(alone_s=0.1)) as node, node.client() as client:
        waiting = asyncio.create_task(client.chat.completions.create(**HI))
        await until(lambda: node.gateway.node.waiting == 1)
        async with asyncio.timeout(10):
            await node.gateway.drain()
        with pytest.raises(openai.InternalServerError) as never_ran:
            await waiting
    assert never_ran.value.code == "draining"


async def test_a_kept_connection_is_refused_while_others_finish(tmp_path: Path) -> None:
    async with box(tmp_path, compat=True) as node:
        await node.queue.ensure(TopicSpec(topic=MODEL.topic))
        node.gateway.app.inference.draining = True
        body = json.dumps(HI).encode()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        reply = await send_raw(node.port, head + body)
    assert (reply.status, json.loads(reply.body)["error"]["code"]) == (503, "draining")


async def test_hostile_text_reaches_the_log_escaped(tmp_path: Path) -> None:
    async with box(tmp_path) as node:
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
        writer.write(b"GET /%1b[31m%0aroot%00%e2%80%ae[/red] HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await read_reply(reader)).status == 404
        writer.close()
    [line] = (tmp_path / "gateway.log").read_text().splitlines()
    assert line.isascii()
    assert line.isprintable()
    assert r"/\x1b[31m\nroot\x00\u202e[/red] 404 " in line


async def test_one_line_a_request_says_who_what_and_how_it_ended(tmp_path: Path) -> None:
    async with box(tmp_path) as node, node.client() as client:
        await node.serving()
        reply = await client.chat.completions.create(**HI)
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="nope", messages=[{"role": "user", "content": "secret prompt"}])
        request_id = reply._request_id
    first, second = (tmp_path / "gateway.log").read_text().splitlines()
    assert " 127.0.0.1 POST /v1/chat/completions 200 " in first
    assert first.endswith(f"ms smollm2 {request_id} -")
    assert second.endswith(" model_not_found")
    assert "secret prompt" not in second


def test_a_log_that_cannot_be_rotated_is_written_on_and_to_nobody_else(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "gateway.log")
    log.add("x" * ROTATE_BYTES)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        log.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    reading, writing = os.pipe()
    try:
        log.add("a secret of another client")
        log.flush()
        os.set_blocking(reading, False)
        with pytest.raises(BlockingIOError):
            os.read(reading, 1)
    finally:
        os.close(reading)
        os.close(writing)
    log.add("last")
    log.close()
    assert (tmp_path / "gateway.log").read_text() == "last\n"
    assert (tmp_path / "gateway.log.1").read_text().endswith("x\na secret of another client\n")


def test_the_log_is_rotated_and_bounded(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "gateway.log")
    for n in range(KEPT + 3):
        log.add(f"{n} " + "x" * ROTATE_BYTES)
        log.flush()
    log.add("last")
    log.close()
    kept = sorted(tmp_path.iterdir())
    assert [file.name for file in kept] == ["gateway.log", *(f"gateway.log.{n + 1}" for n in range(KEPT))]
    assert kept[0].read_text() == "last\n"
    assert kept[1].read_text().startswith(f"{KEPT + 2} ")
