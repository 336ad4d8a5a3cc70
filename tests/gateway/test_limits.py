"""What a hostile client may take: bytes, time, connections; and what it may not smuggle."""

from __future__ import annotations

import asyncio
import json
import resource
from dataclasses import replace
from pathlib import Path

import openai
import pytest

from console.settings import Settings
from console.wiring import api_node
from operator_embed.box.children import NodePlace
from tests.gateway.harness import HI, MODEL, QUICK, box, read_reply, send_raw, until

pytestmark = pytest.mark.anyio

CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
BODY = json.dumps(HI).encode()
MIB = 1024 * 1024


@pytest.mark.parametrize(
    "smuggled",
    [
        CHAT + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        CHAT + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
        CHAT + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        CHAT + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        CHAT + b"Content-Length : 4\r\n\r\nabcd",
        CHAT + b"X-A: b\r\n folded\r\nContent-Length: 0\r\n\r\n",
        CHAT.replace(b"\r\n", b"\n") + b"Content-Length: 0\n\n",
        CHAT + b"X-A: a\x00b\r\nContent-Length: 0\r\n\r\n",
        CHAT + b"Content-Length: +4\r\n\r\nabcd",
        CHAT + b"Content-Length: -1\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"NONSENSE\r\n\r\n",
    ],
)
async def test_ambiguous_requests_are_400_and_the_connection_ends(tmp_path: Path, smuggled: bytes) -> None:
    second = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
    async with box(tmp_path) as node:
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
        writer.write(smuggled + second)
        reply = await read_reply(reader)
        rest = await reader.read()
        writer.close()
    assert reply.status == 400
    assert set(json.loads(reply.body)["error"]) == {"message", "type", "param", "code"}
    assert reply.headers["x-request-id"]
    assert rest == b""


@pytest.mark.parametrize("length", [b"Content-Length: %d\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n%x\r\n"])
async def test_a_body_over_four_mib_is_413(tmp_path: Path, length: bytes) -> None:
    size = 4 * MIB + 1
    tail = b"\r\n0\r\n\r\n" if b"chunked" in length else b""
    async with box(tmp_path) as node:
        reply = await send_raw(node.port, CHAT + length % size + b" " * size + tail)
        assert await node.queue.backlog([MODEL.topic]) == {}
    assert (reply.status, json.loads(reply.body)["error"]["code"]) == (413, "request_too_large")
    assert reply.headers["connection"] == "close"


async def test_the_official_client_sees_413_and_does_not_retry(tmp_path: Path) -> None:
    async with box(tmp_path) as node, node.client(retries=2) as client:
        with pytest.raises(openai.APIStatusError) as refused:
            await client.chat.completions.create(
                model="smollm2", messages=[{"role": "user", "content": "x" * (5 * MIB)}]
            )
        assert (refused.value.status_code, node.gateway.app.figures.responses[413]) == (413, 1)


