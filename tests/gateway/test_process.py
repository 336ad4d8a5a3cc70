"""The API node as its own process, beside a real broker and the store of a box."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import openai
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from operator_embed.aimodel import AIModel, Spec
from operator_embed.box.home import Home
from operator_embed.box.store import Store
from tests.gateway.harness import HI, Worker, answer, chunk, until
from tests.queue.server import NatsServer, running_nats
from worker_embed.queue.open import open_queue
from worker_embed.queue.port import Queue, TopicSpec
from worker_embed.report import Change, GatewayBeat
from worker_embed.wire import SUBPROTOCOL, Verdict

pytestmark = pytest.mark.anyio

TOPIC = "model-static"


@dataclass
class Running:
    """A gateway process and where it listens."""

    process: Process
    url: str
    node_url: str
    folder: Path
    nats: NatsServer
    queue: Queue
    workers: list[Worker] = field(default_factory=list)

    def client(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key="sk-very-secret", max_retries=0, timeout=20)

    def changes(self) -> list[Change]:
        lines = (self.folder / "gateway.events").read_bytes().splitlines()
        return [msgspec.json.decode(line, type=Change) for line in lines]

    async def worker(self) -> Worker:
        await self.queue.ensure(TopicSpec(topic=TOPIC))
        socket = await connect(self.node_url, subprotocols=[Subprotocol(SUBPROTOCOL)], compression=None, proxy=None)
        worker = Worker(socket, await self.queue.consume(TOPIC, f"w{len(self.workers)}"))
        self.workers.append(worker)
        return worker

    async def ended(self) -> int:
        async with asyncio.timeout(20):
            return await self.process.wait()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, for sockets."""
    with tempfile.TemporaryDirectory(prefix="gw") as name:
        yield Path(name)


def environment(folder: Path, nats_url: str, token_file: Path, **more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "UPLION_HOME": str(folder),
        "UPLION_CHILD": "gateway",
        "PULSAR_URL": nats_url,
        "UPLION_QUEUE_TOKEN_FILE": str(token_file),
        "UPLION_API_PORT": "0",
        "UPLION_BEAT": str(folder / "beat"),
        "UPLION_EVENTS": str(folder / "gateway.events"),
        "UPLION_LOG": str(folder / "gateway.log"),
        **more,
    }


async def spawn(env: dict[str, str]) -> Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "console.gateway", env=env, stderr=PIPE)


@contextlib.asynccontextmanager
async def gateway(folder: Path, **more: str) -> AsyncIterator[Running]:
    home = Home(folder)
    home.prepare()
    store = Store(home)
    store.apply(AIModel(namespace="default", name="smollm2", spec=Spec(type="local", model="static", replicas=1)))
    store.close()
    async with running_nats(folder) as nats:
        process = await spawn(environment(folder, nats.url, nats.token_file, **more))
        events = folder / "gateway.events"
        try:
            await until(lambda: process.returncode is not None or (events.exists() and events.read_bytes()), 20)
            assert process.returncode is None
            ready = msgspec.json.decode(events.read_bytes().splitlines()[0], type=Change)
            assert ready.reason == "Ready"
            url, _, node_url = ready.message.partition(", workers call ")
            queue = await open_queue(nats.url, token=nats.token)
            running = Running(process, url, node_url, folder, nats, queue)
            yield running
            for worker in running.workers:
                await worker.close()
            await queue.close()
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def test_whole_and_streamed_over_a_real_broker(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(folder / "beat"))
        heard.settimeout(10)
        async with gateway(folder) as node, node.client() as client:
            (await node.worker()).serve(answer)
            whole = await client.chat.completions.create(**HI)
            pieces = [piece async for piece in await client.chat.completions.create(**HI, stream=True)]
            assert whole.choices[0].message.content == "Hello!"
            assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == "Hello!"
            beat = msgspec.msgpack.decode(heard.recv(65536), type=GatewayBeat)
            while not (beat.models and beat.models[0].answered == 2):
                beat = msgspec.msgpack.decode(await asyncio.to_thread(heard.recv, 65536), type=GatewayBeat)
    [counted] = beat.models
    assert (beat.id, beat.waiting, counted.topic) == ("gateway", 0, TOPIC)
    assert (counted.requests, counted.failed, counted.tokens) == (2, 0, 6)
    assert counted.ttft_p95_s is not None
    assert counted.e2e_p95_s is not None
    assert counted.ttft_p95_s <= counted.e2e_p95_s


