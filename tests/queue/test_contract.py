"""What every queue engine promises, asked of each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.queue.server import running_nats
from worker_embed.queue.memory import MemoryBroker, MemoryQueue
from worker_embed.queue.nats import NatsQueue
from worker_embed.queue.port import Backlog, Delivery, Intake, Queue, QueueError, QueueFull, TopicSpec

pytestmark = pytest.mark.anyio

TOPIC = "model-smollm2"
Connect = Callable[[], Awaitable[Queue]]


@pytest.fixture
def lease_s() -> float:
    """How long a delivery is held without `extend`; a test on leases asks for less."""
    return 60.0


@pytest.fixture(params=["memory", "nats"])
async def connect(request: pytest.FixtureRequest, tmp_path: Path, lease_s: float) -> AsyncIterator[Connect]:
    """Makes connections to one broker."""
    connections: list[Queue] = []
    if request.param == "memory":
        broker = MemoryBroker(lease_s=lease_s)

        async def to_memory() -> Queue:
            connections.append(MemoryQueue(broker))
            return connections[-1]

        yield to_memory
    else:
        async with running_nats(tmp_path) as server:

            async def to_nats() -> Queue:
                connections.append(await NatsQueue.connect(server.url, token=server.token, ack_wait_s=lease_s))
                return connections[-1]

            yield to_nats
            for connection in connections:
                await connection.close()


@pytest.fixture
async def queue(connect: Connect) -> Queue:
    made = await connect()
    await made.ensure(TopicSpec(topic=TOPIC))
    return made


async def taken(intake: Intake) -> Delivery:
    """The next message, or a failure after 10 s."""
    async with asyncio.timeout(10):
        return await intake.next()


async def load(queue: Queue, topic: str = TOPIC) -> Backlog:
    return (await queue.backlog([topic]))[topic]


async def counted(queue: Queue, topic: str = TOPIC, **wanted: int) -> None:
    """Return when a topic's figures are these: a broker counts a message a moment after it is safe."""
    figures: dict[str, int] = {}
    try:
        async with asyncio.timeout(10):
            while figures != wanted:
                backlog = await load(queue, topic)
                figures = {name: getattr(backlog, name) for name in wanted}
    except TimeoutError:
        raise AssertionError(f"{topic}: {figures}, not {wanted}") from None


async def put(queue: Queue, *ids: str) -> None:
    for id in ids:
        await queue.publish(TOPIC, id.encode(), id=id)


async def test_message_arrives_as_it_was_published(queue: Queue) -> None:
    await queue.publish(
        TOPIC, b"\x00body", id="a:b", headers={"traceparent": "00-ü", "uplion-node": "ws://x"}, attempt=2
    )
    intake = await queue.consume(TOPIC, "w")
    await intake.grant()
    got = await taken(intake)
    assert (got.id, got.topic, got.body, got.attempt, got.engine_attempt) == ("a:b", TOPIC, b"\x00body", 2, 1)
    assert got.headers == {"traceparent": "00-ü", "uplion-node": "ws://x"}


async def test_same_id_is_stored_once(queue: Queue) -> None:
    first = await queue.publish(TOPIC, b"1", id="a")
    assert await queue.publish(TOPIC, b"1", id="a") == first
    await queue.publish(TOPIC, b"1", id="a", attempt=2)
    await counted(queue, queued=2)


async def test_same_id_on_two_topics_is_two_messages(queue: Queue) -> None:
    await queue.ensure(TopicSpec(topic="res-topic", max_messages=1_000_000))
    await queue.publish(TOPIC, b"task", id="a")
    await queue.publish("res-topic", b"usage", id="a")
    await counted(queue, "res-topic", queued=1)


async def test_full_topic_refuses_and_takes_again_when_there_is_room(queue: Queue) -> None:
    await queue.ensure(TopicSpec(topic="small", max_messages=2))
    intake = await queue.consume("small", "w")
    for id in "ab":
        await queue.publish("small", b"", id=id)
    with pytest.raises(QueueFull):
        await queue.publish("small", b"", id="c")
    await intake.grant()
    await intake.ack(await taken(intake))
    await queue.publish("small", b"", id="c")
    await counted(queue, "small", queued=2)


