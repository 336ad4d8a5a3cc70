"""The NATS queue while its broker is killed, is gone for a while, or comes back without its store."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.queue.server import NatsServer, running_nats
from worker_embed.queue.nats import NatsQueue
from worker_embed.queue.port import Delivery, Intake, QueueError, TopicSpec

pytestmark = pytest.mark.anyio

TOPIC = "model-smollm2"
LEASE_S = 1.0


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with running_nats(tmp_path) as running:
        yield running


@asynccontextmanager
async def connected(server: NatsServer, timeout_s: float = 10.0) -> AsyncIterator[NatsQueue]:
    queue = await NatsQueue.connect(server.url, token=server.token, timeout_s=timeout_s, ack_wait_s=LEASE_S)
    try:
        yield queue
    finally:
        await queue.close()


def is_up(queue: NatsQueue) -> bool:
    return queue.connected


async def taken(intake: Intake) -> Delivery:
    async with asyncio.timeout(20):
        return await intake.next()


class Outage:
    """Hears of one loss of a queue's connection."""

    def __init__(self, queue: NatsQueue) -> None:
        self.gone, self.back = asyncio.Event(), asyncio.Event()
        self._task = asyncio.create_task(self._listen(queue))

    async def _listen(self, queue: NatsQueue) -> None:
        async for up in queue.lost():
            (self.back if up else self.gone).set()

    async def happens(self, server: NatsServer, *, empty: bool = False) -> None:
        """Kill the server and start it again; returns when the queue has recovered."""
        self.gone.clear()
        self.back.clear()
        await asyncio.sleep(0)
        server.kill()
        if empty:
            server.forget()
        await server.start()
        async with asyncio.timeout(20):
            await self.gone.wait()
            await self.back.wait()


async def test_nothing_acked_is_lost_when_the_broker_is_killed_under_load(
    server: NatsServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """Two publishers, two consumers, three kills: every message that was taken is worked on, hardly any twice."""
    done: Counter[str] = Counter()
    all_done = asyncio.Event()
    wanted = {f"{p}-{n}" for p in range(2) for n in range(300)}
    progress = [asyncio.Event() for _ in range(3)]

    async def publish(queue: NatsQueue, publisher: int) -> None:
        for n in range(300):
            await queue.publish(TOPIC, b"x" * 1000, id=f"{publisher}-{n}")

    async def work(intake: Intake) -> None:
        await intake.grant(4)
        while True:
            delivery = await intake.next()
            await intake.extend(delivery)
            await intake.ack(delivery)
            done[delivery.id] += 1
            await intake.grant()
            for count, event in zip((100, 250, 400), progress, strict=True):
                if len(done) >= count:
                    event.set()
            if done.keys() == wanted:
                all_done.set()

    async with AsyncExitStack() as stack:
        queues = [await stack.enter_async_context(connected(server, timeout_s=20)) for _ in range(4)]
        await queues[0].ensure(TopicSpec(topic=TOPIC))
        outage = Outage(queues[0])
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(work(await queue.consume(TOPIC, "w"))) for queue in queues[2:]]
            for publisher, queue in enumerate(queues[:2]):
                group.create_task(publish(queue, publisher))
            async with asyncio.timeout(60):
                for event in progress:
                    await event.wait()
                    await outage.happens(server)
                await all_done.wait()
            for worker in workers:
                worker.cancel()
        backlog = (await queues[0].backlog([TOPIC]))[TOPIC]
        assert backlog.total == 0
        assert done.total() - len(done) <= 3 * 2 * 4
    assert capfd.readouterr().err == ""


async def test_outage_is_told_and_operations_wait_for_its_end(server: NatsServer) -> None:
    async with connected(server) as queue:
        await queue.ensure(TopicSpec(topic=TOPIC))
        outage = Outage(queue)
        await asyncio.sleep(0)
        server.kill()
        async with asyncio.timeout(10):
            await outage.gone.wait()
        assert not is_up(queue)
        publishing = asyncio.create_task(queue.publish(TOPIC, b"", id="a"))
        counting = asyncio.create_task(queue.dead_counts([TOPIC]))
        await server.start()
        async with asyncio.timeout(10):
            await publishing
            assert await counting == {TOPIC: 0}
            await outage.back.wait()
        assert is_up(queue)
        assert (await queue.backlog([TOPIC]))[TOPIC].queued == 1


async def test_broker_that_stays_away_is_an_error_in_one_line(server: NatsServer) -> None:
    async with connected(server, timeout_s=0.3) as queue:
        await queue.ensure(TopicSpec(topic=TOPIC))
        server.kill()
        with pytest.raises(QueueError, match=rf"^queue 127.0.0.1:{server.port}: does not answer") as failure:
            await queue.publish(TOPIC, b"", id="a")
    assert server.token not in str(failure.value)
    assert "\n" not in str(failure.value)


async def test_nothing_listens_at_the_first_connect(server: NatsServer) -> None:
    server.kill()
    with pytest.raises(QueueError, match="cannot be reached"):
        await NatsQueue.connect(server.url, token=server.token, timeout_s=0.3)


async def test_wrong_token_is_named(server: NatsServer) -> None:
    with pytest.raises(QueueError, match="Authorization Violation"):
        await NatsQueue.connect(server.url, token="wrong", timeout_s=0.3)


async def test_permits_granted_before_and_while_the_broker_was_away_count(server: NatsServer) -> None:
    async with connected(server) as publisher, connected(server) as worker:
        await publisher.ensure(TopicSpec(topic=TOPIC))
        intake = await worker.consume(TOPIC, "w")
        await intake.grant()
        outage = Outage(worker)
        await outage.happens(server)
        server.kill()
        await intake.grant(2)
        await server.start()
        for id in "abcd":
            await publisher.publish(TOPIC, b"", id=id)
        assert [(await taken(intake)).id for _ in range(3)] == ["a", "b", "c"]
        assert (await publisher.backlog([TOPIC]))[TOPIC].queued == 1


