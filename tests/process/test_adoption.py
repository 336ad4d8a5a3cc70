"""The next leader goes on where the last one stopped, however that was."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from tests.process.bench import DRAINS, Bench, ready, reap, running, shell, until
from worker_embed.process import proc
from worker_embed.process.backoff import Backoff
from worker_embed.process.records import Records
from worker_embed.process.spec import Phase, Stop

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_zombies")]


def leader_that_is_killed(home: Path) -> tuple[int, int]:
    """Pids of what a leader started, one that is to survive it and one that is not; the leader is dead by now."""
    leader = subprocess.Popen([sys.executable, "-m", "tests.process.leader", str(home)], stdout=subprocess.PIPE)
    try:
        assert leader.stdout
        own, tied = map(int, leader.stdout.readline().split())
        assert running(own)
        assert running(tied)
    finally:
        leader.kill()
        leader.communicate()
    return own, tied


async def test_a_child_outlives_its_leader_and_is_adopted_by_the_next(bench: Bench) -> None:
    own, tied = leader_that_is_killed(bench.home)
    await until(lambda: not running(tied))
    assert running(own)
    supervisor = bench.lead()
    await supervisor.adopt()
    assert [(death.id, death.exit) for death in bench.deaths] == [("tied", "exited (status unknown)")]
    adopted = supervisor.states()["own"]
    assert (adopted.pid, adopted.phase, adopted.labels) == (own, Phase.READY, {"model": "default/own"})
    supervisor.run(shell(bench.home, "own", DRAINS))
    assert await ready(supervisor, "own") == own
    assert {pid for pid in bench.processes() if os.getsid(pid) == pid} == {own}
    os.kill(own, signal.SIGKILL)
    await until(lambda: len(bench.deaths) == 2)
    again = await ready(supervisor, "own")
    assert again != own
    await supervisor.retire("own")
    assert bench.processes() == set()


async def test_an_adopted_child_of_another_spec_is_replaced(bench: Bench) -> None:
    own, _ = leader_that_is_killed(bench.home)
    supervisor = bench.lead()
    await supervisor.adopt()
    supervisor.run(shell(bench.home, "own", "true; " + DRAINS))
    await until(lambda: not running(own))
    assert await ready(supervisor, "own") != own
    await supervisor.stop_all()


async def test_an_adopted_child_that_nobody_wants_is_forgotten_when_it_dies(bench: Bench) -> None:
    own, _ = leader_that_is_killed(bench.home)
    supervisor = bench.lead()
    await supervisor.adopt()
    os.kill(own, signal.SIGKILL)
    await until(lambda: not supervisor.states())
    assert "own" in [death.id for death in bench.deaths]
    assert list((bench.home / "run" / "procs").iterdir()) == []


async def test_an_adopted_child_tells_its_own_end(bench: Bench) -> None:
    first = bench.lead()
    end = '{\\"at\\": 1, \\"reason\\": \\"GeneralError\\", \\"message\\": \\"out of memory\\"}\\n'
    spec = shell(bench.home, "a", f"trap \"printf '{end}' >> $EVENTS; exit 1\" TERM; touch $READY; sleep 1000 & wait")
    first.run(spec)
    pid = await ready(first, "a")
    await first.detach()
    os.kill(pid, signal.SIGTERM)
    await until(lambda: not running(pid))
    reap(pid)
    second = bench.lead()
    await second.adopt()
    assert second.states() == {}
    assert [(death.id, death.exit) for death in bench.deaths] == [("a", "GeneralError: out of memory")]


async def test_what_a_dead_child_left_behind_is_ended_by_the_next_leader(bench: Bench) -> None:
    first = bench.lead()
    first.run(shell(bench.home, "a", 'trap "" TERM; sleep 1000 & setsid sleep 1001 & touch "$READY"; wait'))
    pid = await ready(first, "a")
    await until(lambda: len(bench.processes()) == 3)
    await first.detach()
    os.kill(pid, signal.SIGKILL)
    reap(pid)
    assert len(bench.processes()) == 2
    second = bench.lead()
    await second.adopt()
    assert bench.processes() == set()
    assert [death.id for death in bench.deaths] == ["a"]


async def test_a_child_without_a_record_is_ended(bench: Bench) -> None:
    first = bench.lead()
    first.run(shell(bench.home, "a", DRAINS))
    first.run(shell(bench.home, "b", DRAINS))
    a, b = await ready(first, "a"), await ready(first, "b")
    await first.detach()
    (bench.home / "run" / "procs" / "a.json").write_text("not a record")
    second = bench.lead()
    await second.adopt()
    assert not running(a)
    assert running(b)
    assert list(second.states()) == ["b"]
    await second.stop_all()
    reap(a)


async def test_another_home_is_left_alone(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = Bench(tmp_path_factory.mktemp("other"))
    theirs = other.lead()
    try:
        theirs.run(shell(other.home, "a", DRAINS))
        pid = await ready(theirs, "a")
        await bench.lead().adopt()
        assert running(pid)
        await theirs.stop_all()
    finally:
        other.kill_everything()


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process of somebody else's."""
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("wrong", [{"start_ticks": 1}, {"boot_id": "another boot"}, {}])
async def test_a_process_that_got_the_pid_of_ours_is_not_adopted(
    bench: Bench, stranger: subprocess.Popen[bytes], wrong: dict[str, str | int]
) -> None:
    first = bench.lead()
    first.run(shell(bench.home, "a", DRAINS))
    pid = await ready(first, "a")
    records = Records(bench.home / "run" / "procs")
    record = next(records.load())
    await first.detach()
    started = proc.stat(stranger.pid)
    assert started
    theirs = {"state": replace(record.state, pid=stranger.pid), "start_ticks": started.start_ticks}
    records.save(msgspec.structs.replace(record, **{**theirs, **wrong}))
    second = bench.lead()
    await second.adopt()
    assert second.states() == {}
    assert stranger.poll() is None
    assert [death.id for death in bench.deaths] == ["a"]
    reap(pid)


