"""One view after the other: what stays the same object, what is said of the store, how many rows cost how much."""

from __future__ import annotations

from dataclasses import replace

import pytest

from operator_embed.box.facts import Facts
from operator_embed.box.news import News
from operator_embed.box.sources import sources
from operator_embed.box.telemetry import Telemetry
from operator_embed.box.view import ViewBuilder
from operator_embed.fleet.fleet import EventView
from tests.box.rig import leading
from worker_embed.gpu.rings import Rings
from worker_embed.report import WorkerBeat

pytestmark = pytest.mark.anyio


def event(number: int, *, model: str = "default/m", reason: str = "Crashed", message: str = "") -> EventView:
    return EventView(
        key=str(number),
        version=0,
        at_s=float(number),
        count=1,
        severe=False,
        warning=reason == "Crashed",
        reason=reason,
        source="x",
        model=model,
        message=message,
    )


async def test_rows_that_did_not_change_are_the_same_objects() -> None:
    async with leading() as rig:
        rig.apply("a")
        rig.apply("b")
        [of_a] = await rig.runs("a")
        await rig.runs("b")
        rig.facts.processes = rig.workers.states()
        builder = ViewBuilder()
        first = builder.build(rig.facts, 1_000.0)
        second = builder.build(rig.facts, 1_000.25)
        assert second.models is first.models
        assert second.replicas is first.replicas
        rig.telemetry.hear(WorkerBeat(of_a, 1_000.0, 4, 3, 0, 0))
        third = builder.build(rig.facts, 1_000.5)
        assert third.models[0].version > max(row.version for row in first.models)
        assert third.models[1] is first.models[1]
        assert [row.busy for row in third.replicas] == [3, None]


def test_news_finds_the_newest_of_each() -> None:
    events = [
        event(3, reason="Ready"),
        event(2),
        event(1, model="default/n"),
        event(0),
        *(event(-n, reason="Scaled", message=f"{n} to {n + 1}: backlog: {n}") for n in range(1, 9)),
    ]
    news = News.of(events)
    assert (news.faults["default/m"].key, news.faults["default/n"].key) == ("2", "1")
    assert news.newest["default/m", "Ready"].key == "3"
    assert [(d.text, d.why) for d in news.decisions["default/m"]][:2] == [
        ("1 to 2", "backlog: 1"),
        ("2 to 3", "backlog: 2"),
    ]
    assert len(news.decisions["default/m"]) == 5


def facts() -> Facts:
    return Facts(telemetry=Telemetry(Rings()), name="box", api_url="http://127.0.0.1:1/v1", store_text="/home")


def test_a_store_that_cannot_be_written_is_the_first_failure_and_a_broken_source() -> None:
    down = replace(facts(), store_trouble="the disk is full", store_down_s=5.0, queue_down_s=1.0)
    view = ViewBuilder().build(down, 10.0)
    assert [(failure.subject, failure.severe) for failure in view.failures] == [("store", True), ("queue", True)]
    assert "the disk is full" in view.failures[0].message
    [store] = [source for source in sources(down, {}) if source.key == "store"]
    assert (store.status, store.text) == ("!", "the disk is full")


@pytest.mark.parametrize(("is_open", "says"), [(False, "loopback only"), (True, "other machines may reach it")])
def test_who_may_reach_the_api_is_said(is_open: bool, says: str) -> None:
    [api] = [source for source in sources(replace(facts(), api_is_open=is_open), {}) if source.key == "API"]
    assert api.text.endswith(f"no token needed, {says}")
