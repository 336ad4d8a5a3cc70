"""From the store to workers and back: what a pass does, and what may happen in the middle of one."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from operator_embed.aimodel import RESTARTED_AT
from operator_embed.box.store import Deposed, Store
from tests.box.rig import Rig, leading
from worker_embed.process.spec import Phase
from worker_embed.queue.memory import MemoryBroker, MemoryQueue
from worker_embed.queue.port import QueueError, TopicSpec
from worker_embed.report import Change

pytestmark = pytest.mark.anyio


class SlowQueue(MemoryQueue):
    """Creates and drops topics when it is let."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        super().__init__(self.broker)
        self.asked = asyncio.Event()
        self.let = asyncio.Event()
        self.refuses = ""

    async def ensure(self, spec: TopicSpec) -> None:
        await self._wait()
        await super().ensure(spec)

    async def drop(self, topic: str) -> None:
        await self._wait()
        await super().drop(topic)

    async def _wait(self) -> None:
        self.asked.set()
        await self.let.wait()
        if self.refuses:
            raise QueueError(self.refuses)


async def test_what_is_applied_runs_and_is_said_to() -> None:
    async with leading() as rig:
        rig.apply("m", replicas=2)
        await rig.runs("m", 2)
        status = rig.model("m").status
        assert (status.state, status.ready, status.desired, status.observed_generation) == ("Running", 2, 2, 1)
        assert "model-m" in await rig.queue.backlog(["model-m"])


async def test_a_pass_that_finds_nothing_new_writes_nothing() -> None:
    async with leading() as rig:
        rig.apply("m", msg_backlog_threshold=10)
        await rig.runs("m")
        await rig.poll()
        await rig.until(lambda: rig.reason("m", "ScalingActive") == "Backlog")
        await rig.settled()
        version = rig.store.version()
        for request in range(5):
            await rig.queue.publish("model-m", b"", id=str(request))
            await rig.poll()
            rig.controller.wake_all()
            await rig.until(lambda: not rig.keys._busy and not rig.keys._when)
        assert rig.store.version() == version
        assert rig.facts.decisions["default/m"].message == "backlog 5 / 10 = 1", "the view has the newest figures"


async def test_a_spec_that_changes_while_the_queue_is_asked_is_what_runs() -> None:
    queue = SlowQueue()
    async with leading(queue) as rig:
        rig.apply("m", source="static:old")
        await queue.asked.wait()
        rig.apply("m", source="static:new")
        await rig.until(lambda: rig.controller.facts.models[0].generation == 2)
        queue.let.set()
        await rig.runs("m")
        await rig.settled()
        [spec] = rig.workers.specs.values()
        assert spec.env["UPLION_SOURCE"] == "static:new"
        assert rig.model("m").status.observed_generation == 2


async def test_without_a_queue_models_wait_and_say_so() -> None:
    async with leading(connected=False) as rig:
        rig.apply("m")
        await rig.until(lambda: "default/m" in rig.facts.observed)
        [waiting] = rig.facts.observed["default/m"].replicas
        assert (waiting.phase, waiting.reason) == ("Pending", "QueueDown")
        rig.controller.queues.queue = rig.queue
        rig.controller.wake_all()
        await rig.runs("m")


async def test_why_the_queue_refuses_a_topic_is_shown() -> None:
    queue = SlowQueue()
    queue.refuses = "insufficient storage"
    queue.let.set()
    async with leading(queue) as rig:
        rig.apply("m")
        await rig.until(lambda: "default/m" in rig.facts.observed)
        [waiting] = rig.facts.observed["default/m"].replicas
        assert (waiting.reason, waiting.message) == ("QueueDown", "insufficient storage")


async def test_weights_that_are_missing_are_named_and_found_later() -> None:
    async with leading() as rig:
        rig.apply("m", source=None)
        await rig.until(lambda: rig.reason("m", "Degraded") == "WeightsMissing")
        assert rig.model("m").status.state == "Failed"
        assert str(rig.home.weights / "m.gguf") in rig.model("m").status.message
        rig.apply("m", source="static:hi")
        await rig.runs("m")
        assert rig.reason("m", "Degraded") == "AsAsked"


