from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from pathlib import Path

import msgspec
import pytest

from operator_embed.accounts import usage
from operator_embed.accounts.usage import UsageWriter
from worker_embed.queue.memory import MemoryBroker, MemoryIntake, MemoryQueue
from worker_embed.queue.port import Delivery, TopicSpec
from worker_embed.wire import RESULT_TOPIC, Tokens, Usage, UsageStatus

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "BATCH", 50)
    monkeypatch.setattr(usage, "GATHER_S", 0.01)
    monkeypatch.setattr(usage, "RETRY_S", 0.05)


@pytest.fixture
async def queue() -> MemoryQueue:
    queue = MemoryQueue(MemoryBroker(lease_s=0.2))
    await queue.ensure(TopicSpec(topic=RESULT_TOPIC))
    return queue


def record(request_id: str, tokens: int = 3, **fields: object) -> bytes:
    known = Usage(
        request_id=request_id,
        usage=Tokens(1, tokens - 1, tokens),
        model="smollm2",
        ai_model_name="m",
        ai_model_namespace="default",
        status=UsageStatus.CANCELLED,
        replica="m-x7k2q",
        started_ms=1,
        ended_ms=2,
    )
    return msgspec.json.encode({**msgspec.to_builtins(known), **fields})


def rows(path: Path, what: str = "count(*)") -> tuple[object, ...]:
    with closing(sqlite3.connect(path)) as connection:
        found: tuple[object, ...] = connection.execute(f"SELECT {what} FROM usage").fetchone()
        return found


async def until(happened: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(1_000):
        if await happened():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not happen within 10 s")


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def write_all(queue: MemoryQueue, path: Path) -> None:
    async def empty() -> bool:
        return (await queue.backlog([RESULT_TOPIC]))[RESULT_TOPIC].total == 0

    writer = asyncio.create_task(UsageWriter(queue, path, lambda: 7.5).run())
    try:
        await until(empty)
    finally:
        await stop(writer)


async def test_a_record_becomes_one_row_however_often_it_comes(queue: MemoryQueue, tmp_path: Path) -> None:
    await queue.publish(RESULT_TOPIC, record("a"), id="a")
    await queue.publish(RESULT_TOPIC, record("a", tokens=900), id="a", attempt=2)
    await queue.publish(RESULT_TOPIC, record("b"), id="b")
    await write_all(queue, tmp_path / "accounts.db")
    assert rows(tmp_path / "accounts.db", "count(*), sum(total_tokens)") == (2, 6)
    assert rows(tmp_path / "accounts.db", "*") == (
        *("a", "smollm2", "default", "m", 1, 2, 3, "cancelled", 1, "m-x7k2q"),
        *(1, 0, 2, 7500),
    )


@pytest.mark.parametrize("order", [("node", "worker"), ("worker", "node")])
async def test_a_worker_has_the_last_word_over_an_api_node(
    queue: MemoryQueue, tmp_path: Path, order: tuple[str, str]
) -> None:
    records = {"node": record("a", tokens=1, replica="", status="error"), "worker": record("a", tokens=9)}
    for who in order:
        await queue.publish(RESULT_TOPIC, records[who], id=who)
        await write_all(queue, tmp_path / "accounts.db")
    assert rows(tmp_path / "accounts.db", "count(*), total_tokens, status, replica") == (
        *(1, 9),
        *("cancelled", "m-x7k2q"),
    )


async def test_what_no_row_can_hold_becomes_a_dead_letter_and_the_rest_goes_on(
    queue: MemoryQueue, tmp_path: Path
) -> None:
    poison = [
        b"\xff{",
        b"{}",
        record(""),
        record("x", started_ms=2**63),
        record("x", ended_ms=-1),
        record("x", model=7),
        record("x").replace(b"smollm2", b"\\ud800"),
    ]
    for number, body in enumerate(poison):
        await queue.publish(RESULT_TOPIC, body, id=f"bad{number}")
        await queue.publish(RESULT_TOPIC, record(f"good{number}"), id=f"good{number}")
    await write_all(queue, tmp_path / "accounts.db")
    assert rows(tmp_path / "accounts.db") == (len(poison),)
    letters = await queue.dead_letters(RESULT_TOPIC)
    assert {letter.reason for letter in letters} == {"Unreadable"}
    assert sorted(letter.id for letter in letters) == [f"bad{number}" for number in range(len(poison))]


async def test_each_record_of_a_message_becomes_a_row_also_beside_one_that_cannot_be_read(
    queue: MemoryQueue, tmp_path: Path
) -> None:
    path = tmp_path / "accounts.db"
    await queue.publish(RESULT_TOPIC, b"\n".join([record("a"), record("b")]) + b"\n", id="1")
    await queue.publish(RESULT_TOPIC, b"\n".join([record("c"), b"{", record("d")]), id="2")
    await write_all(queue, path)
    assert rows(path, "count(*), min(request_id), max(request_id)") == (4, "a", "d")
    assert [letter.id for letter in await queue.dead_letters(RESULT_TOPIC)] == ["2"]


async def test_records_wait_while_the_file_cannot_be_written(queue: MemoryQueue, tmp_path: Path) -> None:
    await queue.publish(RESULT_TOPIC, record("a"), id="a")
    folder = tmp_path / "later"
    writer = asyncio.create_task(UsageWriter(queue, folder / "accounts.db").run())

    async def given_back() -> bool:
        return (await queue.backlog([RESULT_TOPIC]))[RESULT_TOPIC].delayed == 1

    async def written() -> bool:
        return (await queue.backlog([RESULT_TOPIC]))[RESULT_TOPIC].total == 0

    try:
        await until(given_back)
        folder.mkdir()
        await until(written)
    finally:
        await stop(writer)
    assert rows(folder / "accounts.db") == (1,)


class _Unheard(MemoryIntake):
    """Its acks never arrive, as when the writer dies after its commit."""

    acked: asyncio.Event

    async def ack(self, delivery: Delivery) -> None:
        self.acked.set()
        await asyncio.Event().wait()


class _UnheardQueue(MemoryQueue):
    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker)
        self._shared, self.acked = broker, asyncio.Event()

    async def consume(self, topic: str, consumer: str) -> MemoryIntake:
        intake = _Unheard(self._shared, topic, consumer)
        intake.acked = self.acked
        return intake


