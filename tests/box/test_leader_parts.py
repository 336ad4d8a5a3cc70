"""What a leader is made of: parts that begin again, notes that may be junk, a queue that comes and goes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from operator_embed.box.broker import Broker
from operator_embed.box.notes import Note, leave, take_up
from operator_embed.box.parts import for_ever
from operator_embed.box.store import Deposed, StoreError
from operator_embed.box.telemetry import Telemetry
from tests.box.rig import leading
from worker_embed.gpu.rings import Rings
from worker_embed.queue import memory
from worker_embed.queue.memory import MemoryQueue
from worker_embed.queue.port import QueueError, TopicSpec

pytestmark = pytest.mark.anyio


async def test_a_part_that_fails_begins_again_and_one_that_is_done_is_done() -> None:
    failures = [RuntimeError("a bug"), StoreError("disk full"), None]

    async def part() -> None:
        if failure := failures.pop(0):
            raise failure

    async with asyncio.timeout(10):
        await for_ever("part", part)
    assert failures == []


async def test_a_newer_leader_ends_all_parts() -> None:
    async def part() -> None:
        raise Deposed("another leads")

    with pytest.raises(Deposed):
        await for_ever("part", part)


async def test_a_part_that_fails_while_it_is_cancelled_ends() -> None:
    waits = asyncio.Event()

    async def part() -> None:
        try:
            waits.set()
            await asyncio.Event().wait()
        finally:
            raise OSError("the socket cannot be removed")

    task = asyncio.create_task(for_ever("part", part))
    await waits.wait()
    task.cancel()
    async with asyncio.timeout(10):
        await task


class Hanging(MemoryQueue):
    """A queue that does not answer, and refuses whoever gives up."""

    def __init__(self) -> None:
        super().__init__(memory.MemoryBroker())
        self.asked = asyncio.Event()

    async def ensure(self, spec: TopicSpec) -> None:
        self.asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise QueueError("the broker is away")


async def test_a_pass_that_fails_while_it_is_cancelled_is_the_last() -> None:
    queue = Hanging()
    async with leading(queue) as rig:
        rig.apply("m")
        await queue.asked.wait()
        for task in rig.tasks:
            task.cancel()
        async with asyncio.timeout(10):
            await asyncio.gather(*rig.tasks, return_exceptions=True)
        rig.tasks.clear()


async def test_notes_go_to_the_next_leader_and_junk_is_as_good_as_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with leading() as rig:
        taken: list[str] = []
        good = Note("good", lambda: "one", taken.append)
        windows = Note("windows", lambda: "[]", rig.controller.load)
        rings = Note("rings", lambda: "zz", lambda text: Rings().load(bytes.fromhex(text)))
        leave(rig.store, [windows, rings, good])
        with caplog.at_level(logging.WARNING):
            take_up(rig.store, [windows, rings, good])
        assert taken == ["one"]
        assert [record.getMessage().split()[0] for record in caplog.records] == ["windows", "rings"]


async def test_notes_that_cannot_be_kept_keep_nobody_from_leaving() -> None:
    async with leading() as rig:
        rig.store._connection.execute("PRAGMA query_only = 1")
        leave(rig.store, [Note("x", lambda: "1", print)])
        rig.store._connection.execute("PRAGMA query_only = 0")
        assert rig.store.soft("x") is None


async def test_the_autoscalers_memory_goes_to_the_next_leader() -> None:
    async with leading() as rig, leading() as successor:
        rig.apply("m", msg_backlog_threshold=1, max_replicas=3)
        await rig.runs("m")
        await rig.poll()
        successor.controller.load(exported := rig.controller.export())
        assert successor.controller.export() == exported
        assert "default/m" in exported


class Away(MemoryQueue):
    """A queue that is away until it `comes`."""

    def __init__(self) -> None:
        super().__init__(memory.MemoryBroker())
        self.up = False
        self.news: asyncio.Queue[bool] = asyncio.Queue()

    @property
    def connected(self) -> bool:
        return self.up

    def comes(self) -> None:
        self.up = True
        self.news.put_nowait(True)

    async def give_back(self, token: str) -> None:
        if not self.up:
            raise QueueError("away")
        await super().give_back(token)

    async def lost(self) -> AsyncIterator[bool]:
        while True:
            yield await self.news.get()


@pytest.fixture
def broker(tmp_path: Path) -> Broker:
    return Broker("nats://127.0.0.1:1", tmp_path / "token", Telemetry(Rings()), lambda: 1_000.0, lambda up: None)


async def until(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not happened():
            await asyncio.sleep(0.002)


async def test_what_a_dead_worker_held_goes_back_once_the_queue_is_there(broker: Broker, tmp_path: Path) -> None:
    queue = broker.queue = Away()
    await queue.ensure(TopicSpec(topic="t"))
    intake = await queue.consume("t", "dead")
    await intake.grant()
    await queue.publish("t", b"task", id="1")
    delivery = await intake.next()
    inflight = tmp_path / "w.inflight"
    inflight.write_text(f"+{delivery.token}\n+unknown\n")
    following = asyncio.create_task(broker.run(lambda queue: None))
    try:
        await broker.orphan(inflight)
        assert not inflight.exists()
        assert (await queue.backlog(["t"]))["t"].in_flight == 1
        queue.comes()
        other = await queue.consume("t", "alive")
        await other.grant()
        async with asyncio.timeout(10):
            assert (await other.next()).id == "1"
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_requests_that_were_given_up_are_news_once(broker: Broker) -> None:
    queue = broker.queue = Away()
    queue.up = True
    await queue.ensure(TopicSpec(topic="t"))
    intake = await queue.consume("t", "worker")

    async def given_up(id: str) -> None:
        await intake.grant()
        await queue.publish("t", b"", id=id)
        await intake.dead(await intake.next(), reason="Attempts", error=f"no answer to {id}")

    await given_up("before this leader")
    counted, causes = [], []
    for id in ("1", "2", None):
        broker._dead_s = 0.0
        counted.append(await broker.poll(["t"]))
        causes.append(broker.telemetry.last_dead["t"].error)
        if id:
            await given_up(id)
    assert counted == [{}, {"t": 1}, {"t": 1}]
    assert causes == ["no answer to before this leader", "no answer to 1", "no answer to 2"]
    assert broker.telemetry.dead == {"t": 3}
    broker._dead_s = 0.0
    await broker.poll([])
    assert broker.telemetry.dead == {}, "a topic that is gone is forgotten"


async def test_a_silent_queue_leaves_figures_to_grow_old(broker: Broker) -> None:
    queue = broker.queue = Away()
    assert await broker.poll(["t"]) == {}
    assert broker.telemetry.backlog_s == 0.0
    queue.up = True
    await broker.poll(["t"])
    assert broker.telemetry.backlog_s == 1_000.0