async def test_deleting_drains_then_the_queue_then_the_row_go() -> None:
    async with leading() as rig:
        rig.apply("m")
        [worker] = await rig.runs("m")
        rig.workers.patient = True
        (rig.home.logs / f"{worker}.log").write_text("")
        (rig.home.logs / "other-aaaaa.log").write_text("")
        rig.store.delete("default/m")
        await rig.until(lambda: worker in rig.workers.retired)
        await rig.settled()
        assert "model-m" in await rig.queue.backlog(["model-m"]), "its last requests are still under way"
        rig.workers.gone(worker)
        await rig.until(lambda: rig.store.get("default/m") is None)
        assert await rig.queue.backlog(["model-m"]) == {}
        assert [file.name for file in rig.home.logs.iterdir()] == ["other-aaaaa.log"]
        assert rig.facts.models == []


async def test_a_queue_goes_with_the_last_model_that_names_it() -> None:
    async with leading() as rig:
        rig.apply("a", model="shared")
        rig.apply("b", model="shared")
        [of_a] = await rig.runs("a")
        [of_b] = await rig.runs("b")
        rig.workers.patient = True
        rig.store.delete("default/b")
        rig.store.delete("default/a")
        await rig.until(lambda: {of_a, of_b} <= set(rig.workers.retired))
        rig.workers.gone(of_a)
        await rig.until(lambda: rig.store.get("default/a") is None)
        assert "model-shared" in await rig.queue.backlog(["model-shared"]), "b still drains on it"
        rig.workers.gone(of_b)
        await rig.until(lambda: rig.store.get("default/b") is None)
        assert await rig.queue.backlog(["model-shared"]) == {}


async def test_a_model_that_comes_while_its_queue_is_dropped_gets_a_new_one() -> None:
    queue = SlowQueue()
    queue.let.set()
    async with leading(queue) as rig:
        rig.apply("a", model="shared")
        await rig.runs("a")
        queue.let.clear()
        queue.asked.clear()
        rig.store.delete("default/a")
        await queue.asked.wait()
        rig.apply("b", model="shared")
        await rig.until(lambda: "default/b" in rig.facts.observed)
        assert rig.workers.of("b") == []
        queue.let.set()
        await rig.until(lambda: rig.store.get("default/a") is None)
        rig.controller.wake_all()
        await rig.runs("b")
        assert "model-shared" in await rig.queue.backlog(["model-shared"])


async def test_a_model_of_the_same_name_starts_afresh() -> None:
    async with leading() as rig:
        rig.apply("m", replicas=2)
        before = await rig.runs("m", 2)
        uid = rig.model("m").uid
        rig.store.delete("default/m")
        await rig.until(lambda: rig.store.get("default/m") is None)
        rig.apply("m")
        after = await rig.runs("m")
        assert not set(after) & set(before)
        assert rig.model("m").uid != uid
        assert rig.said("Scaled") == []


async def test_only_the_incarnation_that_was_meant_is_removed() -> None:
    async with leading() as rig:
        rig.apply("m")
        await rig.runs("m")
        rig.store.remove("default/m", uid="another")
        assert rig.store.get("default/m") is not None


async def test_workers_that_no_model_asks_for_are_retired() -> None:
    async with leading() as rig:
        rig.apply("m")
        [worker] = await rig.runs("m")
        rig.store.remove("default/m")
        await rig.until(lambda: "default/m" not in rig.controller.topics)
        rig.controller._take_all()
        await rig.until(lambda: worker in rig.workers.retired)


async def test_logs_of_a_model_of_the_same_name_elsewhere_stay() -> None:
    async with leading() as rig:
        rig.apply("m")
        rig.apply("m", namespace="other")
        await rig.runs("m")
        await rig.until(lambda: len(rig.workers.states()) == 2)
        names = list(rig.workers.states())
        for name in names:
            (rig.home.logs / f"{name}.log").write_text("")
        rig.store.delete("default/m")
        await rig.until(lambda: rig.store.get("default/m") is None)
        [left] = rig.workers.states()
        assert [file.stem for file in rig.home.logs.iterdir()] == [left]


async def test_a_restart_replaces_one_after_the_other() -> None:
    async with leading() as rig:
        rig.apply("m", replicas=2)
        old = set(await rig.runs("m", 2))
        rig.store.patch("default/m", lambda m: replace(m, annotations=((RESTARTED_AT, "now"),)))
        await rig.until(lambda: len(rig.workers.of("m")) == 3)
        assert rig.workers.retired == []
        while old & set(rig.workers.of("m")):
            for id in set(rig.workers.of("m")) - old:
                rig.workers.ready(id)
            await rig.settled()
            assert rig.model("m").status.ready >= 2
        await rig.runs("m", 2)


