"""Processes that a user ends: the one that was meant, or none."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from operator_embed.box.box_models import BoxModels
from operator_embed.box.gpu_kill import BoxGpus
from operator_embed.box.home import Home
from operator_embed.box.store import Store
from operator_embed.fleet.fleet import ContextView, FleetError, FleetView
from operator_embed.fleet.gpus import GpuPanel, GpuProcessView
from operator_embed.fleet.models import ReplicaView
from worker_embed.process.environment import marks

pytestmark = pytest.mark.anyio

LED = FleetView(context=ContextView(leader_pid=1))


def seen(pid: int) -> FleetView:
    return replace(
        LED,
        replicas=(ReplicaView(key="m-aaaaa", version=1, model="default/m", pid=pid),),
        gpu_processes=(GpuProcessView(key=str(pid), version=1, gpus="0", pid=pid, user="us", name="x", ours=False),),
    )


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="up", dir="/tmp") as folder:
        yield Path(folder)


def waiting(env: dict[str, str]) -> subprocess.Popen[bytes]:
    """A process that reads until it is ended, once it runs."""
    code = "import sys; print(flush=True); sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", code], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


@pytest.mark.parametrize("mark", [{}, {"id": "m-bbbbb"}, {"id": "m-aaaaa", "home": "/tmp"}])
async def test_a_pid_that_another_process_has_by_now_is_left_alone(home: Path, mark: dict[str, str]) -> None:
    env = marks(mark["id"], Path(mark.get("home", home))) if mark else {}
    other = waiting(env)
    store = Store(Home(home))
    try:
        models = BoxModels(home, lambda: store, lambda: seen(other.pid))
        for end in (models.kill, models.restart_replica):
            with pytest.raises(FleetError, match="m-aaaaa: it has ended"):
                await end("m-aaaaa")
        assert other.poll() is None
    finally:
        other.kill()
        other.communicate()
        store.close()


async def test_the_replica_that_was_meant_is_killed(home: Path) -> None:
    replica = waiting(marks("m-aaaaa", home))
    store = Store(Home(home))
    try:
        await BoxModels(home, lambda: store, lambda: seen(replica.pid)).kill("m-aaaaa")
        assert replica.wait(10) == -9
        assert [event.reason for event in store.events()] == ["KillAsked"]
    finally:
        replica.kill()
        replica.communicate()
        store.close()


@pytest.mark.parametrize("old", [FleetView(), replace(LED, gpu_panel=GpuPanel(stale=True))])
async def test_what_was_on_a_gpu_once_is_not_killed_by_its_number(old: FleetView) -> None:
    process = waiting({})
    try:
        view = seen(process.pid)
        with pytest.raises(FleetError, match="nobody knows"):
            await BoxGpus(lambda: replace(old, gpu_processes=view.gpu_processes)).kill(process.pid)
        assert process.poll() is None
        await BoxGpus(lambda: view).kill(process.pid)
        assert process.wait(10) == -9
    finally:
        process.kill()
        process.communicate()
