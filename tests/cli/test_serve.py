"""`uplion serve` and the console as processes: who leads, what signals do, ports that are taken."""

from __future__ import annotations

import signal
import socket

import pytest

from console import assets
from tests.cli.box import Box, happens, line, manifest
from tests.cli.test_models import at_terminal


def test_signals_leave_or_stop_the_models_and_a_follower_takes_over(alone: Box) -> None:
    first = alone.serve()
    alone.says("apply", "-f", "-", "--wait", text=manifest("kept", "static:word?tokens=1000&tokens_per_s=20"))
    worker = next(pid for pid, argv in alone.processes().items() if "worker_embed" in argv)
    follower = alone.start("serve")
    assert line(follower, "waiting") == f"uplion serve: pid {first.pid} leads; waiting\n"
    first.send_signal(signal.SIGTERM)
    assert first.wait(20) == 0
    line(follower, "leads")
    assert worker in alone.processes()
    asking = alone.start("chat", "kept", "hi")
    assert asking.stdout is not None
    assert asking.stdout.read(4) == "word"
    follower.send_signal(signal.SIGINT)
    line(follower, "stopping all models")
    follower.send_signal(signal.SIGINT)
    line(follower, "what runs, runs on")
    assert follower.wait(20) == 0
    assert worker in alone.processes()
    asking.kill()
    last = alone.serve()
    last.send_signal(signal.SIGINT)
    assert last.wait(40) == 0
    happens(lambda: not alone.processes())


def test_a_stop_says_who_runs_the_models_again(alone: Box) -> None:
    first = alone.serve()
    second, third = alone.start("serve"), alone.start("serve")
    line(second, f"pid {first.pid} leads; waiting")
    line(third, f"pid {first.pid} leads; waiting")
    first.send_signal(signal.SIGINT)
    took_over = line(first, "stopped, but ").split()[5]
    assert took_over in {str(second.pid), str(third.pid)}
    assert first.wait(20) == 0
    leader, waiting = (second, third) if took_over == str(second.pid) else (third, second)
    assert line(waiting, "waiting") == f"uplion serve: pid {leader.pid} leads; waiting\n"
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(20) == 0
    line(leader, "leads")
    leader.send_signal(signal.SIGINT)
    line(leader, "all models are stopped")


def test_a_follower_that_is_interrupted_stops_nothing(alone: Box) -> None:
    first = alone.serve()
    follower = alone.start("serve")
    line(follower, "waiting")
    follower.send_signal(signal.SIGINT)
    line(follower, "leaving: what runs, runs on")
    assert follower.wait(20) == 0
    assert first.poll() is None


def test_a_taken_port_is_named_by_serve_and_by_doctor(alone: Box) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        serving = alone.serve("--api-port", port)
        said = line(serving, "API: Unreachable")
        assert f"127.0.0.1:{port} is taken by pid " in said
        checks = alone.run("doctor", UPLION_API_PORT=port)
        assert checks.returncode == 1
        assert f"!   API        port {port} is taken by pid " in checks.stdout


def test_an_address_of_another_machine_is_told_as_what_it_is(alone: Box) -> None:
    serving = alone.start("serve", "--api-host", "192.0.2.1")
    foreign = "192.0.2.1 is no address of this machine (Cannot assign requested address); set "
    assert f"no API: {foreign}UPLION_API_HOST; ctrl+c stops" in line(serving, "leads")
    assert f"{foreign}UPLION_API_HOST" in line(serving, "API: Unreachable")
    checks = alone.run("doctor", UPLION_API_HOST="192.0.2.1")
    assert "to do: set api_host in config.toml or UPLION_API_HOST" in checks.stdout


def test_the_console_refuses_a_theme_that_is_not_there(alone: Box) -> None:
    alone.file("config.toml", "theme = 'nope'\n")
    assert "theme: 'nope' is not known; known are " in at_terminal(alone, answer="")


def test_files_that_come_with_the_program() -> None:
    assert "kind: AIModel" in assets.path("samples/smollm2.yaml").read_text()
    with pytest.raises(FileNotFoundError):
        assets.path("no/such/file")
