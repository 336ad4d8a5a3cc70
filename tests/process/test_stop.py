"""What should no longer run is asked first and killed last, with all that it started."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.process.bench import DRAINS, DRAINS_LATE, STUBBORN, Bench, ready, running, shell, until
from worker_embed.process.backoff import Backoff
from worker_embed.process.spec import Phase, Stop

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_zombies")]


async def test_retire_lets_a_child_drain(bench: Bench) -> None:
    supervisor = bench.lead()
    supervisor.run(shell(bench.home, "a", DRAINS))
    pid = await ready(supervisor, "a")
    await supervisor.retire("a")
    assert not running(pid)
    assert (bench.home / "a.log").read_text() == "drained\n"
    assert bench.phases("a") == [Phase.STARTING, Phase.READY, Phase.STOPPING, Phase.GONE]
    assert [(death.exit, death.phase) for death in bench.deaths] == [("exit 0", Phase.STOPPING)]
    assert list((bench.home / "run" / "procs").iterdir()) == []
    assert bench.processes() == set()


async def test_retire_kills_a_family_that_ignores_it(bench: Bench) -> None:
    supervisor = bench.lead()
    supervisor.run(shell(bench.home, "a", STUBBORN, stop=Stop(drain_s=0.05, kill_s=0.05)))
    await ready(supervisor, "a")
    await until(lambda: len(bench.processes()) >= 2)
    await supervisor.retire("a")
    assert bench.processes() == set()
    assert bench.deaths[0].exit == "SIGKILL"


async def test_after_the_drain_the_whole_group_is_asked(bench: Bench) -> None:
    engine = """sh -c 'trap "echo engine asked; exit" TERM; touch "$READY"; sleep 1000 & wait' & trap "" TERM; wait"""
    supervisor = bench.lead()
    supervisor.run(shell(bench.home, "a", engine, stop=Stop(drain_s=0.05, kill_s=5.0)))
    await ready(supervisor, "a")
    await supervisor.retire("a")
    assert (bench.home / "a.log").read_text() == "engine asked\n"


async def test_a_drain_can_be_cut_short(bench: Bench) -> None:
    supervisor = bench.lead()
    supervisor.run(shell(bench.home, "a", STUBBORN, stop=Stop(drain_s=1000.0, kill_s=0.01)))
    await ready(supervisor, "a")
    drained = asyncio.create_task(supervisor.retire("a"))
    await until(lambda: supervisor.states()["a"].phase is Phase.STOPPING)
    await supervisor.retire("a", drain=False)
    await drained
    assert bench.processes() == set()


async def test_kill_is_a_crash_with_a_known_reason(bench: Bench) -> None:
    supervisor = bench.lead()
    supervisor.run(shell(bench.home, "a", STUBBORN, stop=Stop(kill_s=0.01)))
    first = await ready(supervisor, "a")
    supervisor.kill("a")
    await until(lambda: supervisor.states()["a"].restarts == 1)
    assert await ready(supervisor, "a") != first
    assert supervisor.states()["a"].exit == "killed by an operator"
    await supervisor.stop_all(drain=False)


async def test_restart_drains_and_starts_again(bench: Bench) -> None:
    supervisor = bench.lead()
    supervisor.run(shell(bench.home, "a", DRAINS))
    first = await ready(supervisor, "a")
    supervisor.restart("a")
    await until(lambda: bench.deaths)
    assert await ready(supervisor, "a") != first
    assert supervisor.states()["a"].restarts == 0
    assert (bench.home / "a.log").read_text() == "drained\n"
    await supervisor.stop_all()


async def test_restart_does_not_wait_for_the_next_try(bench: Bench) -> None:
    supervisor = bench.lead(Backoff(first_s=1000.0))
    supervisor.run(shell(bench.home, "a", 'test -e "$READY" || exit 1; ' + DRAINS))
    await until(lambda: supervisor.states()["a"].phase is Phase.BACKOFF)
    (bench.home / "a.ready").touch()
    supervisor.restart("a")
    await ready(supervisor, "a")
    await supervisor.stop_all()


async def test_retire_ends_the_waiting_for_the_next_try(bench: Bench) -> None:
    supervisor = bench.lead(Backoff(first_s=1000.0))
    supervisor.run(shell(bench.home, "a", "exit 1"))
    await until(lambda: supervisor.states()["a"].phase is Phase.BACKOFF)
    await supervisor.retire("a")
    assert supervisor.states() == {}
    assert len(bench.deaths) == 1


async def test_a_changed_spec_replaces_the_child(bench: Bench) -> None:
    supervisor = bench.lead()
    spec = shell(bench.home, "a", DRAINS)
    supervisor.run(spec)
    first = await ready(supervisor, "a")
    changed = replace(spec, env={**spec.env, "SLOTS": "4"})
    supervisor.run(changed)
    await until(lambda: supervisor.states()["a"].spec_hash == changed.spec_hash)
    second = await ready(supervisor, "a")
    assert second != first
    assert not running(first)
    supervisor.run(replace(changed, labels={"model": "default/b"}))
    assert await ready(supervisor, "a") == second
    assert supervisor.states()["a"].labels == {"model": "default/b"}
    await supervisor.stop_all()


async def test_run_during_a_retirement_starts_it_afresh(bench: Bench) -> None:
    supervisor = bench.lead()
    spec = shell(bench.home, "a", DRAINS_LATE)
    supervisor.run(spec)
    first = await ready(supervisor, "a")
    retired = asyncio.create_task(supervisor.retire("a"))
    await until(lambda: supervisor.states()["a"].phase is Phase.STOPPING)
    supervisor.run(spec)
    (bench.home / "a.ready.go").touch()
    await retired
    assert not running(first)
    assert await ready(supervisor, "a") != first
    await supervisor.stop_all()


async def test_ids_that_are_gone_are_no_error(bench: Bench) -> None:
    supervisor = bench.lead()
    await supervisor.retire("a")
    supervisor.kill("a")
    supervisor.restart("a")
