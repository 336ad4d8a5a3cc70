"""Who may run a request: verdicts, redelivery before and after the first byte, fencing, lost connections."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest

from console.gateway.config import Limits
from console.gateway.node import Node
from console.gateway.pending import Pending
from tests.clock import Clock
from tests.gateway.harness import HI, MODEL, QUICK, Box, Job, Worker, box, chunk, completion, until
from worker_embed.wire import (
    Answer,
    Cancel,
    Delta,
    Final,
    FromNode,
    FromWorker,
    GiveBack,
    Received,
    Start,
    Verdict,
)

pytestmark = pytest.mark.anyio


class Wire:
    """A worker's connection to a node without a socket, and a clock that a test moves."""

    def __init__(self, node: Node) -> None:
        self.heard: list[FromNode] = []
        self.link = node.connect(self.heard.append)

    def says(self, frame: FromWorker) -> FromNode | None:
        """What the node answers at once."""
        before = len(self.heard)
        self.link.receive(frame)
        return self.heard[-1] if len(self.heard) > before else None

    def starts(self, uid: str, attempt: int = 1, request_id: str = "r1") -> Verdict:
        answer = self.says(Start(request_id, uid, attempt))
        assert isinstance(answer, Answer)
        return answer.verdict


@pytest.fixture
def node(clock: Clock) -> Node:
    return Node(Limits(), max_attempts=3, clock=clock)


def expect(node: Node, *, stream: bool = True) -> Pending:
    pending = Pending("r1", MODEL, stream=stream, now_s=0.0, timeout_s=300.0, soft_bytes=100_000, hang_up=lambda: None)
    node.expect(pending)
    return pending


def test_unknown_left_and_answered_requests_are_gone(node: Node) -> None:
    worker = Wire(node)
    assert worker.starts("a") is Verdict.GONE
    pending = expect(node)
    pending.leave()
    assert worker.starts("a") is Verdict.GONE
    node.forget(pending)
    pending = expect(node)
    assert worker.starts("b") is Verdict.GO
    assert worker.says(Final("b", 0, 200, b"")) == Received("b")
    assert worker.starts("c") is Verdict.GONE


def test_another_attempt_waits_while_the_first_was_just_heard(node: Node, clock: Clock) -> None:
    expect(node)
    first, second = Wire(node), Wire(node)
    assert first.starts("a") is Verdict.GO
    clock.now_s += 2.9
    assert second.starts("b") is Verdict.BUSY
    first.says(Start("r1", "a", 1))
    clock.now_s += 2.9
    assert second.starts("b") is Verdict.BUSY
    clock.now_s += 0.1
    assert second.starts("b") is Verdict.GO
    assert first.says(Delta("a", 0, b"data: late\n\n")) == Cancel("a")
    assert first.says(Final("a", 1, 200, b"")) == Cancel("a")


def test_nobody_waits_for_an_attempt_that_ended(node: Node) -> None:
    """Its connection broke, its own worker asks again, or it was given back with a higher number."""
    expect(node)
    first, second = Wire(node), Wire(node)
    assert first.starts("a") is Verdict.GO
    assert first.starts("b") is Verdict.GO
    first.link.close()
    assert second.starts("c") is Verdict.GO
    expect(node)
    third = Wire(node)
    assert second.starts("d", 1) is Verdict.GO
    assert third.starts("e", 2) is Verdict.GO


def test_bytes_of_two_attempts_are_never_joined(node: Node, clock: Clock) -> None:
    pending = expect(node)
    first, second = Wire(node), Wire(node)
    first.starts("a")
    first.says(Delta("a", 0, b"data: 1\n\n"))
    assert second.starts("b") is Verdict.BUSY
    clock.now_s += 3
    assert second.starts("b") is Verdict.GONE
    assert pending.failure is not None
    assert pending.failure.stream_code == "worker_lost"
    assert pending.take() == b"data: 1\n\n"


@pytest.mark.parametrize("numbers", [(1, 1, 1, 1), (1, 2, 3, 4), (2, 3, 4), (4,)])
def test_a_request_that_kills_workers_is_dead(node: Node, numbers: tuple[int, ...]) -> None:
    """Counted by the header or by the starts seen here, whichever is more."""
    pending = expect(node)
    verdicts = []
    for uid, number in enumerate(numbers):
        worker = Wire(node)
        verdicts.append(worker.starts(str(uid), number))
        worker.link.close()
    assert verdicts == [Verdict.GO] * (len(numbers) - 1) + [Verdict.DEAD]
    assert pending.failure is not None
    assert (pending.failure.status, pending.failure.retry) == (502, False)
    assert Wire(node).starts("z", 1) is Verdict.GONE


def test_asking_twice_is_one_start(node: Node) -> None:
    pending = expect(node)
    for _ in range(9):
        worker = Wire(node)
        assert worker.starts("a") is Verdict.GO
        worker.link.close()
    assert pending.starts == 1


def test_an_attempt_goes_on_over_another_connection(node: Node, clock: Clock) -> None:
    pending = expect(node)
    before, after = Wire(node), Wire(node)
    before.starts("a")
    before.says(Delta("a", 0, b"1"))
    before.link.close()
    clock.now_s += 2.9
    node.sweep()
    assert after.says(Delta("a", 0, b"1")) is None
    after.says(Delta("a", 1, b"2"))
    clock.now_s += 5
    node.sweep()
    assert after.says(Final("a", 2, 200, b"3")) == Received("a")
    assert (pending.take(), pending.answer, pending.failure) == (b"123", b"", None)


