"""A real model on the CPU, in a server process of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from tests.worker.node import Ask
from tests.worker.rig import Rig, rig, until, until_true
from worker_embed.engines.llama import LlamaEngine, LlamaOptions
from worker_embed.engines.port import AttemptFailed, EngineFailed, Job
from worker_embed.wire import ErrorKind, Header

pytestmark = [pytest.mark.anyio, pytest.mark.realmodel]

WEIGHTS = Path(__file__).parents[2] / "assets/models/smollm2-135m-instruct-q4_1.gguf"
SHORT = {"temperature": 0, "max_tokens": 8, "messages": [{"role": "user", "content": "Count: one, two,"}]}
LONG = {"temperature": 0, "max_tokens": 400, "ignore_eos": True, "messages": [{"role": "user", "content": "Count."}]}


def engine(slots: int = 2, context: int = 512) -> LlamaEngine:
    options = LlamaOptions(model="m", source=str(WEIGHTS), context_length=context, threads=1, look_s=0.5)
    return LlamaEngine(options, slots)


@asynccontextmanager
async def started(made: LlamaEngine) -> AsyncIterator[int]:
    """A loaded engine's process id; stopped when the block ends."""
    try:
        await made.start()
        yield (await made.figures()).pid
    finally:
        await made.stop()


def state(pid: int) -> str:
    """Of a process, as proc(5) names it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "gone"


def text(ask: Ask) -> str:
    assert ask.end is not None
    return str(msgspec.json.decode(ask.end.body)["choices"][0]["message"]["content"])


async def test_progress_of_the_load_is_told_until_it_is_done() -> None:
    made = engine()
    starting = asyncio.create_task(made.start())
    seen = []
    try:
        while not starting.done():
            seen.append((await made.figures()).load_pct)
            await asyncio.sleep(0.01)
        await starting
        told = [pct for pct in seen if pct is not None]
        assert told
        assert told[0] < max(told) <= 99
        assert (await made.figures()).load_pct is None
    finally:
        await made.stop()


async def test_worker_with_a_model(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One load of the model for all that a client can meet in good days and bad."""
    caplog.set_level(logging.INFO, "engine")
    made = engine()
    async with rig(tmp_path, node_type="local") as box, box.working(made):
        await box.tells("Ready")
        await the_same_text_streamed_and_not(box)
        await more_requests_than_slots_are_all_answered(box)
        await too_long_a_prompt_is_the_clients_error(box)
        await what_the_server_cannot_read_is_the_clients_error(box)
        await a_field_of_the_wrong_type_is_named(box)
        assert any(line.startswith("srv ") for line in caplog.messages)
        assert not [line for line in caplog.messages if line.startswith("slot ") or line[:1].isdigit()]
        await all_choices_are_booked(box)
        await a_request_on_the_heels_of_a_stream_is_answered(made)
        await tokens_of_an_answer_under_way_are_known(box, made)
        await client_that_leaves_frees_the_slot(box, made)
        await killed_engine_comes_back(box, made)
    assert box.changes()[2:4] == ["GeneralError", "Loading"]


async def the_same_text_streamed_and_not(box: Rig) -> None:
    whole, streamed = await box.ask(**SHORT), await box.ask(stream=True, **SHORT)
    assert (await whole.final()).status == (await streamed.final()).status == 200
    assert streamed.text == text(whole) != ""
    assert streamed.end is not None
    assert streamed.end.usage is not None
    assert streamed.end.usage.completion_tokens == 8
    assert {chunk["model"] for chunk in streamed.chunks} == {"m"}


async def more_requests_than_slots_are_all_answered(box: Rig) -> None:
    asks = [await box.ask(stream=bool(place % 2), **SHORT | {"max_tokens": 4}) for place in range(6)]
    for ask in asks:
        assert (await ask.final()).status == 200
    await box.settled()


async def too_long_a_prompt_is_the_clients_error(box: Rig) -> None:
    ask = await box.ask(messages=[{"role": "user", "content": "word " * 600}])
    end = await ask.final()
    assert end.status == 400
    assert msgspec.json.decode(end.body)["error"]["code"] == "context_length_exceeded"


async def what_the_server_cannot_read_is_the_clients_error(box: Rig) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    for wrong, said in (
        ({"messages": [{"content": "no role"}]}, "Missing 'role'"),
        ({"messages": [{"role": "user", "content": [picture]}]}, "image input is not supported"),
        ({"tools": ["none"]}, "Missing tool type"),
    ):
        end = await (await box.ask(**SHORT | wrong)).final()
        fault = msgspec.json.decode(end.body)["error"]
        assert (end.status, fault["type"]) == (400, "invalid_request_error")
        assert said in fault["message"]


async def a_field_of_the_wrong_type_is_named(box: Rig) -> None:
    for stream in (False, True):
        fault = msgspec.json.decode((await (await box.ask(stream=stream, temperature="hot")).final()).body)["error"]
        assert fault["param"] == "temperature"
        assert fault["message"] == "Invalid value for 'temperature': type must be number, but is string."