async def test_a_body_that_fits_but_whose_task_does_not_is_413(tmp_path: Path) -> None:
    body = b'{"model":"smollm2","messages":[{"content":"%s"}]}' % (b"x" * (4 * MIB - 50))
    async with box(tmp_path) as node:
        reply = await send_raw(node.port, CHAT + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert len(body) <= 4 * MIB
    assert reply.status == 413


async def test_compressed_bodies_are_not_unpacked(tmp_path: Path) -> None:
    async with box(tmp_path) as node:
        reply = await send_raw(node.port, CHAT + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b")
    assert (reply.status, json.loads(reply.body)["error"]["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "headers",
    [b"X-A: " + b"a" * 40_000 + b"\r\n\r\n", b"X-A: a\r\n" * 5000 + b"\r\n", b"X-A: " + b"a" * 40_000],
    ids=["one", "many", "unfinished"],
)
async def test_headers_over_32_kib_are_431(tmp_path: Path, headers: bytes) -> None:
    async with box(tmp_path) as node:
        reply = await send_raw(node.port, b"GET /v1/models HTTP/1.1\r\nHost: x\r\n" + headers)
    assert (reply.status, json.loads(reply.body)["error"]["code"]) == (431, "headers_too_large")


async def test_headers_of_30_kib_and_a_body_in_the_same_breath_are_fine(tmp_path: Path) -> None:
    async with box(tmp_path) as node:
        await node.serving()
        head = CHAT + b"X-A: " + b"a" * 30_000 + b"\r\nContent-Length: %d\r\n\r\n" % (len(BODY) + 30_000)
        reply = await send_raw(node.port, head + b" " * 30_000 + BODY)
    assert reply.status == 200


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET /v1/models HTTP/1.1\r\nHost:", b"GET"])
async def test_half_a_head_is_not_waited_for(tmp_path: Path, sent: bytes) -> None:
    async with box(tmp_path, limits=QUICK) as node:
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
        writer.write(sent)
        async with asyncio.timeout(10):
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await reader.readexactly(1)
        writer.close()


async def test_half_a_head_on_a_kept_connection_is_not_waited_for(tmp_path: Path) -> None:
    async with box(tmp_path, limits=QUICK) as node:
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
        for _ in range(2):
            writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await read_reply(reader)).status == 200
        writer.write(b"GET /hea")
        async with asyncio.timeout(10):
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await reader.readexactly(1)
        writer.close()


async def test_half_a_body_is_408(tmp_path: Path) -> None:
    async with box(tmp_path, limits=QUICK) as node:
        reply = await send_raw(node.port, CHAT + b"Content-Length: 100\r\n\r\n{")
    assert (reply.status, json.loads(reply.body)["error"]["code"]) == (408, "request_timeout")
    assert reply.headers["x-should-retry"] == "false"


async def test_a_request_that_takes_longer_than_the_time_for_its_headers_is_not_cut(tmp_path: Path) -> None:
    """Also as the second one of a connection, sent in two pieces."""
    async with box(tmp_path, limits=replace(QUICK, header_s=0.2, body_s=0.2)) as node:
        worker = await node.worker()
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
        for _ in range(2):
            writer.write(CHAT + b"Content-Length: %d\r\n\r\n" % len(BODY))
            await writer.drain()
            await asyncio.sleep(0.01)
            writer.write(BODY)
            job = await worker.job()
            await job.start()
            await asyncio.sleep(0.5)
            await job.final(b"{}")
            assert (await read_reply(reader)).status == 200
        writer.close()


async def test_500_half_open_connections_and_still_200_for_others(tmp_path: Path) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    async with box(tmp_path) as node, node.client() as client:
        await node.serving()
        slow = [await asyncio.open_connection("127.0.0.1", node.port) for _ in range(500)]
        for _, writer in slow:
            writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: ")
        await until(lambda: node.gateway.app.connections() >= 500)
        replies = await asyncio.gather(*(client.chat.completions.create(**HI) for _ in range(20)))
        for _, writer in slow:
            writer.transport.abort()
    assert [reply.choices[0].message.content for reply in replies] == ["Hello!"] * 20


async def test_one_connection_too_many_is_told_so(tmp_path: Path) -> None:
    async with box(tmp_path, limits=replace(QUICK, connections=2, header_s=10)) as node:
        held = [await asyncio.open_connection("127.0.0.1", node.port) for _ in range(2)]
        reply = await send_raw(node.port, b"")
        for _, writer in held:
            writer.close()
        await until(lambda: not node.gateway.app.connections())
        again = await send_raw(node.port, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (reply.status, json.loads(reply.body)["error"]["code"]) == (503, "too_many_connections")
    assert reply.headers["x-should-retry"] == "true"
    assert again.status == 200


async def test_a_node_whose_connections_are_all_taken_still_answers_for_its_leader(tmp_path: Path) -> None:
    async with box(tmp_path, limits=replace(QUICK, connections=1, header_s=10)) as node:
        place = NodePlace(
            home=tmp_path,
            queue_url="",
            queue_token_file=tmp_path,
            node_port=0,
            beat=tmp_path,
            events=tmp_path,
            log=tmp_path,
            out=tmp_path,
        )
        spec = api_node(place, Settings(api_port=node.port))
        await until(lambda: not node.gateway.app.connections())
        _, writer = await asyncio.open_connection("127.0.0.1", node.port)
        await until(lambda: node.gateway.app.connections())
        for _ in range(20):
            assert await spec.ready()
        writer.close()
    assert not await spec.ready()


async def test_an_upgrade_that_nobody_asked_for_gets_no_second_request_in(tmp_path: Path) -> None:
    async with box(tmp_path) as node:
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
        writer.write(
            b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
            b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        reply = await read_reply(reader)
        rest = await reader.read()
        writer.close()
    assert (reply.status, rest) == (200, b"")


async def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    async with box(tmp_path) as node:
        await node.serving()
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
        ask = CHAT + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
        writer.write((ask + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n") * 3)
        replies = [await read_reply(reader) for _ in range(6)]
        writer.close()
    assert [reply.status for reply in replies] == [200] * 6
    assert [b"status" in reply.body for reply in replies] == [False, True] * 3