async def test_full_topic_takes_a_failed_message_back(queue: Queue) -> None:
    await queue.ensure(TopicSpec(topic="small", max_messages=1))
    await queue.publish("small", b"", id="a")
    intake = await queue.consume("small", "w")
    await intake.grant(2)
    await intake.nack(await taken(intake), failed="engine died")
    assert (await taken(intake)).attempt == 2


async def test_nothing_comes_before_a_grant(queue: Queue) -> None:
    intake = await queue.consume(TOPIC, "w")
    await put(queue, "a", "b")
    await counted(queue, queued=2, in_flight=0)
    await intake.grant()
    assert (await taken(intake)).id == "a"
    await counted(queue, queued=1, in_flight=1)


async def test_slow_consumer_holds_no_more_than_it_granted(connect: Connect, queue: Queue) -> None:
    """A second worker helps with the backlog that was there before it."""
    await put(queue, *map(str, range(10)))
    slow = await queue.consume(TOPIC, "slow")
    await slow.grant()
    await taken(slow)
    fast = await (await connect()).consume(TOPIC, "fast")
    for _ in range(9):
        await fast.grant()
        await fast.ack(await taken(fast))
    await counted(queue, queued=0, in_flight=1)


async def test_grants_made_while_nothing_is_queued_are_kept(queue: Queue) -> None:
    intake = await queue.consume(TOPIC, "w")
    await intake.grant(2)
    await intake.grant()
    await put(queue, "a", "b", "c", "d")
    assert sorted([(await taken(intake)).id for _ in range(3)]) == ["a", "b", "c"]
    await counted(queue, queued=1)


async def test_acked_message_is_gone(queue: Queue) -> None:
    await put(queue, "a")
    intake = await queue.consume(TOPIC, "w")
    await intake.grant()
    got = await taken(intake)
    await intake.ack(got)
    await counted(queue, total=0)
    await intake.ack(got)
    await queue.give_back(got.token)
    await counted(queue, total=0)


async def test_given_back_message_comes_again_uncounted(queue: Queue) -> None:
    await put(queue, "a", "b")
    intake = await queue.consume(TOPIC, "w")
    await intake.grant()
    await intake.nack(await taken(intake))
    await counted(queue, total=2)
    await intake.grant()
    again = await taken(intake)
    assert (again.id, again.attempt, again.engine_attempt) == ("a", 1, 2)


async def test_failed_message_comes_again_counted_with_the_reason(queue: Queue) -> None:
    await queue.publish(TOPIC, b"a", id="a", headers={"uplion-node": "ws://x"})
    intake = await queue.consume(TOPIC, "w")
    await intake.grant(2)
    await intake.nack(await taken(intake), failed="engine died")
    again = await taken(intake)
    assert (again.id, again.attempt, again.body) == ("a", 2, b"a")
    assert again.headers == {"uplion-node": "ws://x", "uplion-failed": "engine died"}
    await counted(queue, total=1)


@pytest.mark.parametrize("failed", ["", "engine died"])
async def test_nack_with_delay_waits(queue: Queue, failed: str) -> None:
    await put(queue, "a")
    intake = await queue.consume(TOPIC, "w")
    await intake.grant(2)
    got = await taken(intake)
    loop = asyncio.get_running_loop()
    given_back_at = loop.time()
    await intake.nack(got, delay_s=0.4, failed=failed)
    await counted(queue, total=1)
    again = await taken(intake)
    assert loop.time() - given_back_at >= 0.39
    assert again.attempt == (2 if failed else 1)
    await intake.ack(again)
    await counted(queue, total=0)


@pytest.mark.parametrize("lease_s", [0.6])
async def test_extended_lease_is_kept_and_a_forgotten_one_ends(connect: Connect, queue: Queue, lease_s: float) -> None:
    await put(queue, "kept", "forgotten")
    first = await queue.consume(TOPIC, "first")
    await first.grant(2)
    kept, forgotten = await taken(first), await taken(first)
    second = await (await connect()).consume(TOPIC, "second")
    await second.grant(2)
    other = asyncio.create_task(taken(second))
    while not other.done():
        await first.extend(kept)
        await asyncio.wait([other], timeout=lease_s / 5)
    assert (await other).id == forgotten.id
    await first.ack(kept)
    await first.ack(forgotten)
    await counted(queue, total=0)