async def all_choices_are_booked(box: Rig) -> None:
    base = {"temperature": 0, "max_tokens": 8, "ignore_eos": True}
    for stream in (False, True):
        prompts = await box.ask(
            stream=stream, headers={Header.PATH: "completions"}, prompt=["one two", "three four five"], **base
        )
        choices = await box.ask(stream=stream, n=2, messages=SHORT["messages"], **base)
        alone = await box.ask(stream=stream, messages=SHORT["messages"], **base)
        booked = [(await ask.final()).usage for ask in (prompts, choices, alone)]
        assert [tokens.completion_tokens for tokens in booked] == [16, 16, 8]
        assert booked[0].prompt_tokens == 2 + 3
        assert booked[1].prompt_tokens == booked[2].prompt_tokens
        assert [len(ask.starts) for ask in (prompts, choices, alone)] == [1, 1, 1]


async def a_request_on_the_heels_of_a_stream_is_answered(made: LlamaEngine) -> None:
    job = Job(path="chat/completions", body=msgspec.json.encode(SHORT | {"max_tokens": 2, "stream": True}))
    for _ in range(4):
        async with aclosing(made.stream(job)) as batches:
            assert [payload async for batch in batches for payload in batch]


async def tokens_of_an_answer_under_way_are_known(box: Rig, made: LlamaEngine) -> None:
    ask = await box.ask(**LONG | {"max_tokens": 40})

    async def known() -> bool:
        return 0 < ((await made.figures()).generated or 0) < 40

    await until_true(known)
    assert (await ask.final()).status == 200


async def client_that_leaves_frees_the_slot(box: Rig, made: LlamaEngine) -> None:
    leaving = await box.ask(stream=True, **LONG)
    await leaving.until_deltas(2)
    assert (await made.figures()).kv_pct
    await box.node.cancel(leaving)

    async def idle() -> bool:
        return (await made.figures()).kv_pct == 0

    await until_true(idle, within_s=5)
    await box.settled()


async def killed_engine_comes_back(box: Rig, made: LlamaEngine) -> None:
    pid = (await made.figures()).pid
    streamed, whole = await box.ask(stream=True, **LONG), await box.ask(**LONG | {"max_tokens": 16})
    await streamed.until_deltas(1)
    await whole.until_started(1)
    os.kill(pid, signal.SIGKILL)
    assert (await streamed.final()).status == 502
    assert (await whole.final()).status == 200
    assert [start.attempt for start in whole.starts] == [1, 2]
    assert (await made.figures()).pid not in (0, pid)
    await box.tells("Ready")


async def test_stopped_engine_leaves_nothing(tmp_path: Path) -> None:
    made = engine(slots=1, context=256)
    async with started(made) as pid:
        body = msgspec.json.encode(LONG | {"stream": True})
        async with aclosing(made.stream(Job(path="chat/completions", body=body))) as batches:
            await anext(batches)
            async with asyncio.timeout(10):
                await made.stop()
            with pytest.raises(AttemptFailed):
                async for _ in batches:
                    pass
    assert not Path(f"/proc/{pid}").exists()


async def test_engine_that_hangs_is_killed() -> None:
    made = engine(slots=1, context=256)
    async with started(made) as pid:
        os.kill(pid, signal.SIGSTOP)
        await until(lambda: state(pid) == "T")
        await made.suspect()
        assert await made.died() == "SIGKILL"


async def test_engine_that_came_back_is_not_ended_for_the_one_before() -> None:
    made = engine(slots=1, context=256)
    async with started(made) as pid:
        os.kill(pid, signal.SIGSTOP)
        suspecting = [asyncio.create_task(made.suspect()) for _ in range(4)]
        restarting = asyncio.create_task(made.start())
        while not restarting.done():
            await made.figures()
            await asyncio.sleep(0)
        await asyncio.gather(restarting, *suspecting, return_exceptions=True)
        assert (await made.figures()).pid != pid
        await made.suspect()
        assert b"m" in await made.complete(Job(path="chat/completions", body=msgspec.json.encode(SHORT)))


async def test_engine_knows_no_secret_of_its_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "sk-very-secret")
    monkeypatch.setenv("PULSAR_TOKEN", "queue-very-secret")
    async with started(engine(slots=1, context=256)) as pid:
        assert b"very-secret" not in Path(f"/proc/{pid}/environ").read_bytes()


async def test_engine_that_cannot_be_started_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    open_before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(EngineFailed, match="the engine cannot be started: No such file or directory"):
        await engine().start()
    assert len(os.listdir("/proc/self/fd")) == open_before


async def test_engine_dies_with_its_worker() -> None:
    code = (
        "import asyncio, sys\n"
        "from tests.engines.test_llama import engine\n"
        "async def main() -> None:\n"
        "    made = engine(slots=1, context=256)\n"
        "    await made.start()\n"
        "    print((await made.figures()).pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    shell = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    assert shell.stdout is not None
    try:
        pid = int(await asyncio.wait_for(shell.stdout.readline(), 30))
    finally:
        shell.kill()
        await shell.wait()
    await until(lambda: state(pid) in ("gone", "Z"))


@pytest.mark.parametrize(("data", "says"), [(b"GGUF broken", "failed to load model"), (b"<html>", "not a GGUF file")])
async def test_weights_that_are_none_are_named(tmp_path: Path, data: bytes, says: str) -> None:
    weights = tmp_path / "broken.gguf"
    weights.write_bytes(data)
    made = LlamaEngine(LlamaOptions(model="m", source=str(weights), threads=1), slots=1)
    try:
        with pytest.raises(EngineFailed, match=says) as caught:
            await made.start()
    finally:
        await made.stop()
    assert caught.value.kind is ErrorKind.CONFIGURATION
    assert "broken.gguf" in str(caught.value)
