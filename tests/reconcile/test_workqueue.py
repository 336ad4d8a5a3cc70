"""Keys to reconcile: once at a time, never lost, later after failures."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operator_embed.workqueue import WorkQueue
from tests.clock import Clock

pytestmark = pytest.mark.anyio


@pytest.fixture
def queue(clock: Clock) -> WorkQueue:
    return WorkQueue(clock, jitter=lambda: 1.0)


async def nothing(queue: WorkQueue) -> bool:
    """Whether `take` has nothing to give."""
    taking = asyncio.ensure_future(queue.take())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if taking.done():
        queue.done(taking.result())
        return False
    taking.cancel()
    return True


async def test_a_key_added_often_is_taken_once(queue: WorkQueue) -> None:
    for _ in range(5):
        queue.add("a")
    assert await queue.take() == "a"
    queue.done("a")
    assert await nothing(queue)


async def test_a_key_added_while_it_is_worked_on_comes_again(queue: WorkQueue) -> None:
    queue.add("a")
    await queue.take()
    queue.add("a")
    assert await nothing(queue), "two workers would have the same key"
    queue.done("a")
    assert await queue.take() == "a"


async def test_failures_back_off_and_a_success_forgets_them(queue: WorkQueue, clock: Clock) -> None:
    waits = []
    for _ in range(14):
        queue.add("a")
        await queue.take()
        queue.done("a", failed=True)
        waits.append(round(queue._when["a"] - clock.now_s, 3))
        clock.now_s = queue._when["a"]
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert waits[-1] == 300
    await queue.take()
    queue.done("a")
    queue.add("a")
    assert await queue.take() == "a"
    queue.done("a", failed=True)
    assert queue._when["a"] - clock.now_s == pytest.approx(0.1)


async def test_a_sooner_time_wins(queue: WorkQueue, clock: Clock) -> None:
    queue.add("a", 60)
    queue.add("a", 5)
    queue.add("a", 30)
    clock.now_s += 5
    assert await queue.take() == "a"
    queue.done("a")
    clock.now_s += 95
    assert await nothing(queue)


async def test_waiting_ends_when_something_is_added() -> None:
    queue = WorkQueue(asyncio.get_running_loop().time)
    taking = asyncio.ensure_future(queue.take())
    await asyncio.sleep(0)
    queue.add("a")
    async with asyncio.timeout(5):
        assert await taking == "a"


@given(
    adds=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([0.0, 0.0, 1.0, 7.0])), max_size=40),
    fails=st.lists(st.booleans(), min_size=1, max_size=20),
)
@settings(deadline=None)
def test_no_key_is_lost_or_worked_on_twice_at_once(adds: list[tuple[str, float]], fails: list[bool]) -> None:
    asyncio.run(worked_on(adds, fails))


async def worked_on(adds: list[tuple[str, float]], fails: list[bool]) -> None:
    """Several workers share a queue while keys are added; after the last one time runs until nothing is due."""
    clock = Clock()
    queue = WorkQueue(clock, jitter=lambda: 1.0)
    busy, newest, done = set[str](), dict[str, int](), dict[str, int]()

    async def work() -> None:
        for turn in itertools.count():
            key = await queue.take()
            assert key not in busy
            busy.add(key)
            seen = newest[key]
            await asyncio.sleep(0)
            busy.discard(key)
            failed = fails[turn % len(fails)] and turn < len(fails)
            if not failed:
                done[key] = seen
            queue.done(key, failed=failed)

    workers = [asyncio.create_task(work()) for _ in range(3)]
    try:
        for number, (key, after_s) in enumerate(adds):
            newest[key] = number
            queue.add(key, after_s)
            if number % 3 == 0:
                await asyncio.sleep(0)
        async with asyncio.timeout(10):
            while done != newest:
                clock.now_s += 1.0
                queue._changed.set()
                for _ in range(4):
                    await asyncio.sleep(0)
        assert not any(worker.done() for worker in workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
