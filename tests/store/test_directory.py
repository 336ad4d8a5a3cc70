from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import anyio
import pytest

from operator_embed.aimodel import Condition, Status
from operator_embed.box.directory import BoxDirectory
from operator_embed.box.events import Event
from operator_embed.box.home import Home
from operator_embed.box.store import Store, StoreError
from operator_embed.directory import ModelDirectory
from tests.store.actors import model
from tests.store.conftest import ROOT

pytestmark = pytest.mark.anyio


async def until(happened: Callable[[], object]) -> None:
    for _ in range(1_000):
        if happened():
            return
        await anyio.sleep(0.01)
    pytest.fail("it did not happen within 10 s")


async def test_finds_by_name_then_by_model_and_follows_the_store(store: Store, home: Home) -> None:
    named = model("a")
    store.apply(replace(named, spec=replace(named.spec, model="shared")))
    store.apply(replace(model("b"), spec=replace(named.spec, model="a")))
    directory: ModelDirectory = BoxDirectory(home)
    await directory.start()
    try:
        found = directory.find("a")
        assert found is not None
        assert (found.key, found.topic) == ("default/a", "model-shared")
        shared = directory.find("shared")
        assert shared == found
        assert directory.find("nobody") is None
        assert [one.name for one in directory.all()] == ["a", "b"]

        store.put_status("default/a", Status(state="Running", ready=2), store.next_epoch())
        await until(lambda: (one := directory.find("a")) and one.ready == 2)
        store.delete("default/a")
        await until(lambda: (one := directory.find("a")) and one.key == "default/b")
        assert directory.find("shared") is None
    finally:
        await directory.close()


async def test_why_a_model_cannot_run_is_known_until_its_spec_changes(store: Store, home: Home) -> None:
    store.apply(model("a"))
    epoch = store.next_epoch()
    directory = BoxDirectory(home)
    await directory.start()

    def told(state: str, reason: str) -> None:
        condition = Condition(type="Degraded", status=True, reason=reason, message="no such file", since_s=7.0)
        [found] = store.list()
        status = Status(state=state, observed_generation=found.generation, conditions=(condition,))
        store.put_status("default/a", status, epoch)

    def known() -> tuple[str, float]:
        [one] = directory.all()
        return one.failed, one.failed_s

    try:
        assert known() == ("", 0.0)
        told("Failed", "WeightsMissing")
        await until(lambda: known() == ("WeightsMissing: no such file", 7.0))
        told("Failed", "CrashLoopBackOff")
        await until(lambda: known() == ("", 0.0))
        told("Failed", "ConfigurationError")
        await until(lambda: known() == ("ConfigurationError: no such file", 7.0))
        [found] = store.list()
        store.apply(replace(found, spec=replace(found.spec, model="another")))
        await until(lambda: known() == ("", 0.0))
    finally:
        await directory.close()


async def test_only_what_changed_is_read_again(store: Store, home: Home) -> None:
    for name in ("a", "b", "c"):
        store.apply(model(name))
    directory = BoxDirectory(home)
    await directory.start()
    try:
        asked: list[str] = []
        assert directory._connection is not None
        directory._connection.set_trace_callback(asked.append)
        store.record(Event(reason="Ready", model="default/a"))
        await until(lambda: directory._rv == store.version())
        assert not [query for query in asked if "FROM models" in query]
        store.put_status("default/b", Status(ready=1), store.next_epoch())
        store.remove("default/c")
        await until(lambda: [one.name for one in directory.all()] == ["a", "b"])
        assert [query for query in asked if "FROM models" in query and "name = " not in query] == []
        assert [one.ready for one in directory.all()] == [0, 1]
    finally:
        await directory.close()


async def test_changes_that_are_forgotten_are_caught_up_with(store: Store, home: Home) -> None:
    store.apply(model("a"))
    directory = BoxDirectory(home)
    await directory.start()
    directory._rv = -100
    store.apply(model("b"))
    await until(lambda: directory.find("b"))
    assert directory.find("a")
    await directory.close()


async def test_of_two_with_one_model_the_one_that_can_answer_is_found(store: Store, home: Home) -> None:
    spec = replace(model("x").spec, model="shared")
    store.apply(replace(model("a"), spec=replace(spec, replicas=0)))
    store.apply(replace(model("b"), spec=replace(spec, replicas=1)))
    store.apply(replace(model("c"), spec=replace(spec, replicas=1)))
    store.put_status("default/c", Status(ready=1), store.next_epoch())
    directory = BoxDirectory(home)
    await directory.start()
    found = directory.find("shared")
    await directory.close()
    assert found is not None
    assert (found.name, found.stopped) == ("c", False)


async def test_what_was_read_stays_while_the_store_is_away(store: Store, home: Home) -> None:
    store.apply(model("a", 1))
    now = [0.0]
    directory = BoxDirectory(home, lambda: now[0])
    await directory.start()
    try:
        away = home.store.rename(home.root / "away")
        now[0] = 60.0
        store.apply(model("b", 1))
        await until(lambda: directory._failing)
        assert directory.find("a") is not None
        assert directory.find("b") is None
        assert directory.age_s == 60.0
        away.rename(home.store)
        await until(lambda: directory.find("b") is not None)
        assert directory.age_s == 0.0
    finally:
        await directory.close()


async def test_no_store_at_all_is_one_line(home: Home) -> None:
    with pytest.raises(StoreError, match=str(home.store)):
        await BoxDirectory(home).start()


async def test_a_closed_store_can_be_read(home: Home) -> None:
    store = Store(home)
    store.apply(model("a", 1))
    store.close()
    directory = BoxDirectory(home)
    await directory.start()
    assert directory.find("a") is not None
    await directory.close()


def test_loads_nothing_heavy() -> None:
    code = (
        "import sys, operator_embed.box.directory;"
        "print(*({'yaml', 'nats', 'httpx', 'aiohttp', 'sqlalchemy', 'pynvml', 'kubernetes'} & sys.modules.keys()))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).strip() == ""