async def test_backoff_goes_on_under_the_next_leader(bench: Bench) -> None:
    backoff = Backoff(first_s=100.0)
    spec = shell(bench.home, "a", "echo no weights; exit 1")
    first = bench.lead(backoff)
    first.run(spec)
    await until(lambda: first.states()["a"].phase is Phase.BACKOFF)
    before = first.states()["a"]
    await first.detach()
    second = bench.lead(backoff)
    await second.adopt()
    assert second.states() == {"a": before}
    assert before.stderr_tail == ("no weights",)
    second.run(spec)
    await second.detach()
    assert len(bench.deaths) == 1
    bench.ahead_s += 101
    third = bench.lead(backoff)
    await third.adopt()
    third.run(spec)
    await until(lambda: len(bench.deaths) == 2)
    await until(lambda: third.states()["a"].phase is Phase.BACKOFF)
    assert third.states()["a"].restarts == 1
    assert next(Records(bench.home / "run" / "procs").load()).crashes == 2
    await third.retire("a")


async def test_a_stop_that_was_begun_is_finished_by_the_next_leader(bench: Bench) -> None:
    first = bench.lead()
    stubborn = 'trap "" TERM; touch "$READY"; sleep 1000'
    spec = shell(bench.home, "a", stubborn, stop=Stop(drain_s=1000.0, kill_s=0.01))
    first.run(spec)
    pid = await ready(first, "a")
    first.restart("a")
    await until(lambda: first.states()["a"].phase is Phase.STOPPING)
    await first.detach()
    assert running(pid)
    second = bench.lead()
    await second.adopt()
    assert second.states()["a"].phase is Phase.STOPPING
    await second.retire("a", drain=False)
    assert bench.processes() == set()


async def test_a_drain_goes_on_undisturbed_under_the_next_leader(bench: Bench) -> None:
    first = bench.lead()
    counts = 'trap "echo >> $READY.asked" TERM; touch "$READY"; until [ -e $READY.go ]; do sleep 0.01; done'
    first.run(shell(bench.home, "a", counts))
    await ready(first, "a")
    asked = bench.home / "a.ready.asked"
    first.restart("a")
    await until(asked.exists)
    await first.detach()
    second = bench.lead()
    await second.adopt()
    retiring = asyncio.create_task(second.retire("a"))
    await asyncio.sleep(0)
    (bench.home / "a.ready.go").touch()
    await retiring
    assert asked.read_text() == "\n"


async def test_detach_ends_only_what_is_tied(bench: Bench) -> None:
    supervisor = bench.lead()
    supervisor.run(shell(bench.home, "own", DRAINS))
    supervisor.run(shell(bench.home, "tied", DRAINS, own_session=False))
    own, tied = await ready(supervisor, "own"), await ready(supervisor, "tied")
    await supervisor.detach()
    assert running(own)
    assert not running(tied)
    assert [path.name for path in (bench.home / "run" / "procs").iterdir()] == ["own.json"]