async def test_a_writer_that_died_after_its_commit_counts_nothing_twice(tmp_path: Path) -> None:
    broker, path = MemoryBroker(lease_s=0.2), tmp_path / "accounts.db"
    queue, deaf = MemoryQueue(broker), _UnheardQueue(broker)
    await queue.ensure(TopicSpec(topic=RESULT_TOPIC))
    await queue.publish(RESULT_TOPIC, record("a"), id="a")
    first = asyncio.create_task(UsageWriter(deaf, path).run())
    try:
        await asyncio.wait_for(deaf.acked.wait(), 10)
    finally:
        await stop(first)
    assert rows(path) == (1,)
    assert (await queue.backlog([RESULT_TOPIC]))[RESULT_TOPIC].total == 1
    await write_all(queue, path)
    assert rows(path, "count(*), sum(total_tokens)") == (1, 3)


async def test_sums_are_exact_whenever_the_writer_is_stopped(queue: MemoryQueue, tmp_path: Path) -> None:
    seeded = random.Random(5)
    for number in range(600):
        await queue.publish(RESULT_TOPIC, record(f"r{number}", tokens=number + 1), id=f"r{number}")
    for _ in range(12):
        writer = asyncio.create_task(UsageWriter(queue, tmp_path / "accounts.db").run())
        for _ in range(seeded.randrange(400)):
            await asyncio.sleep(0)
        await stop(writer)
    await write_all(queue, tmp_path / "accounts.db")
    assert rows(tmp_path / "accounts.db", "count(*), sum(total_tokens)") == (600, sum(range(601)))
