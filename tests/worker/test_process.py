"""`python -m worker_embed` as a supervisor runs it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

import worker_embed.__main__ as program
from tests.worker.rig import Rig, rig
from worker_embed.inflight import read_tokens
from worker_embed.queue.nats import NatsQueue
from worker_embed.queue.port import Queue
from worker_embed.report import Told, WorkerBeat
from worker_embed.reporter import Reporter

pytestmark = pytest.mark.anyio

SLOW = "static:word?tokens=100000&tokens_per_s=100"


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path) as made:
        yield made


@asynccontextmanager
async def worker(box: Rig, **env: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker process in a session of its own, killed with all its children when the block ends."""
    given = {
        "PATH": os.environ["PATH"],
        "NODE_TYPE": "local",
        "MODEL_NAME": "m",
        "PULSAR_URL": box.nats.url,
        "UPLION_QUEUE_TOKEN_FILE": str(box.nats.token_file),
        "RES_TOPIC_NAME": "res-topic",
        "UPLION_SOURCE": "static:one%20two%20three",
        "UPLION_CHILD": "m-abcde",
        "UPLION_EVENTS": str(box.events),
        "UPLION_INFLIGHT": str(box.folder / "inflight"),
        "UPLION_LOG": str(box.folder / "log"),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "worker_embed",
        env={name: value for name, value in (given | env).items() if value},
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    """Exit status and what it said on stderr."""
    async with asyncio.timeout(20):
        _, said = await process.communicate()
    return process.returncode, said.decode()


async def test_sigterm_finishes_what_runs_and_exits_0(box: Rig) -> None:
    async with worker(box, UPLION_SOURCE="static:word?tokens=50&tokens_per_s=100") as process:
        ask = await box.ask(stream=True)
        await ask.until_deltas(1)
        process.send_signal(signal.SIGTERM)
        assert (await ask.final()).status == 200
        assert (await ended(process))[0] == 0
    assert box.changes() == ["Starting", "Loading", "Ready", "Draining", "Stopped"]
    assert [line.split()[2] for line in (box.folder / "log").read_text().splitlines()] == box.changes()
    assert read_tokens(box.folder / "inflight") == []
    await box.settled()


async def test_second_sigterm_gives_the_rest_back(box: Rig) -> None:
    async with worker(box, UPLION_SOURCE=SLOW) as process:
        streamed, whole = await box.ask(stream=True), await box.ask()
        await streamed.until_deltas(1)
        await whole.until_started(1)
        process.send_signal(signal.SIGTERM)
        await box.tells("Draining")
        process.send_signal(signal.SIGTERM)
        end = await streamed.final()
        assert (await ended(process))[0] == 0
    assert end.status == 503
    assert whole.end is None
    async with worker(box):
        assert (await whole.final()).status == 200
    assert {start.attempt for start in whole.starts} == {1}


async def test_deliveries_of_a_killed_worker_can_be_given_back(box: Rig) -> None:
    async with worker(box, UPLION_SOURCE=SLOW) as process:
        ask = await box.ask()
        await ask.until_started(1)
        process.kill()
        await process.wait()
    tokens = read_tokens(box.folder / "inflight")
    assert len(tokens) == 1
    async with worker(box):
        await box.queue.give_back(tokens[0])
        assert (await ask.final()).status == 200


async def test_figures_are_sent_every_second_and_a_line_is_told_at_once(box: Rig) -> None:
    address = box.folder / "beat"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(address))
        listener.setblocking(False)
        async with worker(box, UPLION_BEAT=str(address), MAX_PROCESS_NUM="7"):
            await (await box.ask()).final()
            told: list[str] = []
            while True:
                data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(listener, 4096), 20)
                beat = msgspec.msgpack.decode(data, type=WorkerBeat | Told)
                if isinstance(beat, Told):
                    told = (box.folder / "events").read_text().splitlines()
                elif beat.done:
                    break
    assert [msgspec.json.decode(line)["reason"] for line in told] == ["Starting", "Loading", "Ready"]
    assert (beat.id, beat.slots, beat.busy, beat.tokens, beat.done) == ("m-abcde", 7, 0, 3, 1)


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"MODEL_NAME": ""}, "Missing env var: MODEL_NAME"),
        ({"UPLION_SOURCE": "/nowhere.gguf"}, "cannot read /nowhere.gguf"),
    ],
)
async def test_bad_configuration_is_one_line_and_exit_1(box: Rig, env: dict[str, str], says: str) -> None:
    async with worker(box, **env) as process:
        status, stderr = await ended(process)
    assert status == 1
    assert stderr.startswith("ConfigurationError: ")
    assert says in stderr
    assert stderr.count("\n") == 1
    assert "ConfigurationError" in box.changes()


async def test_log_that_cannot_be_written_is_one_line_and_exit_1(box: Rig) -> None:
    async with worker(box, UPLION_LOG=str(box.folder / "none" / "log")) as process:
        code, said = await ended(process)
    assert (code, said) == (1, f"GeneralError: {box.folder / 'none' / 'log'}: No such file or directory\n")
    assert box.changes() == ["GeneralError"]


async def test_broker_that_is_away_at_the_start_is_waited_for(box: Rig) -> None:
    box.nats.kill()
    async with worker(box) as process:
        await box.tells("Starting")
        await box.nats.start()
        await (await box.ask()).final()
        process.send_signal(signal.SIGTERM)
        assert (await ended(process))[0] == 0


async def test_log_has_neither_keys_nor_bodies(box: Rig) -> None:
    key = "sk-very-secret"
    async with worker(
        box, UPLION_ENGINE="remote", UPLION_SOURCE="", API_URL="http://127.0.0.1:9/v1", API_KEY=key
    ) as process:
        await box.ask(messages=[{"role": "user", "content": "my secret wish"}])
        await box.tells("GeneralError")
        process.send_signal(signal.SIGTERM)
        _, stderr = await ended(process)
    lines = (box.folder / "log").read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (info|warning|error) ", line) for line in lines)
    told = "".join(lines) + box.events.read_text() + stderr
    assert "GeneralError" in told
    assert key not in told
    assert "secret wish" not in told


async def test_sigterm_at_the_moment_it_is_connected_ends_it(box: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, acts = asyncio.get_running_loop(), list[Callable[[], object]]()

    async def connect(*_: object) -> Queue:
        queue = await NatsQueue.connect(box.nats.url, token=box.nats.token)
        loop.call_soon(lambda: acts[-1]())
        return queue

    monkeypatch.setattr(program, "_on_signals", acts.append)
    monkeypatch.setattr(program, "_connect", connect)
    config = replace(box.config, source="static:one", node_type="local")
    async with asyncio.timeout(10):
        await program._serve(config, Reporter(config.events, None))
    assert box.changes()[-1] == "Draining"


async def test_a_log_on_a_full_disk_costs_nobody_an_answer_and_prints_no_page(box: Rig) -> None:
    async with worker(box, UPLION_LOG="/dev/full") as process:
        assert (await (await box.ask()).final()).status == 200
        process.send_signal(signal.SIGTERM)
        status, stderr = await ended(process)
    assert (status, stderr) == (0, "")
