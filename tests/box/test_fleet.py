"""A box as a console sees it while nobody leads it, or somebody who is not understood or says nothing."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from operator_embed.aimodel import AIModel, Spec, Status
from operator_embed.box.events import Event
from operator_embed.box.fleet import BoxFleet
from operator_embed.box.home import Home
from operator_embed.box.link import PROTOCOL, Hello, Second, ViewServer
from operator_embed.box.lock import Lock
from operator_embed.box.store import Store
from operator_embed.fleet.fleet import ContextView, FleetView
from operator_embed.fleet.gpus import GpuView
from operator_embed.fleet.models import ModelView, ReplicaView, State
from operator_embed.fleet.queues import QueueView
from worker_embed.gpu.rings import Rings

pytestmark = pytest.mark.anyio

LIVE = FleetView(
    context=ContextView(headline="live", leader_pid=4711),
    models=(ModelView(key="default/m", name="m", version=7, state=State.RUNNING, ready=2, backlog=41, generation=1),),
    replicas=(ReplicaView(key="m-aaaaa", model="default/m", version=7, state="Ready"),),
    queues=(QueueView(key="model-m", model="default/m", name="m", version=7),),
    gpus=(GpuView(key="GPU-0", index=0, name="A100", version=7),),
    at_s=100.0,
)


@asynccontextmanager
async def watching() -> AsyncIterator[tuple[BoxFleet, Home]]:
    """A fleet of a box with one stored model."""
    with tempfile.TemporaryDirectory(prefix="up", dir="/tmp") as folder:
        home = Home(Path(folder) / "home")
        store = Store(home)
        store.apply(AIModel(namespace="default", name="m", spec=Spec(type="local", model="m", replicas=2)))
        store.put_status("default/m", Status(state="Running", ready=2, desired=2), store.next_epoch())
        store.record(Event(reason="Crashed", model="default/m", message="exit 1", warning=True))
        store.close()
        fleet = BoxFleet(home, "http://127.0.0.1:1/v1")
        fleet.start()
        try:
            yield fleet, home
        finally:
            await fleet.close()


@asynccontextmanager
async def led(home: Home, protocol: int = PROTOCOL) -> AsyncIterator[ViewServer]:
    """A leader that holds the lock and has published one view."""
    lock = Lock(home.lock)
    assert lock.try_acquire()
    server = ViewServer(home.engine_socket, Hello(protocol, 1, os.getpid(), False), Rings())
    server.publish(LIVE)
    await server.start()
    try:
        yield server
    finally:
        await server.close()
        lock.release()


async def until(fleet: BoxFleet, happens: Callable[[FleetView], object]) -> FleetView:
    async with asyncio.timeout(15):
        async for _ in fleet.changes():
            if happens(view := fleet.view()):
                return view
    raise AssertionError


async def test_without_a_leader_what_is_stored_is_shown_as_old() -> None:
    async with watching() as (fleet, _):
        view = await until(fleet, lambda view: view.context.headline == "NO LEADER")
        [row] = view.models
        assert (row.name, row.state, row.ready, row.desired) == ("m", State.RUNNING, 2, 2)
        assert (row.store_stale, row.queue_stale, row.backlog) == (True, True, None)
        assert [(event.reason, event.message) for event in view.events] == [("Crashed", "exit 1")]
        again = await until(fleet, lambda later: later.at_s > view.at_s)
        assert again.models[0] is row, "time alone changes no row"


async def test_a_leader_that_goes_leaves_its_figures_marked_as_old() -> None:
    async with watching() as (fleet, home):
        async with led(home):
            view = await until(fleet, lambda view: view.context.headline == "live")
            assert not view.models[0].store_stale
        view = await until(fleet, lambda view: view.context.headline == "NO LEADER")
        assert view.context.leader_pid is None
        assert (view.models[0].backlog, view.models[0].queue_stale) == (41, True)
        aged = (view.replicas, view.queues, view.gpus)
        assert [row.stale for [row] in aged] == [True, True, True]
        assert view.gpu_panel.stale
        again = await until(fleet, lambda later: later.at_s > view.at_s)
        assert (again.replicas, again.queues, again.gpus) == aged
        assert again.replicas is view.replicas, "time alone changes no row"
        fleet._alone_s -= 300
        await until(fleet, lambda later: later.models[0].backlog is None)


async def test_what_is_deleted_or_applied_meanwhile_is_shown() -> None:
    async with watching() as (fleet, _):
        await until(fleet, lambda view: view.models)
        await fleet.models.delete("default/m")
        await until(fleet, lambda view: view.models[0].progress == "Draining")


async def test_a_leader_of_another_version_is_told_once_with_what_to_do() -> None:
    async with watching() as (fleet, home), led(home, protocol=PROTOCOL + 1):
        view = await until(fleet, lambda view: view.context.headline == "OTHER VERSION")
        [failure] = view.failures
        assert failure.message == f"pid {os.getpid()} runs another version of uplion; end it there, then start it again"
        assert view.models[0].store_stale
        async with asyncio.timeout(5):
            assert (await fleet.known()).context.headline == "OTHER VERSION"
        again = await until(fleet, lambda later: later.at_s > view.at_s)
        assert again.failures[0] is failure


async def test_a_leader_that_hangs_is_told_until_it_goes_on() -> None:
    async with watching() as (fleet, home), led(home) as server:
        await until(fleet, lambda view: view.context.headline == "live")
        fleet._client.heard_s -= 60
        view = await until(fleet, lambda view: view.context.headline == "LEADER SILENT")
        assert f"pid {os.getpid()} leads and says nothing for 6" in view.failures[0].message
        assert view.models[0].queue_stale
        server.publish(LIVE, Second(101.0, {}))
        view = await until(fleet, lambda view: view.context.headline == "live")
        assert (view.failures, view.models[0].queue_stale) == ((), False)


async def test_a_store_that_is_damaged_is_shown_beside_what_was_seen() -> None:
    async with watching() as (fleet, home):
        await until(fleet, lambda view: view.models)
        for file in home.root.glob("store.db*"):
            file.write_bytes(b"junk" * 10_000)
        view = await until(fleet, lambda view: view.context.headline == "STORE DOWN")
        assert len(view.models) == 1
        assert str(home.store) in view.failures[0].message


async def test_a_home_that_cannot_be_used_is_shown() -> None:
    async with watching() as (_, home):
        unusable = BoxFleet(Home(home.store / "below a file"), "")
        unusable.start()
        try:
            view = await until(unusable, lambda view: view.context.headline == "STORE DOWN")
            assert "Not a directory" in view.failures[0].message
        finally:
            await unusable.close()


async def test_nobody_leads_also_where_the_clock_was_set_back() -> None:
    async with watching() as (stored, home):
        now_s = [time.time()]
        fleet = BoxFleet(home, stored.requests.base_url, lambda: now_s[0])
        fleet.start()
        try:
            now_s[0] -= 3600.0
            async with asyncio.timeout(10):
                async for _ in fleet.changes():
                    if fleet.view().context.headline == "NO LEADER":
                        break
            assert [row.name for row in fleet.view().models] == ["m"]
        finally:
            await fleet.close()


def test_a_command_that_only_looks_loads_little() -> None:
    code = (
        "import sys, operator_embed.box.fleet as f; from operator_embed.box.home import Home;"
        "f.BoxFleet(Home.default(), 'http://127.0.0.1:1/v1');"
        "print(*sorted({'hashlib', 'json', 'random', 'tempfile', 'yaml', 'operator_embed.box.box_logs',"
        "'operator_embed.box.box_queues', 'operator_embed.box.box_requests'} & sys.modules.keys()))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == ""