async def test_sigterm_lets_what_runs_finish_and_exits_0(folder: Path) -> None:
    async with gateway(folder) as node, node.client() as client:
        worker = await node.worker()
        asking = asyncio.create_task(client.chat.completions.create(**HI, stream=True))
        job = await worker.job()
        assert await job.start() is Verdict.GO
        await job.delta(chunk("half"))
        pieces = aiter(await asking)
        await anext(pieces)
        node.process.terminate()
        await until(lambda: node.changes()[-1].reason == "Draining")
        with pytest.raises(openai.APIConnectionError):
            await client.chat.completions.create(**HI)
        await job.delta(chunk(" and half"))
        await job.final()
        assert [piece.choices[0].delta.content async for piece in pieces] == [" and half"]
        assert await node.ended() == 0
    assert node.changes()[-1].reason == "Stopped"
    assert " 200 " in (folder / "gateway.log").read_text()


async def test_requests_survive_the_death_of_the_broker_or_fail_at_once(folder: Path) -> None:
    async with gateway(folder) as node, node.client() as client:
        (await node.worker()).serve(answer)
        assert (await client.chat.completions.create(**HI)).choices[0].message.content == "Hello!"
        node.nats.kill()
        with pytest.raises(openai.InternalServerError) as refused:
            await client.chat.completions.create(**HI)
        assert (refused.value.status_code, refused.value.code) == (503, "queue_unavailable")
        assert refused.value.response.headers["retry-after"]
        await node.nats.start()
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(openai.InternalServerError):
                    reply = await client.chat.completions.create(**HI)
                    break
        assert reply.choices[0].message.content == "Hello!"


async def test_leaving_while_queued_takes_the_task_from_the_broker(folder: Path) -> None:
    async with gateway(folder) as node:
        await node.queue.ensure(TopicSpec(topic=TOPIC))
        body = json.dumps(HI).encode()
        _, writer = await asyncio.open_connection("127.0.0.1", int(node.url.rpartition(":")[2]))
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await _backlog(node.queue, 1)
        writer.close()
        await _backlog(node.queue, 0)


async def _backlog(queue: Queue, wanted: int) -> None:
    for _ in range(1000):
        if (await queue.backlog([TOPIC]))[TOPIC].total == wanted:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"the backlog never was {wanted}")


async def test_a_port_that_is_taken_is_one_line_with_its_holder(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with running_nats(folder) as nats:
            home = Home(folder)
            home.prepare()
            Store(home).close()
            process = await spawn(environment(folder, nats.url, nats.token_file, UPLION_API_PORT=str(port)))
            _, stderr = await process.communicate()
    assert process.returncode == 1
    assert stderr.count(b"\n") == 1
    assert f"127.0.0.1:{port} is taken by pid {os.getpid()} (".encode() in stderr
    assert b"UPLION_API_PORT" in stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PULSAR_URL", ""),
        ("UPLION_API_PORT", "70000"),
        ("UPLION_TIMEOUT_S", "soon"),
        ("UPLION_COMPAT", "perhaps"),
        ("UPLION_QUEUE_TOKEN_FILE", "/nowhere"),
    ],
)
async def test_a_wrong_variable_is_one_line_that_names_it(folder: Path, variable: str, value: str) -> None:
    env = environment(folder, "nats://127.0.0.1:1", folder / "token") | {variable: value}
    if variable != "UPLION_QUEUE_TOKEN_FILE":
        env.pop("UPLION_QUEUE_TOKEN_FILE")
    process = await spawn(env)
    _, stderr = await process.communicate()
    assert process.returncode == 2
    assert stderr.startswith(variable.encode())
    assert stderr.count(b"\n") == 1


