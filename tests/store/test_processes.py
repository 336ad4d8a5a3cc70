from __future__ import annotations

import signal
from contextlib import aclosing

import anyio
import pytest

from operator_embed.box.home import Home
from operator_embed.box.store import Op, Store
from tests.store.actors import model
from tests.store.conftest import Start

pytestmark = pytest.mark.anyio


def test_kill_nine_of_a_writer_loses_nothing_that_was_acknowledged(home: Home, start: Start) -> None:
    for run in range(8):
        writer = start("apply_for_ever", home.root, f"m{run}")
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(1 + 7 * run)]
        writer.send_signal(signal.SIGKILL)
        said += writer.stdout.readlines()
        acknowledged = int([line for line in said if line.endswith("\n")][-1])
        store = Store(home)
        stored = store.get(f"default/m{run}")
        assert stored is not None
        assert stored.spec.replicas in (acknowledged, acknowledged + 1)
        assert store._connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        store.close()


def test_many_processes_may_create_the_store_at_once(home: Home, start: Start) -> None:
    openers = [start("open_store", home.root) for _ in range(6)]
    assert [opener.communicate(timeout=30)[0] for opener in openers] == ["ok\n"] * 6


def test_concurrent_changes_lose_no_update(home: Home, start: Start) -> None:
    store = Store(home)
    store.apply(model("m", 0))
    writers = [start("add_one_each", home.root, 60) for _ in range(2)]
    said = [writer.communicate(timeout=60)[0] for writer in writers]
    assert all(conflicts.strip().isdigit() for conflicts in said)
    stored = store.get("default/m")
    assert stored is not None
    assert (stored.spec.replicas, stored.generation) == (240, 241)
    store.close()


def test_a_watcher_in_another_process_hears_the_bell(home: Home, start: Start) -> None:
    store = Store(home)
    watcher = start("watch", home.root)
    assert watcher.stdout is not None
    assert watcher.stdout.readline() == "watching\n"
    store.apply(model("a", 1))
    assert watcher.stdout.readline() == "default/a added\n"
    store.delete("default/a")
    assert watcher.stdout.readline() == "default/a modified\n"
    watcher.kill()
    watcher.wait()
    [left] = list(home.bells.iterdir())
    store.remove("default/a")
    assert not left.exists()
    store.close()


async def test_a_watcher_hears_its_own_process_and_starts_where_it_was_told(store: Store) -> None:
    store.apply(model("a", 1))
    version = store.version()
    store.apply(model("b", 1))
    async with aclosing(store.watch(version)) as watching:
        with anyio.fail_after(10):
            first = await anext(watching)
            store.apply(model("b", 2))
            second = await anext(watching)
    assert [(first.key, first.op), (second.key, second.op)] == [("default/b", Op.ADDED), ("default/b", Op.MODIFIED)]


async def test_a_lost_bell_is_made_up_for(store: Store, home: Home) -> None:
    store.apply(model("a", 1))
    async with aclosing(store.watch(0)) as watching:
        await anext(watching)
        [bell] = list(home.bells.iterdir())
        bell.unlink()
        store.apply(model("b", 1))
        with anyio.fail_after(10):
            assert (await anext(watching)).key == "default/b"


async def test_a_watcher_leaves_no_bell_behind(store: Store, home: Home) -> None:
    store.apply(model("a", 1))
    async with aclosing(store.watch(0)) as watching:
        await anext(watching)
        assert len(list(home.bells.iterdir())) == 1
    assert list(home.bells.iterdir()) == []
