"""The leader's view arrives at its followers, whole and then by what changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operator_embed.box.link import (
    PROTOCOL,
    Change,
    Full,
    Hello,
    History,
    LinkError,
    Second,
    ViewClient,
    ViewServer,
    difference,
    frame,
    patched,
)
from operator_embed.fleet.fleet import ContextView, FleetView
from operator_embed.fleet.models import ModelView, State
from worker_embed.gpu.rings import Rings

pytestmark = pytest.mark.anyio


def model(name: str, version: int = 1, **fields: Any) -> ModelView:
    running = ModelView(key=f"default/{name}", name=name, version=version, state=State.RUNNING)
    return replace(running, **fields)


@st.composite
def two_views(draw: st.DrawFn) -> tuple[FleetView, FleetView]:
    """A view and a later one that keeps, changes, adds, removes and moves rows."""
    names = draw(st.lists(st.sampled_from("abcdef"), unique=True))
    old = {name: model(name) for name in names}
    later = draw(st.lists(st.sampled_from("abcdefgh"), unique=True))
    changed = draw(st.sets(st.sampled_from("abcdefgh")))
    new = [old[n] if n in old and n not in changed else model(n, 2, backlog=len(changed)) for n in later]
    before = FleetView(models=tuple(old.values()), at_s=1.0)
    same = draw(st.booleans())
    after = replace(
        before, models=before.models if same else tuple(new), context=ContextView(headline="live"), at_s=2.0
    )
    return before, after


@given(two_views())
def test_a_change_makes_the_old_view_the_new_one(views: tuple[FleetView, FleetView]) -> None:
    before, after = views
    change = difference(before, after)
    assert change is not None
    made = patched(before, change)
    assert (made.models, made.context, made.at_s) == (after.models, after.context, after.at_s)
    kept = {row.key: row for row in before.models}
    assert all(row is kept[row.key] for row in made.models if kept.get(row.key) == row)


def test_the_same_view_is_no_change() -> None:
    view = FleetView(models=(model("a"),))
    assert difference(view, replace(view)) is None


@asynccontextmanager
async def connected(tmp_path: Path) -> AsyncIterator[tuple[ViewServer, ViewClient, asyncio.Task[None]]]:
    rings = Rings()
    rings.add(100.0, {"host/cpu": 50.0})
    server = ViewServer(tmp_path / "s", Hello(PROTOCOL, 7, 42, False), rings)
    await server.start()
    client = ViewClient(tmp_path / "s")

    async def follow() -> None:
        async for _ in client.follow():
            pass

    following = asyncio.create_task(follow())
    try:
        yield server, client, following
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await server.close()


async def until(happened: Any) -> None:
    async with asyncio.timeout(10):
        while not happened():
            await asyncio.sleep(0.005)


async def test_a_follower_gets_everything_then_changes(tmp_path: Path) -> None:
    async with connected(tmp_path) as (server, client, _):
        await until(lambda: client.hello)
        assert client.hello == Hello(PROTOCOL, 7, 42, False)
        assert not client.complete, "an empty view would be taken for a box without models"
        same = model("b")
        server.publish(FleetView(models=(model("a"), same), at_s=101.0))
        await until(lambda: len(client.view.models) == 2)
        kept = client.view.models[1]
        busier = FleetView(models=(model("a", 2, backlog=412), same), at_s=102.0)
        server.publish(busier, Second(103.0, {"host/cpu": 70.0}))
        await until(lambda: client.view.models[0].backlog == 412)
        assert client.view.models[1] is kept
        assert client.view.at_s == 103.0, "the second came with the view: there is one thing to draw"
        assert client.rings.read("host/cpu", 1, 1, 103.0) == (70.0,)
        assert client.rings.read("host/cpu", 1, 1, 100.0) == (50.0,), "the hour before it came is there as well"


async def test_a_leader_that_goes_is_noticed(tmp_path: Path) -> None:
    async with connected(tmp_path) as (server, client, following):
        await until(lambda: client.hello)
        await server.close()
        await until(following.done)
        assert client.hello is None


async def test_a_follower_that_fell_behind_gets_a_whole_view(tmp_path: Path) -> None:
    server = ViewServer(tmp_path / "s", Hello(PROTOCOL, 1, 1, False), Rings())
    await server.start()
    reader, writer = await asyncio.open_unix_connection(tmp_path / "s", limit=1024)
    long, version = "x" * 4_000, 0
    await reader.readexactly(4)
    for version in range(3_000):
        server.publish(FleetView(models=(model("a", version, message=f"{version}{long}"),), at_s=version))
    rest = await asyncio.wait_for(_all_of(reader, server), 20)
    assert rest.count(b"full") >= 2, "the changes that it missed came as one view"
    assert len(rest) < 3_000 * len(long), "what it did not read was not kept for it"
    writer.close()
    await server.close()


async def _all_of(reader: asyncio.StreamReader, server: ViewServer) -> bytes:
    """Read until the server has nothing more to say; it publishes once more when the follower has caught up."""
    data = b""
    while b"caught up" not in data:
        data += await reader.read(1 << 20)
        server.publish(FleetView(models=(model("a", 9_999, message="caught up"),), at_s=1.0))
    return data


async def test_a_follower_that_came_before_the_first_view_and_one_that_came_after(tmp_path: Path) -> None:
    async with connected(tmp_path) as (server, early, _):
        await until(lambda: early.hello)
        server.publish(FleetView(models=(model("a"),), at_s=100.0))
        await until(lambda: early.complete)
        late = ViewClient(tmp_path / "s")
        async for _ in late.follow():
            if late.complete and late.rings.read("host/cpu", 1, 1, 100.0) == (50.0,):
                break
        assert late.view.models == early.view.models


async def test_a_follower_that_talks_is_not_listened_to(tmp_path: Path) -> None:
    async with connected(tmp_path) as (server, client, _):
        _, writer = await asyncio.open_unix_connection(tmp_path / "s")
        for _ in range(64):
            writer.write(b"x" * 65_536)
            await writer.drain()
        server.publish(FleetView(models=(model("a"),), at_s=101.0))
        await until(lambda: client.complete)
        writer.close()


@pytest.mark.parametrize(
    "said",
    [
        frame(Hello(PROTOCOL + 1, 1, 4711, False)),
        frame(Hello(PROTOCOL, 1, 4711, False)) + b"\x00\x00\x00\x03\xc1\xc1\xc1",
        frame(Hello(PROTOCOL, 1, 4711, False)) + b"\xff\xff\xff\xff",
        frame(Hello(PROTOCOL, 1, 4711, False)) + frame(Full(msgspec.Raw(msgspec.msgpack.encode({"models": 7})))),
        frame(Hello(PROTOCOL, 1, 4711, False)) + frame(Change({}, {"unheard of": msgspec.Raw(b"\x00")})),
        frame(Hello(PROTOCOL, 1, 4711, False)) + frame(History(b"junk")),
    ],
    ids=["protocol", "junk", "huge", "view", "value", "history"],
)
async def test_a_leader_of_another_version_is_named(tmp_path: Path, said: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(speak, tmp_path / "s")
    async with server:
        with pytest.raises(LinkError, match="pid 4711 runs another version of uplion; end it there"):
            async for _ in ViewClient(tmp_path / "s").follow():
                pass
