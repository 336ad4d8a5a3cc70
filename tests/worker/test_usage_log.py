"""Usage records on their way to the queue."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.queue.server import running_nats
from worker_embed.queue.memory import MemoryQueue
from worker_embed.queue.nats import NatsQueue
from worker_embed.queue.port import Queue, TopicSpec
from worker_embed.usage_log import MOST, UsageLog, records_in
from worker_embed.wire import RESULT_TOPIC, Tokens, Usage

pytestmark = pytest.mark.anyio


def record(request_id: str) -> Usage:
    return Usage(request_id, Tokens(1, 2, 3), "smollm2", "m", "default")


async def messages(queue: Queue) -> list[list[str]]:
    """The requests of each message that lies on the topic."""
    intake = await queue.consume(RESULT_TOPIC, "reader")
    waiting = (await queue.backlog([RESULT_TOPIC]))[RESULT_TOPIC].queued
    await intake.grant(waiting)
    found = [[each.request_id for each in records_in((await intake.next()).body)] for _ in range(waiting)]
    await intake.close()
    return found


async def test_records_that_come_together_share_a_message_and_none_is_lost() -> None:
    queue = MemoryQueue()
    await queue.ensure(TopicSpec(topic=RESULT_TOPIC))
    records = UsageLog(queue, RESULT_TOPIC)
    ids = [str(number) for number in range(MOST + 2)]
    await asyncio.gather(*(records.store(record(id)) for id in ids))
    await records.store(record("alone"))
    assert await messages(queue) == [ids[:MOST], ids[MOST:], ["alone"]]


async def test_a_request_that_is_known_to_the_queue_takes_no_other_with_it() -> None:
    """Its second attempt may share a message with first ones."""
    queue = MemoryQueue()
    await queue.ensure(TopicSpec(topic=RESULT_TOPIC))
    records = UsageLog(queue, RESULT_TOPIC)
    await records.store(record("again"))
    await asyncio.gather(*(records.store(record(id)) for id in ("again", "new")))
    assert await messages(queue) == [["again"], ["again", "new"]]


async def test_records_wait_for_a_broker_that_was_killed(tmp_path: Path) -> None:
    async with running_nats(tmp_path) as server:
        queue = await NatsQueue.connect(server.url, token=server.token, timeout_s=0.5)
        await queue.ensure(TopicSpec(topic=RESULT_TOPIC))
        records = UsageLog(queue, RESULT_TOPIC)
        server.kill()
        stored = [records.store(record(id)) for id in ("a", "b")]
        done, _ = await asyncio.wait(stored, timeout=0.6)
        assert not done
        await server.start()
        async with asyncio.timeout(20):
            await asyncio.gather(*stored)
            assert await messages(queue) == [["a", "b"]]
        await queue.close()