async def test_without_room_old_ones_go_one_at_a_time() -> None:
    async with leading() as rig:
        rig.workers.patient = True
        rig.sees(ram_mib=500)
        rig.apply("m", replicas=4)
        old = await rig.runs("m", 4)
        rig.sees(ram_mib=500)
        rig.store.patch("default/m", lambda m: replace(m, annotations=((RESTARTED_AT, "now"),)))
        for turn in range(1, 5):
            await retired(rig, turn)
            rig.workers.gone(rig.workers.retired[-1])
            new = await newcomer(rig, old)
            rig.sees(ram_mib=500)
            await rig.settled()
            assert len(rig.workers.retired) == turn, "the new one does not answer yet"
            rig.workers.ready(new)
        await rig.until(lambda: rig.reason("m", "Progressing") == "Settled")


async def retired(rig: Rig, count: int) -> None:
    """Wait until so many were told to go, while the sampler sees the same all along."""

    def enough() -> bool:
        rig.sees(ram_mib=500)
        return len(rig.workers.retired) >= count

    await rig.until(enough)
    await rig.settled()
    assert len(rig.workers.retired) == count


async def newcomer(rig: Rig, old: list[str]) -> str:
    """Wait for a worker that loads."""

    def loading() -> list[str]:
        return [id for id, state in rig.workers.states().items() if id not in old and state.ready_s is None]

    await rig.until(loading)
    [new] = loading()
    return new


async def test_what_can_never_fit_leaves_the_old_replica_answering() -> None:
    async with leading() as rig:
        rig.sees(ram_mib=400)
        rig.apply("m")
        [old] = await rig.runs("m")
        rig.sees(ram_mib=300)
        rig.store.patch("default/m", lambda m: replace(m, annotations=((RESTARTED_AT, "now"),)))
        await rig.until(lambda: rig.reason("m", "Degraded") == "NothingFits")
        await rig.settled()
        assert rig.workers.retired == []
        assert rig.model("m").status.state == "Running"
        assert rig.workers.of("m") == [old]


async def test_a_thousand_that_do_not_fit_cost_no_time() -> None:
    async with leading() as rig:
        rig.sees(ram_mib=500)
        rig.apply("m", replicas=1_000)
        await rig.until(lambda: rig.reason("m", "Degraded") == "NothingFits")
        assert len(rig.workers.of("m")) == 4
        assert len(rig.facts.observed["default/m"].replicas) == 1_000


async def test_what_a_worker_reports_becomes_the_reason_until_it_is_well() -> None:
    async with leading() as rig:
        rig.apply("m", replicas=2)
        first, _ = await rig.runs("m", 2)
        state = rig.workers.states()[first]
        quota = Change(at=state.started_s + 1, reason="APIQuotaExceededError", message="429 of upstream")
        rig.workers.become(first, replace(state, change=quota))
        await rig.until(lambda: rig.reason("m", "Degraded") == "APIQuotaExceededError")
        assert rig.model("m").status.state == "Running"
        rig.workers.ready(first)
        await rig.until(lambda: rig.reason("m", "Degraded") == "AsAsked")


async def test_a_crash_loop_is_an_event_and_a_reason() -> None:
    async with leading() as rig:
        rig.apply("m")
        [worker] = await rig.runs("m")
        rig.workers.crashes(worker, "no such file")
        await rig.until(lambda: rig.model("m").status.state == "Failed")
        assert rig.model("m").status.message == "CrashLoopBackOff: exit 1: no such file"
        assert rig.said("Crashed") == ["exit 1: no such file"]


async def test_a_backlog_scales_and_says_so() -> None:
    async with leading() as rig:
        rig.apply("m", msg_backlog_threshold=2, max_replicas=3)
        await rig.runs("m")
        for request in range(5):
            await rig.queue.publish("model-m", b"", id=str(request))
        await rig.poll()
        await rig.until(lambda: len(rig.workers.of("m")) == 3)
        assert rig.said("Scaled") == ["1 to 3: backlog 5 / 2 = 3"]
        await rig.until(lambda: rig.model("m").status.desired == 3)
        rig.controller.refresh()
        assert [d.text for d in rig.facts.news.decisions["default/m"]] == ["1 to 3"]


async def test_the_second_model_on_a_topic_does_not_scale_and_takes_over() -> None:
    async with leading() as rig:
        rig.apply("a", model="shared", msg_backlog_threshold=1)
        await rig.runs("a")
        rig.apply("b", model="shared", msg_backlog_threshold=1)
        await rig.runs("b")
        assert rig.reason("b", "ScalingActive") == "TopicShared"
        rig.store.delete("default/a")
        await rig.until(lambda: rig.store.get("default/a") is None)
        await rig.poll()
        await rig.until(lambda: rig.reason("b", "ScalingActive") == "Backlog")