async def test_a_node_that_is_there_before_its_broker_listens_and_says_so(folder: Path) -> None:
    home = Home(folder)
    home.prepare()
    store = Store(home)
    store.apply(AIModel(namespace="default", name="smollm2", spec=Spec(type="local", model="static", replicas=1)))
    store.close()
    nats = NatsServer(folder / "nats")
    process = await spawn(environment(folder, nats.url, nats.token_file))
    events = folder / "gateway.events"
    try:
        await until(lambda: events.exists() and events.read_bytes(), 20)
        url, _, node_url = msgspec.json.decode(events.read_bytes().splitlines()[0], type=Change).message.partition(
            ", workers call "
        )
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0, timeout=20) as client:
            assert [model.id async for model in client.models.list()] == ["smollm2"]
            with pytest.raises(openai.InternalServerError) as refused:
                await client.chat.completions.create(**HI)
            assert (refused.value.status_code, refused.value.code) == (503, "queue_unavailable")
            assert refused.value.response.headers["retry-after"]
            asking = asyncio.create_task(client.chat.completions.create(**HI))
            await nats.start()
            queue = await open_queue(nats.url, token=nats.token)
            running = Running(process, url, node_url, folder, nats, queue)
            (worker := await running.worker()).serve(answer)
            assert (await asking).choices[0].message.content == "Hello!"
            await worker.close()
            await queue.close()
    finally:
        process.kill()
        await process.wait()
        nats.kill()


async def test_sigterm_while_the_broker_is_away_exits_0(folder: Path) -> None:
    env = environment(folder, "nats://127.0.0.1:1", folder / "token")
    env.pop("UPLION_QUEUE_TOKEN_FILE")
    (home := Home(folder)).prepare()
    Store(home).close()
    process = await spawn(env)
    await until(lambda: catches(process.pid, signal.SIGTERM), 20)
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(20):
        _, stderr = await process.communicate()
    assert process.returncode == 0
    assert b"Traceback" not in stderr


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal; see proc(5)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(status.partition("SigCgt:")[2].split()[0], 16) >> (number - 1) & 1)


def test_the_process_loads_nothing_that_it_does_not_need() -> None:
    heavy = {"openai", "aiohttp", "httpx", "sqlalchemy", "textual", "kubernetes", "starlette", "fastapi", "pydantic"}
    code = f"import sys, console.gateway.__main__; print(*({heavy} & sys.modules.keys()))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == ""


@contextlib.asynccontextmanager
async def real_worker(node: Running) -> AsyncIterator[None]:
    """`python -m worker_embed` with the static engine."""
    env = {
        "PATH": os.environ["PATH"],
        "NODE_TYPE": "local",
        "MODEL_NAME": "static",
        "RES_TOPIC_NAME": "res-topic",
        "PULSAR_URL": node.nats.url,
        "UPLION_QUEUE_TOKEN_FILE": str(node.nats.token_file),
        "UPLION_ENGINE": "static",
        "UPLION_EVENTS": str(node.folder / "worker.events"),
        "UPLION_CHILD": "worker",
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "worker_embed", env=env)
    try:
        yield
    finally:
        process.terminate()
        try:
            async with asyncio.timeout(15):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def test_the_real_worker_answers_the_same_streamed_and_whole(folder: Path) -> None:
    async with gateway(folder) as node, node.client() as client, real_worker(node):
        whole = await client.chat.completions.create(**HI)
        pieces = [piece async for piece in await client.chat.completions.create(**HI, stream=True)]
        text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
        assert text
        assert whole.choices[0].message.content == text
        assert whole.usage
        replies = await asyncio.gather(*(client.chat.completions.create(**HI) for _ in range(20)))
        assert {reply.choices[0].message.content for reply in replies} == {text}
        await _backlog(node.queue, 0)