async def test_dead_letter_is_listed_requeued_and_discarded(queue: Queue) -> None:
    intake = await queue.consume(TOPIC, "smollm2-x7k2q")
    await queue.publish(TOPIC, b"body", id="a", headers={"uplion-node": "ws://x"}, attempt=3)
    await put(queue, "b")
    await intake.grant(2)
    for _ in range(2):
        await intake.dead(await taken(intake), reason="MaxAttempts", error="exit 1\nCUDA: ü")
    await counted(queue, total=0)
    assert await queue.dead_counts([TOPIC]) == {TOPIC: 2}
    newest, oldest = await queue.dead_letters(TOPIC)
    assert (newest.id, oldest.id) == ("b", "a")
    assert [letter.id for letter in await queue.dead_letters(TOPIC, limit=1)] == ["b"]
    assert await queue.last_dead(TOPIC) == newest
    assert await queue.last_dead("model-other") is None
    assert (oldest.reason, oldest.error, oldest.attempts) == ("MaxAttempts", "exit 1\nCUDA: ü", 3)
    assert (oldest.last_consumer, oldest.body, oldest.topic) == ("smollm2-x7k2q", b"body", TOPIC)

    await queue.requeue(oldest)
    await intake.grant()
    again = await taken(intake)
    assert (again.id, again.attempt, again.body) == ("a", 1, b"body")
    assert again.headers == {"uplion-node": "ws://x"}
    await queue.discard(newest)
    assert await queue.dead_counts([TOPIC]) == {TOPIC: 0}
    assert await queue.dead_letters(TOPIC) == []


async def test_requeued_message_may_die_again_at_once(queue: Queue) -> None:
    intake = await queue.consume(TOPIC, "w")
    await put(queue, "a")
    for _ in range(3):
        await intake.grant()
        await intake.dead(await taken(intake), reason="MaxAttempts", error="")
        (letter,) = await queue.dead_letters(TOPIC)
        await queue.requeue(letter)
    await counted(queue, queued=1)


async def test_same_id_may_die_on_two_topics(queue: Queue) -> None:
    await queue.ensure(TopicSpec(topic="model-other"))
    for topic in (TOPIC, "model-other"):
        await queue.publish(topic, b"", id="a")
        intake = await queue.consume(topic, "w")
        await intake.grant()
        await intake.dead(await taken(intake), reason="MaxAttempts", error="")
    assert await queue.dead_counts([TOPIC, "model-other", "none"]) == {TOPIC: 1, "model-other": 1, "none": 0}


async def test_queued_message_can_be_cancelled_and_a_delivered_one_not(queue: Queue) -> None:
    refs = [await queue.publish(TOPIC, b"", id=id) for id in "abc"]
    intake = await queue.consume(TOPIC, "w")
    await intake.grant()
    await taken(intake)
    assert [await queue.cancel(ref) for ref in refs] == [False, True, True]
    assert [await queue.cancel(ref) for ref in refs] == [False, False, False]
    await counted(queue, queued=0, in_flight=1)


async def test_backlog_tells_queued_in_flight_and_age(queue: Queue) -> None:
    await queue.ensure(TopicSpec(topic="empty"))
    assert await queue.backlog(["empty", "unknown"]) == {"empty": Backlog()}
    await put(queue, "a", "b", "c")
    intake = await queue.consume(TOPIC, "w")
    await intake.grant()
    got = await taken(intake)
    backlog = await load(queue)
    assert (backlog.queued, backlog.in_flight, backlog.total) == (2, 1, 3)
    assert backlog.oldest_age_s is not None
    assert 0 <= backlog.oldest_age_s < 60
    await intake.nack(got, delay_s=60)
    await counted(queue, total=3)


async def test_purge_leaves_what_is_in_flight(queue: Queue) -> None:
    await put(queue, *map(str, range(300)))
    intake = await queue.consume(TOPIC, "w")
    await intake.grant()
    got = await taken(intake)
    assert await queue.purge(TOPIC) == 299
    await counted(queue, queued=0, in_flight=1)
    await intake.nack(got)
    assert await queue.purge(TOPIC) == 1
    await counted(queue, total=0)


