"""Clients that leave, in all four states of a request, and clients that do not read."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import pytest

from tests.gateway.harness import HI, QUICK, WORDS, Box, answer, box, chunk, send_raw, until
from worker_embed.wire import Verdict

pytestmark = pytest.mark.anyio


async def ask(node: Box, *, stream: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    writer.write(request(stream=stream))
    return reader, writer


def request(*, stream: bool) -> bytes:
    body = json.dumps({**HI, "stream": stream}).encode()
    return b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def nothing_waits(node: Box) -> bool:
    return node.gateway.node.waiting == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_leaving_while_queued_takes_the_task_out(tmp_path: Path, stream: bool) -> None:
    async with box(tmp_path) as node:
        _, writer = await ask(node, stream=stream)
        await until(lambda: node.gateway.app.figures.of("model-SmolLM2-135M").requests)
        writer.close()
        await node.emptied()
        assert nothing_waits(node)
    assert " 499 " in (tmp_path / "gateway.log").read_text()


@pytest.mark.parametrize("stream", [False, True])
async def test_leaving_before_the_first_byte_stops_the_worker(tmp_path: Path, stream: bool) -> None:
    async with box(tmp_path) as node:
        worker = await node.worker()
        _, writer = await ask(node, stream=stream)
        job = await worker.job()
        assert await job.start() is Verdict.GO
        writer.close()
        await job.cancelled()
        assert nothing_waits(node)


async def test_leaving_mid_stream_stops_the_worker_and_frees_the_slot(tmp_path: Path) -> None:
    async with box(tmp_path) as node, node.client() as client:
        worker = await node.worker()
        reader, writer = await ask(node, stream=True)
        job = await worker.job()
        await job.start()
        await job.delta(chunk("half"))
        await reader.readuntil(b"half")
        writer.close()
        await job.cancelled()
        await worker.intake.ack(job.delivery)
        worker.serve(answer, slots=1)
        assert (await client.chat.completions.create(**HI)).choices[0].message.content == "Hello!"


async def test_leaving_between_delivery_and_start_is_gone(tmp_path: Path) -> None:
    async with box(tmp_path) as node:
        worker = await node.worker()
        _, writer = await ask(node, stream=False)
        job = await worker.job()
        writer.close()
        await until(lambda: nothing_waits(node))
        assert await job.start() is Verdict.GONE


async def test_the_official_client_closing_its_stream_stops_the_worker(tmp_path: Path) -> None:
    async with box(tmp_path) as node, node.client() as client:
        worker = await node.worker()
        asking = asyncio.create_task(client.chat.completions.create(**HI, stream=True))
        job = await worker.job()
        await job.start()
        await job.delta(chunk("half"))
        stream = await asking
        await anext(aiter(stream))
        await stream.close()
        await job.cancelled()


def deaf(node: Box) -> socket.socket:
    """A client that asks for a stream and reads nothing; a small window, so that little is enough to see it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", node.port))
    client.sendall(request(stream=True))
    return client


EVENT = chunk("x" * 16_000)


async def test_a_client_that_does_not_read_costs_little_memory_and_others_nothing(tmp_path: Path) -> None:
    """Its worker pours 64 MB on the socket that it shares with the other requests."""
    async with box(tmp_path) as node, node.client() as client:
        worker = await node.worker()
        slow = deaf(node)
        job = await worker.job()
        await job.start()
        before = rss_bytes()
        asking = asyncio.create_task(client.chat.completions.create(**HI))
        other = await worker.job()
        await other.start()
        for _ in range(4000):
            await job.delta(EVENT)
            if job.is_cancelled:
                break
        await job.cancelled()
        await answer(other)
        assert (await asking).choices[0].message.content == "Hello!"
        grown = rss_bytes() - before
        slow.close()
    assert grown < 12 * 1024 * 1024, "64 MB were sent, this process also holds the worker's side of the sockets"


async def test_a_client_that_stops_reading_is_dropped_after_a_while(tmp_path: Path) -> None:
    """Less than the bound waits for it, and nothing more comes."""
    async with box(tmp_path, limits=QUICK) as node:
        worker = await node.worker()
        slow = deaf(node)
        job = await worker.job()
        await job.start()
        pending = node.gateway.node.find(job.task.request_id)
        assert pending is not None
        attempt = node.gateway.node._attempts[job.uid]
        while not pending.size:
            await job.delta(EVENT)
            await until(lambda: attempt.seq == job.seq and (not pending.size or pending.blocked_s))
        assert pending.size < QUICK.buffer_bytes
        await job.cancelled()
        await until(lambda: nothing_waits(node) and not node.gateway.app.connections())
        slow.close()


async def test_a_client_that_reads_slowly_gets_everything(tmp_path: Path) -> None:
    async with box(tmp_path) as node:
        worker = await node.worker()
        reader, writer = await ask(node, stream=True)
        job = await worker.job()
        await job.start()

        async def pour() -> None:
            for _ in range(200):
                await job.delta(EVENT)
                await asyncio.sleep(0)
            await job.final()

        pouring = asyncio.create_task(pour())
        received = 0
        while not (data := await reader.read(64 * 1024)).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"):
            received += len(data)
        await pouring
        writer.close()
    assert received > 200 * 16_000


def rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def test_a_stream_of_http_1_0_ends_with_its_connection(tmp_path: Path) -> None:
    async with box(tmp_path) as node:
        await node.serving()
        body = json.dumps({**HI, "stream": True}).encode()
        asked = b"POST /v1/chat/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body)
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
        writer.write(asked + body)
        async with asyncio.timeout(10):
            said = await reader.read()
        writer.close()
        head, _, events = said.partition(b"\r\n\r\n")
        assert b"transfer-encoding" not in head.lower()
        assert b"connection: close" in head.lower()
        assert events.startswith(b"data: {")
        assert events.endswith(b"data: [DONE]\n\n")
        assert events.count(b"data: ") == len(WORDS) + 1
        reply = await send_raw(node.port, b"GET /health HTTP/1.0\r\n\r\n")
        assert (reply.status, reply.body) == (200, b'{"status":"ok"}')