def test_a_worker_that_does_not_come_back_ends_its_streams(node: Node, clock: Clock) -> None:
    pending = expect(node)
    worker = Wire(node)
    worker.starts("a")
    worker.link.close()
    clock.now_s += 10
    node.sweep()
    assert not pending.over, "before its first byte another worker can still take over"
    worker = Wire(node)
    worker.starts("b")
    worker.says(Delta("b", 0, b"1"))
    worker.link.close()
    node.sweep()
    assert not pending.over
    clock.now_s += 3
    node.sweep()
    assert pending.failure is not None
    assert pending.failure.stream_code == "worker_lost"


def test_a_gap_is_an_error(node: Node) -> None:
    pending = expect(node)
    worker = Wire(node)
    worker.starts("a")
    worker.says(Delta("a", 0, b"1"))
    worker.says(Delta("a", 2, b"3"))
    assert pending.failure is not None
    assert pending.take() == b"1"
    node.forget(pending)
    assert worker.heard[-1] == Cancel("a")


def test_a_final_frame_said_twice_is_received_twice_and_then_forgotten(node: Node, clock: Clock) -> None:
    pending = expect(node, stream=False)
    worker = Wire(node)
    worker.starts("a")
    assert worker.says(Final("a", 0, 200, b"{}")) == Received("a")
    node.forget(pending)
    assert Wire(node).says(Final("a", 0, 200, b"{}")) == Received("a")
    clock.now_s += 600
    node.sweep()
    assert Wire(node).says(Final("a", 0, 200, b"{}")) == Cancel("a")


@contextlib.asynccontextmanager
async def two_workers(tmp: Path, **options: Any) -> AsyncIterator[tuple[Box, Worker, Worker, openai.AsyncOpenAI]]:
    async with box(tmp, limits=QUICK, **options) as running, running.client() as client:
        yield running, await running.worker(), await running.worker(), client


async def redelivered(job: Job, to: Worker) -> Job:
    """What whoever notices the death of a worker does."""
    await to.intake.grant()
    broker: Any = job.worker.intake
    await broker.nack(job.delivery)
    return await to.job()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_worker_killed_before_the_first_byte_is_not_noticed(tmp_path: Path, stream: bool) -> None:
    async with two_workers(tmp_path) as (node, first, second, client):
        asking: asyncio.Task[Any] = asyncio.create_task(client.chat.completions.create(**HI, stream=stream))
        job = await first.job()
        assert await job.start() is Verdict.GO
        await first.die()
        again = await redelivered(job, second)
        assert again.task.request_id == job.task.request_id
        await until(lambda: not node.gateway.node._runs[job.task.request_id].link)
        assert await again.start() is Verdict.GO
        if stream:
            await again.delta(chunk("whole"))
            await again.final()
            assert [piece.choices[0].delta.content async for piece in await asking] == ["whole"]
        else:
            await again.final(completion("whole"))
            assert (await asking).choices[0].message.content == "whole"


async def test_a_worker_killed_mid_stream_is_an_error_never_a_short_answer(tmp_path: Path) -> None:
    async with two_workers(tmp_path) as (_, first, second, client):
        asking = asyncio.create_task(client.chat.completions.create(**HI, stream=True))
        job = await first.job()
        await job.start()
        await job.delta(chunk("half"))
        pieces = aiter(await asking)
        assert (await anext(pieces)).choices[0].delta.content == "half"
        await first.die()
        with pytest.raises(openai.APIError) as failed:
            await anext(pieces)
        assert failed.value.code == "worker_lost"
        again = await redelivered(job, second)
        assert await again.start() is Verdict.GONE


async def test_garbage_on_a_callback_connection_ends_only_that_connection(tmp_path: Path) -> None:
    async with box(tmp_path) as running, running.client() as client:
        await running.serving()
        for garbage in (b"\xc1", b"", msgspec.msgpack.encode([["start", 1, 2]]), "text"):
            call = await running.call()
            await call.send(garbage)
            await call.wait_closed()
            assert call.close_code in (1003, 1007)
        assert (await client.chat.completions.create(**HI)).choices[0].message.content == "Hello!"


@pytest.mark.parametrize(
    "headers", [b"", b"Sec-WebSocket-Protocol: other\r\n", b"Sec-WebSocket-Protocol: uplion.1\r\nOrigin: http://x\r\n"]
)
async def test_only_workers_may_call_back(tmp_path: Path, headers: bytes) -> None:
    async with box(tmp_path) as running:
        port = int(running.gateway.node.url.rstrip("/").rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" + headers + b"\r\n"
        )
        answer = await reader.read()
        writer.close()
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 403"))


async def test_a_frame_that_breaks_the_node_ends_its_connection_and_another_worker_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with box(tmp_path, limits=QUICK) as node, node.client() as client:
        worker = await node.worker()
        asking = asyncio.create_task(client.chat.completions.create(**HI))
        job = await worker.job()
        assert await job.start() is Verdict.GO
        with monkeypatch.context() as patched:
            patched.setattr(node.gateway.node, "take", broken)
            await worker.send(GiveBack(job.uid))
            await worker._socket.wait_closed()
        await worker.intake.nack(job.delivery)
        await node.serving()
        assert (await asking).choices[0].message.content == "Hello!"


def broken(*_: object) -> None:
    raise ZeroDivisionError
