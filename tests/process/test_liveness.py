"""A child that runs and does not answer is told to be silent, killed, and started again; one that comes back is not."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from dataclasses import replace

import pytest

from tests.process.bench import Bench, ready, shell, until
from worker_embed.process import proc
from worker_embed.process.liveness import TICK_S, Probe, answers, awake
from worker_embed.process.spec import Phase, ProcessSpec
from worker_embed.process.supervisor import Supervisor

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_zombies")]

BEATS = 'touch "$READY"; while :; do sleep 0.01; done'
"""Goes to sleep again and again, as a loop with timers does."""


def watched(bench: Bench, supervisor: Supervisor) -> ProcessSpec:
    """A child `a` that is looked at for ever."""

    def pid() -> int | None:
        state = supervisor.states().get("a")
        return state.pid if state else None

    return replace(shell(bench.home, "a", BEATS), alive=awake(pid))


async def test_a_frozen_child_is_killed_and_comes_back(bench: Bench) -> None:
    supervisor = bench.lead()
    supervisor.run(watched(bench, supervisor))
    frozen = await ready(supervisor, "a")
    os.kill(frozen, signal.SIGSTOP)
    await until(lambda: supervisor.states()["a"].silent_s)
    state = supervisor.states()["a"]
    assert (state.phase, state.pid) == (Phase.READY, frozen)
    assert 0 <= time.time() - (state.silent_s or 0.0) < 60
    await until(lambda: bench.deaths)
    assert bench.deaths[0].exit == "killed after 1 s without an answer"
    assert bench.deaths[0].silent_s is None
    assert await ready(supervisor, "a") != frozen
    await supervisor.stop_all(drain=False)


async def test_a_child_with_its_hands_full_is_left_alone() -> None:
    busy = await asyncio.create_subprocess_exec(sys.executable, "-c", "while True: pass")
    try:
        await until(lambda: (found := proc.stat(busy.pid)) and found.cpu_s > 0.2)
        probe = awake(lambda: busy.pid)
        assert await probe()
        assert await answers("busy", probe, 4 * TICK_S)
    finally:
        busy.kill()
        await busy.wait()


async def test_a_child_that_answers_again_is_left_alone(bench: Bench) -> None:
    supervisor = bench.lead()
    supervisor.run(watched(bench, supervisor))
    pid = await ready(supervisor, "a")
    os.kill(pid, signal.SIGSTOP)
    await until(lambda: supervisor.states()["a"].silent_s)
    os.kill(pid, signal.SIGCONT)
    await until(lambda: supervisor.states()["a"].silent_s is None)
    assert supervisor.states()["a"].pid == pid
    assert bench.deaths == []
    await supervisor.stop_all(drain=False)


async def test_a_frozen_child_that_was_adopted_is_found(bench: Bench) -> None:
    before = bench.lead()
    before.run(shell(bench.home, "a", BEATS))
    frozen = await ready(before, "a")
    os.kill(frozen, signal.SIGSTOP)
    await before.detach()
    supervisor = bench.lead()
    await supervisor.adopt()
    supervisor.run(watched(bench, supervisor))
    await until(lambda: bench.deaths)
    assert await ready(supervisor, "a") != frozen
    await supervisor.stop_all(drain=False)


async def test_a_child_that_drains_owes_no_answer(bench: Bench) -> None:
    supervisor = bench.lead()
    says = r'printf "{\"at\": 1, \"reason\": \"Draining\"}\n" >> "$EVENTS"; '

    async def before_it_drains() -> bool:
        return supervisor.states()["drains"].change is None

    supervisor.run(replace(shell(bench.home, "drains", says + BEATS), alive=before_it_drains))
    await until(lambda: supervisor.states()["drains"].change)
    supervisor.run(replace(shell(bench.home, "silent", BEATS), alive=never()))
    await until(lambda: bench.deaths)
    assert [death.id for death in bench.deaths] == ["silent"]
    assert supervisor.states()["drains"].silent_s is None
    await supervisor.stop_all(drain=False)


def never() -> Probe:
    async def probe() -> bool:
        return False

    return probe


async def test_silence_is_not_counted_while_our_own_loop_is_held_up() -> None:
    asking = asyncio.create_task(answers("a", never(), 2 * TICK_S))
    for _ in range(4):
        time.sleep(3 * TICK_S)  # noqa: ASYNC251 - a machine that has no time for us
        for _ in range(3):
            await asyncio.sleep(0)
    assert not asking.done()
    async with asyncio.timeout(10):
        assert await asking is False


async def test_a_late_answer_counts() -> None:
    asked = 0

    async def probe() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    assert await answers("a", probe, 5.0)


def test_who_cannot_be_looked_at_is_not_accused() -> None:
    assert proc.pulse(2**22 + 1) is None
    assert asyncio.run(_twice(awake(lambda: 2**22 + 1))) == (True, True)
    assert asyncio.run(_twice(awake(lambda: None))) == (True, True)


async def _twice(probe: Probe) -> tuple[bool, bool]:
    return bool(await probe()), bool(await probe())