async def test_drop_removes_topic_and_dead_letters(queue: Queue) -> None:
    intake = await queue.consume(TOPIC, "w")
    await put(queue, "a", "b")
    await intake.grant()
    await intake.dead(await taken(intake), reason="MaxAttempts", error="")
    await intake.close()
    await queue.drop(TOPIC)
    await queue.drop(TOPIC)
    assert await queue.backlog([TOPIC]) == {}
    assert await queue.dead_counts([TOPIC]) == {TOPIC: 0}
    with pytest.raises(QueueError, match=TOPIC):
        await queue.publish(TOPIC, b"", id="c")
    await queue.ensure(TopicSpec(topic=TOPIC))
    assert await load(queue) == Backlog()


async def test_unknown_topic_is_refused_in_one_line(queue: Queue) -> None:
    with pytest.raises(QueueError, match="nobody has created it"):
        await queue.publish("model-nobody", b"", id="a")
    with pytest.raises(QueueError, match="nobody has created it"):
        await queue.consume("model-nobody", "w")
    assert await queue.dead_letters("model-nobody") == []
    assert await queue.purge("model-nobody") == 0


async def test_delivery_of_a_dead_consumer_is_given_back_by_its_token(connect: Connect, queue: Queue) -> None:
    await put(queue, "a")
    died = await queue.consume(TOPIC, "died")
    await died.grant()
    token = (await taken(died)).token
    supervisor = await connect()
    other = await supervisor.consume(TOPIC, "other")
    await other.grant()
    await supervisor.give_back(token)
    again = await taken(other)
    assert (again.id, again.attempt) == ("a", 1)
    for unknown in ("", "nonsense", "9 9 nowhere", "$JS.ACK.TASKS-nowhere.workers.1.1.1.1.0"):
        await supervisor.give_back(unknown)


@pytest.mark.parametrize(
    "model", ["Qwen/Qwen3-32B.Q4_K_M:latest", "two words\tand *.>", "模型-" * 40, "a%2Fb", "../../etc", "Ünïcödé 🦁"]
)
async def test_any_model_name_makes_a_topic(queue: Queue, model: str) -> None:
    topics = [f"model-{model}", f"model-{model}x"]
    for topic in topics:
        await queue.ensure(TopicSpec(topic=topic))
        await queue.publish(topic, topic.encode(), id="a")
    for topic in topics:
        intake = await queue.consume(topic, "w")
        await intake.grant()
        assert (await taken(intake)).body == topic.encode()


async def test_cancelled_next_loses_nothing(queue: Queue) -> None:
    intake = await queue.consume(TOPIC, "w")
    await intake.grant(50)
    got: list[str] = []

    async def take() -> None:
        got.append((await intake.next()).id)

    for n in range(50):
        waiting = asyncio.create_task(take())
        await asyncio.sleep(0)
        publishing = asyncio.create_task(queue.publish(TOPIC, b"", id=str(n)))
        for _ in range(n % 7):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting, publishing])
    async with asyncio.timeout(10):
        while len(got) < 50:
            await take()
    assert sorted(got, key=int) == [str(n) for n in range(50)]


async def test_closed_intake_gives_back_what_nobody_took(connect: Connect, queue: Queue) -> None:
    await put(queue, "a", "b", "c")
    leaving = await queue.consume(TOPIC, "leaving")
    await leaving.grant(3)
    mine = await taken(leaving)
    await leaving.close()
    with pytest.raises(QueueError, match="closed"):
        await leaving.next()
    other = await (await connect()).consume(TOPIC, "other")
    await other.grant(2)
    assert {(await taken(other)).id, (await taken(other)).id} == {"b", "c"}
    await leaving.ack(mine)
    await counted(queue, total=2)


async def test_closed_intake_wakes_who_waits(queue: Queue) -> None:
    intake = await queue.consume(TOPIC, "w")
    waiting = [asyncio.create_task(intake.next()) for _ in range(2)]
    await asyncio.sleep(0)
    await intake.close()
    await intake.close()
    for task in waiting:
        with pytest.raises(QueueError):
            await task


async def test_lost_ends_with_the_queue(queue: Queue) -> None:
    assert queue.connected

    async def changes() -> list[bool]:
        return [change async for change in queue.lost()]

    listening = asyncio.create_task(changes())
    await asyncio.sleep(0)
    await queue.close()
    async with asyncio.timeout(10):
        assert await listening == []
    assert not queue.connected
