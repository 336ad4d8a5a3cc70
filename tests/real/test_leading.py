"""Who leads: consoles come and go, leaders die, and neither a worker nor a request notices."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.real.box import Box, dead, replicas_of, words
from tests.real.clients import Clients, outcomes
from tests.real.terminal import Terminal, console

pytestmark = pytest.mark.anyio

ECHO = "default/echo"
SOURCE, TEXT = words(20, per_s=20)


@pytest.fixture(scope="module")
async def box() -> AsyncIterator[Box]:
    """A box that nobody leads; it has a model."""
    made = Box()
    try:
        made.open_up()
        await made.static("echo", source=SOURCE, replicas=2, parallel=8)
        yield made
    finally:
        await made.stop()


async def led_by(box: Box, pid: int) -> None:
    """Wait until this process leads and everything is there."""
    await box.until(lambda view: view.context.leader_pid == pid)
    await box.running(ECHO, 2)
    await box.until(lambda view: all(source.status in ("ok", "-") for source in view.sources))


@asynccontextmanager
async def asked_throughout(box: Box, clients: Clients) -> AsyncIterator[None]:
    """Requests before, while and after something happens, each of which is answered by workers that live on."""
    pids = box.pids()
    asks = clients.many("echo", 16)
    await box.happens(lambda: sum(asked.pieces > 2 for asked, _ in asks) >= 4)
    yield
    asks += clients.many("echo", 4)
    assert await outcomes(asks, TEXT) == {"answer": 20}
    assert box.pids() == pids, "whoever leads adopts what runs"


async def never_without_a_leader(box: Box, until: asyncio.Event) -> int:
    """Look at the lock until told to stop; how often nobody held it."""
    seen = 0
    while not until.is_set():
        seen += box.leader() is None
        await asyncio.sleep(0.001)
    return seen


async def test_console_hands_over_when_it_is_left(box: Box, clients: Clients) -> None:
    async with console(box.env) as terminal:
        await led_by(box, terminal.pid)
        await terminal.shows("echo")
        async with asked_throughout(box, clients):
            box.home.config.write_text("nonsense = 1\n")
            terminal.type("q")
            await terminal.shows("keep running")
            terminal.type("k")
            await terminal.shows("nobody took over")
            assert box.leader() == terminal.pid
            box.home.config.unlink()
        await led_by(box, terminal.pid)

        async with asked_throughout(box, clients):
            over = asyncio.Event()
            watching = asyncio.create_task(never_without_a_leader(box, over))
            terminal.type("q")
            await terminal.shows("keep running")
            terminal.type("k")
            assert await terminal.ended() == 0
            await terminal.shows(f"the models keep running, uplion serve (pid {box.leader()}) leads")
            over.set()
            assert await watching == 0
        view = await box.until(lambda view: view.context.leader_is_serve)
        assert view.context.leader_pid not in (None, terminal.pid)


async def test_console_follows_and_takes_over_when_the_leader_dies(box: Box, clients: Clients) -> None:
    async with console(box.env) as terminal:
        await terminal.shows("serve leads")
        async with asked_throughout(box, clients):
            box.kill("serve")
            await led_by(box, terminal.pid)
        await terminal.shows("live")

        async with asked_throughout(box, clients):
            terminal.close()
            await terminal.ended()
            await box.until(lambda view: view.context.leader_is_serve)


async def test_nobody_leads_for_a_while(box: Box, clients: Clients) -> None:
    serve = box.leader()
    assert serve is not None
    os.kill(serve, signal.SIGTERM)
    await box.happens(lambda: box.leader() is None)
    await box.until(lambda view: view.context.headline == "NO LEADER")
    workers = box.pids()
    async with asked_throughout(box, clients):
        pass
    assert "stored; nothing runs this box" in await box.command("scale", "echo", "--replicas", "2")
    victim = next(id for id in workers if id.startswith("echo-"))
    box.kill(victim)
    await box.happens(lambda: victim not in box.pids())
    async with console(box.env) as terminal:
        await led_by(box, terminal.pid)
        pids = box.pids()
        assert len(dead(workers)) == 1
        assert set(workers.values()) - set(pids.values()) == {workers[victim]}
        terminal.process.send_signal(signal.SIGKILL)
        await terminal.ended()
    await box.until(lambda view: view.context.headline == "NO LEADER")


async def test_one_of_two_leads_and_ctrl_c_stops_all(box: Box, clients: Clients) -> None:
    first = await box.run("serve")
    await led_by(box, first.pid)
    second = await box.run("serve")
    async with asked_throughout(box, clients):
        first.kill()
        await led_by(box, second.pid)
    third = await box.run("serve")
    third.send_signal(signal.SIGINT)
    await third.wait()
    await led_by(box, second.pid)
    asks = clients.many("echo", 4)
    await box.happens(lambda: any(asked.pieces > 2 for asked, _ in asks))
    second.send_signal(signal.SIGINT)
    await box.until(lambda view: {row.state for row in replicas_of(view, ECHO)} == {"Draining"})
    assert await outcomes(asks, TEXT) == {"answer": 4}, "ctrl+c drains"
    await second.wait()
    assert box.processes() == {}


async def test_console_stops_all_on_request(box: Box) -> None:
    async with console(box.env) as terminal:
        await led_by(box, terminal.pid)
        await stop_by_keys(terminal)
    await box.happens(lambda: not box.processes())


async def test_console_left_while_its_engine_starts(box: Box) -> None:
    async with console(box.env) as terminal:
        await box.happens(lambda: box.leader() is not None)
        terminal.close()
        await terminal.ended()
    await box.until(lambda view: view.context.leader_is_serve)
    await box.running(ECHO, 2)

    async with console(box.env) as terminal:
        serve = box.leader()
        assert serve is not None
        await terminal.shows("serve leads")
        os.kill(serve, signal.SIGTERM)
        await box.happens(lambda: box.leader() not in (serve, None))
        terminal.type("\x03")
        await terminal.shows("keep running")
        terminal.type("s")
        assert await terminal.ended() == 0
        await terminal.shows("all models are stopped")
    assert box.processes() == {}


async def stop_by_keys(terminal: Terminal) -> None:
    await terminal.shows("echo")
    terminal.type("q")
    await terminal.shows("keep running")
    terminal.type("s")
    assert await terminal.ended() == 0