async def test_a_store_that_cannot_be_written_loses_no_worker() -> None:
    async with leading() as rig:
        rig.apply("m")
        [worker] = await rig.runs("m")
        rig.store._connection.execute("PRAGMA query_only = 1")
        rig.workers.crashes(worker, "out of memory")
        await rig.until(lambda: "cannot be written" in rig.store.trouble)
        rig.store._connection.execute("PRAGMA query_only = 0")
        rig.controller.wake_all()
        await rig.until(lambda: rig.model("m").status.state == "Failed")
        assert rig.store.trouble == ""


async def test_a_newer_leader_ends_this_one() -> None:
    async with leading() as rig:
        rig.apply("m")
        await rig.runs("m")
        other = Store(rig.home)
        other.next_epoch()
        other.close()
        rig.workers.crashes(rig.workers.of("m")[0], "killed")
        await rig.until(lambda: any(task.done() for task in rig.tasks))
        assert rig.model("m").status.state == "Running"
        [ended] = [task for task in rig.tasks if task.done()]
        rig.tasks.remove(ended)
        assert isinstance(ended.exception(), Deposed)


async def test_a_store_that_cannot_be_read_leaves_what_was_read() -> None:
    async with leading() as rig:
        rig.apply("m")
        [worker] = await rig.runs("m")
        rig.workers.crashes(worker, "out of memory")
        rig.controller.refresh()
        news = rig.facts.news
        assert news.faults
        rig.controller._news_due = True
        rig.store._connection.execute("ALTER TABLE events RENAME TO gone")
        rig.controller.refresh()
        assert rig.facts.news is news
        assert "events" in rig.store.trouble
        rig.store._connection.execute("ALTER TABLE gone RENAME TO events")
        rig.controller.refresh()
        assert rig.facts.news is not news


async def test_what_changed_while_nobody_watched_is_caught_up_with() -> None:
    async with leading() as rig:
        for name in ("renamed", "anew", "gone"):
            rig.apply(name)
            await rig.runs(name)
        await rig.unwatched()
        rig.apply("renamed", model="other")
        for name in ("anew", "gone"):
            rig.store.remove(f"default/{name}")
        rig.apply("anew", replicas=2)
        rig.watch()
        await rig.until(lambda: rig.workers.of("gone") == [])
        await rig.runs("anew", 2)
        await rig.until(lambda: len(rig.workers.of("renamed")) == 2)
        for id in rig.workers.of("renamed"):
            rig.workers.ready(id)
        await rig.until(lambda: len(rig.workers.of("renamed")) == 1)
        await rig.settled()
        assert rig.said("Scaled") == [], "a new model of an old name was never scaled"
        assert "model-renamed" not in await rig.queue.backlog(["model-renamed"]), "nobody names it any more"


async def test_a_new_key_mends_at_once_although_the_worker_with_the_old_one_still_ends() -> None:
    async with leading() as rig:
        rig.apply("m")
        [old] = await rig.runs("m")
        refused = Change(at=time.time(), reason="AuthenticationError", message="401")
        rig.workers.become(old, replace(rig.workers.states()[old], change=refused))
        await rig.until(lambda: rig.model("m").status.state == "Failed")
        rig.workers.patient = True
        rig.apply("m", source="static:new")
        await rig.until(lambda: rig.model("m").status.observed_generation == 2)
        await rig.settled()
        assert (rig.model("m").status.state, rig.reason("m", "Degraded")) == ("Pending", "AsAsked")
        rig.workers.become(old, replace(rig.workers.states()[old], phase=Phase.STOPPING))
        await rig.settled()
        assert (rig.model("m").status.state, rig.reason("m", "Degraded")) == ("Pending", "AsAsked")


@pytest.mark.parametrize("crashed", [False, True])
async def test_adopted_workers_of_another_program_are_replaced(crashed: bool) -> None:
    async with leading() as rig:
        rig.apply("m")
        [old] = await rig.runs("m")
        rig.workers.become(old, replace(rig.workers.states()[old], spec_hash="another"))
        if crashed:
            rig.workers.crashes(old, "no such option")
        rig.workloads.resume(rig.model("m"))
        rig.controller.wake_all()
        await rig.until(lambda: set(rig.workers.of("m")) - {old})
        assert (old in rig.workers.retired) == crashed, "one that answers does so until another can"
        for id in set(rig.workers.of("m")) - {old}:
            rig.workers.ready(id)
        await rig.until(lambda: old in rig.workers.retired)
        await rig.settled()
        assert len(rig.workers.of("m")) == 1
