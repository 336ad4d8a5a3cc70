"""One view after the other: what stays the same object, what is said of the store, how many rows cost how much."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from operator_embed.aimodel import PAUSED, Condition, Spec
from operator_embed.box.facts import Facts, Hold
from operator_embed.box.needs import Missing
from operator_embed.box.news import News
from operator_embed.box.sources import sources
from operator_embed.box.telemetry import Telemetry
from operator_embed.box.view import ViewBuilder
from operator_embed.fleet.fleet import EventView
from operator_embed.fleet.models import ModelView
from operator_embed.reconcile import Observed
from tests.box.rig import Rig, leading
from worker_embed.engines.llama_build import LlamaBuild
from worker_embed.gpu.rings import Rings
from worker_embed.gpu.samples import NO_GPU, HostSample, Sample, SessionSample
from worker_embed.queue.port import Backlog, DeadLetter
from worker_embed.report import GatewayBeat, ModelCount, WorkerBeat

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


def letter(id: str, topic: str, error: str) -> DeadLetter:
    return DeadLetter(
        ref=id, id=id, topic=topic, reason="MaxAttempts", error=error, attempts=3, died_s=1.0, last_consumer="w"
    )


async def test_the_event_of_requests_that_gave_up_says_which_and_why() -> None:
    async with leading() as rig:
        rig.apply("m")
        await rig.runs("m")
        rig.controller.chronicle.dead_letters(rig.model("m"), 1, letter("r-1", "model-m", "no token for too long"))
        rig.controller.chronicle.dead_letters(rig.model("m"), 2, letter("r-2", "model-m", "the engine died"))
        said = [view.message for view in rig.controller.chronicle.views() if view.reason == "DeadLetter"]
        assert said[0].endswith("the last one: the engine died (request r-2)")


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


async def test_room_for_context_is_the_mean_of_the_replicas_that_tell() -> None:
    async with leading() as rig:
        rig.apply("a", replicas=2)
        one, other = await rig.runs("a", 2)
        builder = ViewBuilder()
        assert builder.build(rig.facts, 1_000.0).models[0].kv_pct is None
        rig.telemetry.hear(WorkerBeat(one, 1_000.0, 4, 3, 0, 0))
        assert builder.build(rig.facts, 1_000.0).models[0].kv_pct is None
        rig.telemetry.hear(WorkerBeat(one, 1_000.0, 4, 3, 0, 0, kv_pct=96.6))
        assert builder.build(rig.facts, 1_000.0).models[0].kv_pct == 97
        rig.telemetry.hear(WorkerBeat(other, 1_000.0, 4, 3, 0, 0, kv_pct=3.0))
        assert builder.build(rig.facts, 1_000.0).models[0].kv_pct == 50


async def test_use_stays_as_it_was_seen_last_until_nobody_knows() -> None:
    async with leading() as rig:
        rig.apply("a")
        [name] = await rig.runs("a")
        rig.facts.processes = rig.workers.states()
        session = rig.facts.session(name) or 0
        host = HostSample("cpu", 4, 1.0, 0.0, 1_024.0, (SessionSample(session, 2.0, 100.0),))
        rig.telemetry.see(Sample(1_000.0, 1.0, "none", "", NO_GPU, host, ()))
        builder = ViewBuilder()
        told = [builder.build(rig.facts, at_s).models[0] for at_s in (1_000.0, 1_010.0, 1_301.0)]
        assert [(row.busy_pct, row.busy_stale) for row in told] == [(50, False), (50, True), (None, True)]


def unversioned(rows: tuple[ModelView, ...]) -> list[ModelView]:
    return [replace(row, version=0) for row in rows]


def tells(rig: Rig, name: str) -> None:
    for ago_s in (1, 0):
        beat = WorkerBeat(name, time.time() - ago_s, 4, 1, 90 - ago_s, 3 - ago_s, kv_pct=5.0)
        rig.telemetry.hear(beat)


def holds(rig: Rig, name: str) -> None:
    rig.facts.holds = {name: Hold(gpus=("GPU-0",), each_mib=1.0)}
    rig.facts.llama = LlamaBuild(version="1")


def waits(rig: Rig, name: str) -> None:
    rig.telemetry.backlog = {"model-m": Backlog(queued=7, in_flight=2, oldest_age_s=3.0)}
    rig.telemetry.backlog_s = time.time()
    rig.telemetry.tick(time.time(), rig.controller.topics, {})


def answers(rig: Rig, name: str) -> None:
    waits(rig, name)
    for ago_s in (1, 0):
        count = ModelCount("model-m", 20 - ago_s, 10 - ago_s, 0, 0, 0.25, None)
        rig.telemetry.hear(GatewayBeat("gateway", time.time() - ago_s, 0, 0, [count]))


CHANGES: dict[str, Callable[[Rig, str], None]] = {
    "tells": tells,
    "holds": holds,
    "waits": waits,
    "answers": answers,
    "news": lambda rig, _: setattr(rig.facts, "news", News.of([event(1, model="default/m")])),
    "need": lambda rig, _: rig.facts.needs.update({"default/m": Missing("WeightsMissing", "gone")}),
    "decision": lambda rig, _: rig.facts.decisions.update(
        {"default/m": replace(rig.facts.decisions["default/m"], desired=5)}
    ),
    "observed": lambda rig, _: rig.facts.observed.update({"default/m": Observed()}),
    "queue": lambda rig, _: setattr(rig.facts, "queue_down_s", 1.0),
    "restarts": lambda rig, name: setattr(
        rig.facts, "processes", {name: replace(rig.workers.states()[name], restarts=3)}
    ),
    "spec": lambda rig, _: setattr(
        rig.facts, "models", [replace(rig.model("m"), spec=Spec(type="local", model="m", replicas=9))]
    ),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_row_is_made_again_when_anything_in_it_changed(change: str) -> None:
    async with leading() as rig:
        rig.apply("m")
        [name] = await rig.runs("m")
        await rig.settled()
        rig.facts.processes = rig.workers.states()
        rig.telemetry.backlog_s = time.time()
        builder = ViewBuilder()
        before = builder.build(rig.facts, time.time()).models
        CHANGES[change](rig, name)
        now_s = time.time()
        after = builder.build(rig.facts, now_s).models
        assert unversioned(after) == unversioned(ViewBuilder().build(rig.facts, now_s).models)
        assert unversioned(after) != unversioned(before)


async def test_a_row_is_not_made_again_while_nothing_changes() -> None:
    async with leading() as rig:
        rig.apply("m", replicas=0)
        await rig.settled()
        builder, made = ViewBuilder(), []
        for _ in range(5):
            await rig.poll()
            now_s = time.time()
            rig.telemetry.tick(now_s, rig.controller.topics, {})
            builder.build(rig.facts, now_s)
            made.append(builder._made["default/m"])
        assert made[2] is made[3] is made[4]


async def test_a_row_and_the_line_under_failures_call_it_by_one_name() -> None:
    async with leading() as rig:
        rig.apply("broken")
        rig.apply("tired")
        await rig.settled()
        wrong = Condition(type="Degraded", status=True, reason="ConfigurationError", since_s=5.0)
        broken = rig.model("broken")
        rig.facts.models = [replace(broken, status=replace(broken.status, conditions=(wrong,))), rig.model("tired")]
        rig.facts.news = News.of(
            [
                replace(event(3, model="default/broken", reason="CrashLoopBackOff"), warning=True, count=12),
                replace(event(2, model="default/broken", reason="ConfigurationError"), warning=True, count=13),
                replace(event(1, model="default/tired", reason="DeadLetter"), warning=True),
            ]
        )
        rig.telemetry.dead = {"model-tired": 2}
        rig.telemetry.last_dead = {"model-tired": letter("7", "model-tired", "the engine died:\n  SIGKILL")}
        view = ViewBuilder().build(rig.facts, time.time())
        rows = {row.name: (row.failure, row.failure_count) for row in view.models}
        lines = {line.subject: (line.reason, line.count) for line in view.failures if line.model}
        [said] = [line.message for line in view.failures if line.reason == "DeadLetters"]
        assert said == "2 requests gave up after all their attempts: the engine died: SIGKILL; press 4 to see them"
        assert rows == lines == {"broken": ("ConfigurationError", 13), "tired": ("DeadLetters", 2)}


async def test_a_shared_queue_is_shown_with_the_model_that_scales_on_it() -> None:
    async with leading() as rig:
        rig.apply("b", model="shared", msg_backlog_threshold=5)
        rig.apply("a", model="shared", msg_backlog_threshold=5)
        rig.apply("c")
        await rig.settled()
        await rig.poll()
        shared, alone = ViewBuilder().build(rig.facts, time.time()).queues
        assert (shared.model, alone.model) == ("default/b", "default/c")
        assert shared.autoscaler == "wants 1 (min)"


async def test_an_autoscaler_that_is_held_is_said_to_be_off() -> None:
    async with leading() as rig:
        rig.apply("m", msg_backlog_threshold=5)
        rig.store.patch("default/m", lambda model: replace(model, annotations=((PAUSED, "2"),)))
        await rig.settled()
        view = ViewBuilder().build(rig.facts, time.time())
        assert view.queues[0].explain == "The autoscaler is off: held at 2."
        assert view.models[0].paused


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


def test_a_full_disk_is_a_failure_that_says_what_to_do() -> None:
    [failure] = ViewBuilder().build(replace(facts(), queue_full_s=5.0), 10.0).failures
    assert (failure.subject, failure.reason, failure.severe) == ("queue", "DiskFull", True)
    assert failure.message == "the disk of /home is full, new requests get 503; make room there"


@pytest.mark.parametrize(("is_open", "says"), [(False, "loopback only"), (True, "other machines may reach it")])
def test_who_may_reach_the_api_is_said(is_open: bool, says: str) -> None:
    [api] = [source for source in sources(replace(facts(), api_is_open=is_open), {}) if source.key == "API"]
    assert api.text.endswith(f"no token needed, {says}")
