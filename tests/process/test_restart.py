"""What should run is started, becomes ready, and comes back when it dies."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
from dataclasses import replace

import pytest

from tests.process.bench import DRAINS, QUICK, Bench, ready, running, shell, until
from worker_embed.process import keeper
from worker_embed.process.backoff import Backoff
from worker_embed.process.child import Child
from worker_embed.process.spec import Phase

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_zombies")]


async def test_a_child_is_ready_when_its_probe_says_so(bench: Bench) -> None:
    supervisor = bench.lead()
    supervisor.run(shell(bench.home, "a", 'until [ -e "$READY.go" ]; do sleep 0.01; done; touch "$READY"; sleep 1000'))
    await until(lambda: supervisor.states()["a"].pid)
    assert supervisor.states()["a"].phase is Phase.STARTING
    (bench.home / "a.ready.go").touch()
    pid = await ready(supervisor, "a")
    assert os.getsid(pid) == pid
    assert supervisor.states()["a"].ready_s is not None
    await supervisor.stop_all(drain=False)


async def test_a_probe_that_fails_is_asked_again(bench: Bench) -> None:
    answers = iter([ConnectionError("refused"), ValueError("half an answer"), None])

    async def probe() -> bool:
        if error := next(answers):
            raise error
        return True

    supervisor = bench.lead()
    supervisor.run(replace(shell(bench.home, "a", DRAINS), ready=probe))
    await ready(supervisor, "a")
    await supervisor.stop_all()


async def test_a_steady_child_that_is_killed_comes_back_at_once(bench: Bench) -> None:
    supervisor = bench.lead(Backoff(first_s=1000.0))
    supervisor.run(shell(bench.home, "a", DRAINS))
    first = await ready(supervisor, "a")
    (bench.home / "a.ready").unlink()
    bench.ahead_s += 11
    os.kill(first, signal.SIGKILL)
    await until(lambda: bench.deaths)
    second = await ready(supervisor, "a")
    state = supervisor.states()["a"]
    assert second != first
    assert (state.restarts, state.exit) == (1, "SIGKILL")
    assert [death.phase for death in bench.deaths] == [Phase.CRASHED]
    assert bench.phases("a") == [Phase.STARTING, Phase.READY, Phase.CRASHED, Phase.STARTING, Phase.READY]
    await supervisor.stop_all()


async def test_a_crash_ends_what_the_child_left_behind_before_the_next_start(bench: Bench) -> None:
    supervisor = bench.lead()
    supervisor.run(shell(bench.home, "a", 'trap "" TERM; sleep 1000 & setsid sleep 1001 & touch "$READY"; wait'))
    pid = await ready(supervisor, "a")
    await until(lambda: len(bench.processes()) == 3)
    left_behind = bench.processes() - {pid}
    os.kill(pid, signal.SIGKILL)
    await until(lambda: bench.deaths)
    assert not any(running(pid) for pid in left_behind)
    await supervisor.stop_all(drain=False)


async def test_a_crash_loop_backs_off_and_says_why(bench: Bench) -> None:
    supervisor = bench.lead()
    supervisor.run(shell(bench.home, "a", "echo loading; echo fp8 needs sm_89 >&2; exit 3"))
    await until(lambda: supervisor.states()["a"].restarts >= 3)
    waits = [state for state in bench.told if state.phase is Phase.BACKOFF]
    assert {(state.exit, state.stderr_tail) for state in waits} == {("exit 3", ("loading", "fp8 needs sm_89"))}
    assert all(state.next_try_s and state.pid is None for state in waits)
    await supervisor.stop_all()
    assert bench.last("a", Phase.GONE).restarts == len(bench.deaths) - 1
    assert supervisor.states() == {}


def test_backoff_doubles_up_to_its_end() -> None:
    backoff = Backoff()
    assert [backoff.delay_s(crashes) for crashes in range(11)] == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert backoff.delay_s(10_000) == 300


async def test_what_cannot_be_started_says_so_and_is_tried_again(bench: Bench) -> None:
    supervisor = bench.lead()
    spec = shell(bench.home, "a", "")
    supervisor.run(replace(spec, argv=("/no/such/engine", "--serve")))
    await until(lambda: supervisor.states()["a"].restarts >= 2)
    assert bench.last("a", Phase.BACKOFF).exit == "cannot start: /no/such/engine: No such file or directory"
    assert bench.deaths == []
    supervisor.run(shell(bench.home, "a", DRAINS))
    await ready(supervisor, "a")
    await supervisor.stop_all()


async def test_a_child_that_cannot_be_watched_is_not_left_behind(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(pid: int) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    supervisor = bench.lead()
    with monkeypatch.context() as old_kernel:
        old_kernel.setattr(os, "pidfd_open", refused)
        supervisor.run(shell(bench.home, "a", DRAINS))
        await until(lambda: Phase.BACKOFF in bench.phases("a"))
        await until(lambda: not bench.processes())  # between two tries; one left behind would stay
    await ready(supervisor, "a")
    await supervisor.stop_all()


async def test_a_tied_child_that_cannot_be_started_says_so(bench: Bench) -> None:
    supervisor = bench.lead()
    supervisor.run(replace(shell(bench.home, "a", "", own_session=False), argv=("/no/such/engine",)))
    await until(lambda: bench.deaths)
    assert bench.deaths[0].stderr_tail == ("cannot start: /no/such/engine: No such file or directory",)
    await supervisor.stop_all()


async def test_changes_are_told_line_by_line(bench: Bench) -> None:
    line = '{\\"at\\": %d, \\"reason\\": \\"%s\\"}\\n'
    script = f'printf "{line % (1, "Loading")}{line % (2, "GeneralError")}" >> "$EVENTS"; ' + DRAINS
    supervisor = bench.lead()
    supervisor.run(shell(bench.home, "a", script))
    await until(lambda: (change := supervisor.states()["a"].change) and change.reason == "GeneralError")
    assert "Loading" in [state.change.reason for state in bench.told if state.change]
    await supervisor.stop_all()
    assert not (bench.home / "a.events").exists()


async def test_an_owner_that_fails_does_not_end_the_watch(bench: Bench) -> None:
    supervisor = bench.lead()
    bench.owner_fails = True
    supervisor.run(shell(bench.home, "a", "exit 1"))
    await until(lambda: supervisor.states()["a"].restarts >= 2)
    await supervisor.stop_all()


async def test_children_see_no_secret_of_ours(bench: Bench) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "LC_ALL": "C.UTF-8",
        "HF_HOME": "/weights",
        "https_proxy": "http://proxy:3128",
        "NO_PROXY": "localhost",
        "AWS_SECRET_ACCESS_KEY": "hunter2",
        "OPENAI_API_KEY": "hunter2",
        "UPLION_CHILD": "of-another",
    }
    supervisor = bench.lead(environ=environ)
    supervisor.run(shell(bench.home, "a", 'env > "$READY.env"; touch "$READY"; sleep 1000'))
    await ready(supervisor, "a")
    seen = (bench.home / "a.ready.env").read_text()
    passed = ("LC_ALL=C.UTF-8", "HF_HOME=/weights", "https_proxy=http://proxy:3128", "NO_PROXY=localhost")
    for line in (*passed, "UPLION_CHILD=a", f"UPLION_HOME={bench.home}"):
        assert f"{line}\n" in seen
    assert "hunter2" not in seen
    record = (bench.home / "run" / "procs" / "a.json").read_text()
    assert "READY" not in record
    assert "proxy" not in record
    await supervisor.stop_all(drain=False)


async def test_only_the_owner_reads_logs_and_records(bench: Bench) -> None:
    supervisor = bench.lead(QUICK)
    supervisor.run(shell(bench.home, "a", DRAINS))
    await ready(supervisor, "a")
    for path in (bench.home / "a.log", bench.home / "run" / "procs" / "a.json"):
        assert path.stat().st_mode & 0o777 == 0o600
    await supervisor.stop_all()


async def test_what_could_not_be_started_for_want_of_files_is_started_once_there_are_some(bench: Bench) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    supervisor = bench.lead()
    supervisor.run(shell(bench.home, "a", 'echo >> "$READY.tries"; [ -e "$READY.go" ] && touch "$READY" && sleep 1000'))
    await until(lambda: "a" in [death.id for death in bench.deaths])
    held = [os.open("/dev/null", os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(held) + 1, hard))
    try:
        starts = len(bench.told)
        await until(lambda: len(bench.told) > starts + 4)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(held[0])
    (bench.home / "a.ready.go").touch()
    await ready(supervisor, "a")
    await supervisor.stop_all()


async def test_a_failure_in_the_keeping_of_a_child_costs_a_moment_and_not_the_child(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = bench.lead()
    monkeypatch.setattr(keeper, "_AGAIN_S", 0.01)

    def full(*_: object) -> set[int]:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        supervisor.run(shell(bench.home, "a", DRAINS))
        pid = await ready(supervisor, "a")
        patched.setattr(Child, "_others", full)
        os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.05)
        assert bench.deaths == []
    await until(lambda: bench.deaths)
    assert await ready(supervisor, "a") != pid
    await supervisor.stop_all()


async def test_a_wait_ends_when_the_clock_on_the_wall_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_LOOK_S", 0.01)
    supervisor = bench.lead(Backoff(first_s=100.0))
    supervisor.run(shell(bench.home, "a", "exit 1"))
    await until(lambda: supervisor.states()["a"].phase is Phase.BACKOFF)
    bench.ahead_s += 101
    await until(lambda: len(bench.deaths) == 2)
    await supervisor.retire("a")
