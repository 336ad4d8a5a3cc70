"""A worker with an engine that always answers: verdicts, deadlines, usage, cancel, frames."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from tests.worker.rig import QUICK, Rig, rig
from worker_embed.inflight import read_tokens
from worker_embed.wire import Header, UsageStatus, Verdict

pytestmark = pytest.mark.anyio


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path, source="static:one%20two%20three", max_process_num=4) as made:
        yield made


def saying(box: Rig, source: str) -> Rig:
    return replace(box, config=replace(box.config, source=source))


async def test_streamed_and_whole_answers_are_the_same_text(box: Rig) -> None:
    async with box.working():
        whole, streamed = await box.ask(), await box.ask(stream=True)
        answer = msgspec.json.decode((await whole.final()).body)
        end = await streamed.final()
        await box.settled()
    assert answer["choices"][0]["message"]["content"] == streamed.text == "one two three"
    assert answer["id"] == f"chatcmpl-{whole.id}"
    assert {(chunk["id"], chunk["model"]) for chunk in streamed.chunks} == {(f"chatcmpl-{streamed.id}", "m")}
    assert all(chunk["choices"] for chunk in streamed.chunks), "usage was not asked for"
    assert end.usage is not None
    assert end.usage.completion_tokens == 3
    assert read_tokens(box.folder / "inflight") == []


async def test_usage_chunk_for_those_who_ask(box: Rig) -> None:
    async with box.working():
        ask = await box.ask(stream=True, stream_options={"include_usage": True})
        await ask.final()
    assert ask.chunks[-1]["choices"] == []
    assert ask.chunks[-1]["usage"]["completion_tokens"] == 3


async def test_text_completion_has_its_own_shape(box: Rig) -> None:
    async with box.working():
        ask = await box.ask(headers={Header.PATH: "completions"}, prompt="Hi")
        answer = msgspec.json.decode((await ask.final()).body)
    assert answer["object"] == "text_completion"
    assert answer["id"] == f"cmpl-{ask.id}"
    assert answer["choices"][0]["text"] == "one two three"


async def test_route_that_no_engine_has_is_the_clients_error(box: Rig) -> None:
    async with box.working():
        end = await (await box.ask(headers={Header.PATH: "../slots"})).final()
        await box.settled()
    assert end.status == 404
    assert msgspec.json.decode(end.body)["error"].keys() == {"message", "type", "param", "code"}
    assert box.changes() == ["Loading", "Ready", "Draining"]


async def test_usage_is_recorded_before_the_client_has_its_answer(box: Rig) -> None:
    async with box.working():
        ask = await box.ask()
        await ask.final()
        record = (await box.usage(1))[ask.id]
    assert record.usage.completion_tokens == 3
    assert (record.status, record.attempt, record.replica, record.ai_model_name) == ("ok", 1, "m-abcde", "m")
    assert 0 < record.started_ms <= record.first_token_ms <= record.ended_ms


async def test_task_whose_time_is_over_is_not_run(box: Rig) -> None:
    late = await box.ask(deadline_s=-1)
    async with box.working():
        await (await box.ask()).final()
        await box.settled()
    assert late.starts == []


@pytest.mark.parametrize("verdict", [Verdict.GONE, Verdict.DEAD])
async def test_task_that_nobody_waits_for_is_not_run(box: Rig, verdict: Verdict) -> None:
    ask = await box.ask()
    ask.verdict = verdict
    async with box.working():
        await ask.until_started()
        await box.settled()
    assert ask.end is None
    assert await box.queue.dead_counts(["model-m"]) == {"model-m": int(verdict is Verdict.DEAD)}


async def test_busy_task_is_offered_again(box: Rig) -> None:
    ask = await box.ask()
    ask.verdict = Verdict.BUSY
    async with box.working():
        await ask.until_started(2)
        ask.verdict = Verdict.GO
        await ask.final()
    assert {start.attempt for start in ask.starts} == {1}, "a task that could not be served has made no attempt"


async def test_client_that_leaves_frees_the_slot(box: Rig) -> None:
    slow = saying(box, "static:word?tokens=100000&tokens_per_s=200")
    slow.config = replace(slow.config, max_process_num=1)
    async with slow.working():
        leaving = await slow.ask(stream=True)
        await leaving.until_deltas(2)
        await slow.node.cancel(leaving)
        staying = await slow.ask(stream=True)
        await staying.until_deltas(1)
        await slow.node.cancel(staying)
        await slow.settled()
        records = await slow.usage(2)
    assert {record.status for record in records.values()} == {UsageStatus.CANCELLED}
    assert 0 < records[leaving.id].usage.completion_tokens < 100_000
    assert leaving.end is None


async def test_first_token_travels_alone_and_frames_are_joined(box: Rig) -> None:
    slow = saying(box, "static:word?tokens=300&tokens_per_s=1000")
    async with slow.working():
        ask = await slow.ask(stream=True)
        await ask.final()
    assert ask.deltas[0].data.count(b"\n\n") == 1
    assert [delta.seq for delta in ask.deltas] == list(range(len(ask.deltas)))
    assert ask.end is not None
    assert ask.end.seq == len(ask.deltas)
    assert len(ask.deltas) < 100
    assert ask.text == "word" + " word" * 299


async def test_no_more_is_pulled_than_there_are_slots(box: Rig) -> None:
    slow = saying(box, "static:word?tokens=100000&tokens_per_s=100")
    async with slow.working():
        asks = [await slow.ask(stream=True) for _ in range(10)]
        for ask in asks[:4]:
            await ask.until_deltas(3)
        backlog = (await slow.queue.backlog(["model-m"]))["model-m"]
        assert (backlog.in_flight, backlog.queued) == (4, 6)
        assert len(read_tokens(slow.folder / "inflight")) == 4
        for ask in asks:
            ask.verdict = Verdict.GONE
        for ask in asks[:4]:
            await slow.node.cancel(ask)
        await slow.settled()


async def test_unconfirmed_answer_is_sent_again_over_a_new_connection(box: Rig) -> None:
    ask = await box.ask()
    ask.confirm = False
    async with box.working():
        await ask.until_started()
        ask.confirm = True
        for socket in box.node.sockets:
            await socket.close()
        await ask.final()
        await box.settled()


async def test_node_that_is_lost_in_an_answer_stops_the_engine(box: Rig) -> None:
    slow = saying(box, "static:word?tokens=100000&tokens_per_s=100")
    async with slow.working():
        ask = await slow.ask(stream=True)
        await ask.until_deltas(2)
        ask.verdict = Verdict.GONE
        await slow.node.sockets[0].close()
        await ask.until_started(2)
        await slow.settled()


async def test_garbage_on_the_topic_is_a_dead_letter(box: Rig) -> None:
    await box.queue.publish("model-m", b"{not json", id="garbage")
    async with box.working():
        await (await box.ask()).final()
        await box.settled()
    letters = await box.queue.dead_letters("model-m")
    assert [(letter.id, letter.reason) for letter in letters] == [("garbage", "NotATask")]


@pytest.mark.parametrize("deadline", ["9" * 5000, "-1", "soon"])
async def test_deadline_that_is_none_keeps_no_task_from_its_answer(box: Rig, deadline: str) -> None:
    async with box.working():
        ask = await box.ask(headers={Header.DEADLINE: deadline})
        assert (await ask.final()).status == 200
        await box.settled()


async def test_task_nested_too_deeply_is_a_dead_letter(box: Rig) -> None:
    await box.queue.publish("model-m", b'{"data":' + b"[" * 5000 + b"]" * 5000 + b"}", id="deep")
    async with box.working():
        await box.settled()
    assert [letter.id for letter in await box.queue.dead_letters("model-m")] == ["deep"]


async def test_task_started_too_often_is_dead_and_its_client_hears(box: Rig) -> None:
    ask = await box.ask(attempt=4, headers={Header.ATTEMPT: "4"})
    async with box.working():
        end = await ask.final()
        await box.settled()
    assert end.status == 502
    assert [letter.id for letter in await box.queue.dead_letters("model-m")] == [ask.id]


async def test_drain_finishes_what_runs_and_leaves_the_rest(box: Rig) -> None:
    slow = saying(box, "static:word?tokens=40&tokens_per_s=100")
    async with slow.working() as worker:
        running = [await slow.ask(stream=True) for _ in range(4)]
        for ask in running:
            await ask.until_deltas(1)
        waiting = await slow.ask(stream=True)
        worker.stop()
        for ask in running:
            assert (await ask.final()).status == 200
    assert waiting.starts == []
    assert (await slow.queue.backlog(["model-m"]))["model-m"].queued == 1
    assert slow.changes()[-1] == "Draining"


async def test_broker_that_dies_does_not_stop_an_answer(box: Rig) -> None:
    slow = saying(box, "static:word?tokens=30&tokens_per_s=100")
    async with slow.working(limits=replace(QUICK, record_s=0.2)):
        ask = await slow.ask(stream=True)
        await ask.until_deltas(1)
        slow.nats.kill()
        assert (await ask.final()).status == 200
        await slow.nats.start()
        await slow.settled()
        assert (await slow.usage(1)).keys() == {ask.id}
        await (await slow.ask()).final()


async def test_queue_that_stays_away_is_told(box: Rig) -> None:
    async with box.working(limits=replace(QUICK, queue_lost_s=0.05)):
        await (await box.ask()).final()
        box.nats.kill()
        await box.tells("MessageQueueConnectionError")
        await box.nats.start()
        await box.tells("Ready")
        await (await box.ask()).final()