async def test_delivery_in_hand_is_acked_after_the_restart(server: NatsServer) -> None:
    async with connected(server) as queue:
        await queue.ensure(TopicSpec(topic=TOPIC))
        intake = await queue.consume(TOPIC, "w")
        await queue.publish(TOPIC, b"", id="a")
        await intake.grant(2)
        got = await taken(intake)
        server.kill()
        acking = asyncio.create_task(intake.ack(got))
        await server.start()
        await acking
        assert (await queue.backlog([TOPIC]))[TOPIC].total == 0


async def test_broker_that_lost_its_store_is_set_up_again(server: NatsServer) -> None:
    """The one who ensured a topic puts it back, and the consumer of another connection goes on."""
    async with connected(server) as owner, connected(server) as worker:
        await owner.ensure(TopicSpec(topic=TOPIC, max_messages=3))
        await owner.ensure(TopicSpec(topic="res-topic"))
        intake = await worker.consume(TOPIC, "w")
        await intake.grant()
        await worker.publish("res-topic", b"", id="a")
        await Outage(owner).happens(server, empty=True)
        await owner.publish(TOPIC, b"after", id="a")
        assert (await taken(intake)).body == b"after"
        await worker.publish("res-topic", b"", id="a")
        assert await owner.dead_counts([TOPIC]) == {TOPIC: 0}


async def test_a_topic_that_somebody_dropped_is_not_put_back(server: NatsServer) -> None:
    async with connected(server) as owner, connected(server) as publisher:
        for queue in (owner, publisher):
            await queue.ensure(TopicSpec(topic=TOPIC))
        await owner.drop(TOPIC)
        publisher.forget(TOPIC)
        await Outage(publisher).happens(server)
        assert await publisher.backlog([TOPIC]) == {}


async def test_ack_for_a_lost_store_hits_no_new_message(server: NatsServer) -> None:
    """Sequences begin at 1 again: the ack of the old first message must not remove the new one."""
    async with connected(server) as queue:
        await queue.ensure(TopicSpec(topic=TOPIC))
        intake = await queue.consume(TOPIC, "w")
        await intake.grant()
        ref = await queue.publish(TOPIC, b"", id="old")
        old = await taken(intake)
        await Outage(queue).happens(server, empty=True)
        await queue.publish(TOPIC, b"", id="new")
        assert not await queue.cancel(ref)
        await intake.grant()
        new = await taken(intake)
        await intake.ack(old)
        assert (await queue.backlog([TOPIC]))[TOPIC].in_flight == 1
        await intake.ack(new)
        assert (await queue.backlog([TOPIC]))[TOPIC].total == 0


async def test_orderly_restart_of_the_broker_is_an_outage_like_any_other(server: NatsServer) -> None:
    async with connected(server) as queue:
        await queue.ensure(TopicSpec(topic=TOPIC))
        intake = await queue.consume(TOPIC, "w")
        await intake.grant()
        server.terminate()
        await server.start()
        await queue.publish(TOPIC, b"", id="a")
        await intake.ack(await taken(intake))


async def test_close_while_the_broker_is_away(server: NatsServer) -> None:
    async with connected(server) as queue:
        await queue.ensure(TopicSpec(topic=TOPIC))
        intake = await queue.consume(TOPIC, "w")
        await intake.grant()
        outage = Outage(queue)
        await asyncio.sleep(0)
        server.kill()
        async with asyncio.timeout(10):
            await outage.gone.wait()
            await queue.close()
            with pytest.raises(QueueError):
                await intake.next()
            with pytest.raises(QueueError, match="closed"):
                await queue.publish(TOPIC, b"", id="a")


async def test_consumer_of_a_topic_that_was_dropped_and_made_again_goes_on(server: NatsServer) -> None:
    async with connected(server) as queue:
        await queue.ensure(TopicSpec(topic=TOPIC))
        intake = await queue.consume(TOPIC, "w")
        await intake.grant()
        async with asyncio.timeout(10):
            while not ((info := await queue._streams.consumer(TOPIC)) and info.num_waiting):
                pass
        await queue.drop(TOPIC)
        await queue.ensure(TopicSpec(topic=TOPIC))
        await queue.publish(TOPIC, b"", id="a")
        await intake.ack(await taken(intake))


async def test_large_messages_pass_and_too_large_ones_are_refused(server: NatsServer) -> None:
    async with connected(server) as queue:
        await queue.ensure(TopicSpec(topic=TOPIC))
        intake = await queue.consume(TOPIC, "w")
        await intake.grant(12)
        body = bytes(4 * 1024 * 1024)
        for n in range(12):
            await queue.publish(TOPIC, body, id=str(n))
        for _ in range(12):
            delivery = await taken(intake)
            assert delivery.body == body
            await intake.ack(delivery)
        with pytest.raises(QueueError, match="takes no message of 8388608 bytes"):
            await queue.publish(TOPIC, bytes(8 * 1024 * 1024), id="x")
        assert is_up(queue)


async def test_the_backlog_of_more_topics_than_a_broker_lists_at_once(server: NatsServer) -> None:
    topics = [f"model-{number}" for number in range(260)]
    async with connected(server) as queue:
        await asyncio.gather(*(queue.ensure(TopicSpec(topic=topic)) for topic in topics))
        await asyncio.gather(*(queue.publish(topic, b"", id="a") for topic in (topics[0], topics[-1])))
        known = await queue.backlog(topics)
    assert known.keys() == set(topics)
    assert [topic for topic in topics if known[topic].queued] == [topics[0], topics[-1]]
