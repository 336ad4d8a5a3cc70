"""An API node on real sockets, with a memory queue, fixed models and a worker that does as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import openai
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from console.gateway.config import GatewayConfig, Limits
from console.gateway.gateway import Gateway
from operator_embed.box.home import Home
from operator_embed.directory import Served
from worker_embed.frames import from_node
from worker_embed.queue.memory import MemoryQueue
from worker_embed.queue.port import Delivery, Intake, Queue, TopicSpec
from worker_embed.wire import (
    SUBPROTOCOL,
    Answer,
    Cancel,
    Delta,
    Final,
    FromWorker,
    Header,
    Received,
    Start,
    Task,
    Tokens,
    Verdict,
)

MODEL = Served(
    key="default/smollm2",
    name="smollm2",
    model="SmolLM2-135M",
    topic="model-SmolLM2-135M",
    ready=1,
    stopped=False,
    created_s=1_700_000_000.5,
)
SLASHED = replace(MODEL, key="default/qwen", name="qwen", model="Qwen/Qwen3-8B", topic="model-Qwen/Qwen3-8B")
STOPPED = replace(MODEL, key="default/asleep", name="asleep", model="asleep", topic="model-asleep", stopped=True)

HI: dict[str, Any] = {"model": "smollm2", "messages": [{"role": "user", "content": "hi"}]}
WORDS = ("Hel", "lo", "!")
USAGE = Tokens(3, 3, 6)

_uids = itertools.count(1)


class StillDirectory:
    """Models that change only when a test says so."""

    def __init__(self, *models: Served) -> None:
        self.models = list(models)

    def find(self, name: str) -> Served | None:
        by_name = {one.model: one for one in self.models} | {one.name: one for one in self.models}
        return by_name.get(name)

    def all(self) -> Sequence[Served]:
        return sorted(self.models, key=lambda one: one.name)

    @property
    def age_s(self) -> float:
        return 0.0

    async def start(self) -> None: ...

    async def close(self) -> None: ...


async def until(happened: Callable[[], object], limit_s: float = 10.0) -> None:
    """Let the loop run until `happened`; fails after `limit_s`."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + limit_s
    while not happened():
        assert loop.time() < deadline_s, "it never happened"
        await asyncio.sleep(0.005)


def chunk(text: str) -> bytes:
    """One event of a stream, as an engine writes it."""
    delta = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [delta]}
    return b"data: " + msgspec.json.encode(body) + b"\n\n"


def completion(text: str) -> bytes:
    """A whole answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return msgspec.json.encode(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [choice],
            "usage": {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6},
        }
    )


def error(message: str, code: str | None = None, kind: str = "invalid_request_error") -> bytes:
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": None, "code": code}})


@dataclass
class Job:
    """One delivery in the hands of a test's worker."""

    worker: Worker
    delivery: Delivery
    task: Task
    uid: str = field(default_factory=lambda: f"{next(_uids):08x}")
    seq: int = 0

    async def start(self, attempt: int | None = None) -> Verdict:
        """Ask the node; its verdict."""
        await self.worker.send(Start(self.task.request_id, self.uid, attempt or self.delivery.attempt))
        return await self.worker.verdict(self.uid)

    async def delta(self, *data: bytes) -> None:
        await self.worker.send(Delta(self.uid, self.seq, b"".join(data)))
        self.seq += 1

    async def final(self, body: bytes = b"", *, status: int = 200, retry_after_s: float | None = None) -> None:
        """Send the final frame, wait for `received`, ack."""
        await self.worker.send(Final(self.uid, self.seq, status, body, USAGE, retry_after_s))
        self.seq += 1
        await self.received()
        await self.worker.intake.ack(self.delivery)

    async def received(self) -> None:
        await until(lambda: self.uid in self.worker.received)

    async def cancelled(self) -> None:
        await until(lambda: self.uid in self.worker.cancelled)

    @property
    def is_cancelled(self) -> bool:
        return self.uid in self.worker.cancelled


class Worker:
    """Speaks `uplion.1`; what it does with a task is the test's to say."""

    def __init__(self, socket: ClientConnection, intake: Intake) -> None:
        self.intake = intake
        self.received: set[str] = set()
        self.cancelled: set[str] = set()
        self._socket = socket
        self._verdicts: dict[str, asyncio.Future[Verdict]] = {}
        self._reader = asyncio.create_task(self._read())
        self._jobs: set[asyncio.Task[None]] = set()

    async def send(self, frame: FromWorker) -> None:
        await self._socket.send(msgspec.msgpack.encode([frame]))

    async def verdict(self, uid: str) -> Verdict:
        answer = self._verdicts.setdefault(uid, asyncio.get_running_loop().create_future())
        async with asyncio.timeout(10):
            try:
                return await answer
            finally:
                del self._verdicts[uid]

    async def job(self) -> Job:
        """The next task."""
        async with asyncio.timeout(10):
            await self.intake.grant()
            delivery = await self.intake.next()
        return Job(self, delivery, msgspec.json.decode(delivery.body, type=Task))

    def serve(self, do: Callable[[Job], Awaitable[None]], slots: int = 8) -> None:
        """Do the same with every task that comes from now on."""
        for _ in range(slots):
            self._jobs.add(asyncio.create_task(self._serve(do)))

    async def _serve(self, do: Callable[[Job], Awaitable[None]]) -> None:
        while True:
            await self.intake.grant()
            delivery = await self.intake.next()
            job = Job(self, delivery, msgspec.json.decode(delivery.body, type=Task))
            if await job.start() is Verdict.GO:
                await do(job)
            else:
                await self.intake.ack(delivery)

    async def _read(self) -> None:
        async for data in self._socket:
            assert isinstance(data, bytes)
            for frame in from_node(data):
                match frame:
                    case Answer(uid, verdict):
                        loop = asyncio.get_running_loop()
                        self._verdicts.setdefault(uid, loop.create_future()).set_result(verdict)
                    case Received(uid):
                        self.received.add(uid)
                    case Cancel(uid):
                        self.cancelled.add(uid)

    async def die(self) -> None:
        """As after `kill -9`: the connection is reset, nothing is acked."""
        self._socket.transport.abort()
        await self.close()

    async def close(self) -> None:
        for task in (*self._jobs, self._reader):
            task.cancel()
        await asyncio.gather(*self._jobs, self._reader, return_exceptions=True)
        await self._socket.close()


async def answer(job: Job) -> None:
    """What a healthy worker does."""
    if job.task.stream:
        for word in WORDS:
            await job.delta(chunk(word))
        await job.final()
    else:
        await job.final(completion("".join(WORDS)))


@dataclass
class Box:
    """An API node and what it needs, in one loop."""

    gateway: Gateway
    queue: Queue
    directory: StillDirectory
    config: GatewayConfig
    _workers: list[Worker] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.gateway.url

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def client(self, *, path: str = "/v1", retries: int = 0) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=self.url + path, api_key="sk-very-secret", max_retries=retries, timeout=20)

    async def worker(self, model: Served = MODEL) -> Worker:
        """One more worker, connected."""
        await self.queue.ensure(TopicSpec(topic=model.topic))
        intake = await self.queue.consume(model.topic, f"worker-{len(self._workers)}")
        worker = Worker(await self.call(), intake)
        self._workers.append(worker)
        return worker

    async def call(self) -> ClientConnection:
        """A callback connection."""
        return await connect(
            self.gateway.node.url, subprotocols=[Subprotocol(SUBPROTOCOL)], compression=None, proxy=None
        )

    async def serving(self, do: Callable[[Job], Awaitable[None]] = answer) -> Worker:
        worker = await self.worker()
        worker.serve(do)
        return worker

    async def emptied(self) -> None:
        """Every task was acked or taken out of the queue."""
        for _ in range(2000):
            if not any(backlog.total for backlog in (await self.queue.backlog([MODEL.topic])).values()):
                return
            await asyncio.sleep(0.005)
        raise AssertionError("something is left in the queue")


QUICK = Limits(
    header_s=0.5, body_s=0.5, keepalive_s=0.2, stall_s=1.0, lost_s=0.5, drain_s=0.5, publish_s=1.0, tick_s=0.05
)


@contextlib.asynccontextmanager
async def box(
    tmp: Path,
    *models: Served,
    limits: Limits = Limits(),
    queue: Queue | None = None,
    timeout_s: int = 30,
    compat: bool = False,
) -> AsyncIterator[Box]:
    """A running API node on ports of the kernel's choice."""
    config = GatewayConfig(
        home=Home(tmp),
        queue_url="memory://",
        port=0,
        timeout_s=timeout_s,
        compat=compat,
        log=tmp / "gateway.log",
        events=tmp / "gateway.events",
        limits=limits,
    )
    queue = queue or MemoryQueue()
    directory = StillDirectory(*(models or (MODEL, SLASHED, STOPPED)))
    gateway = Gateway(config, queue, directory)
    await gateway.start()
    running = Box(gateway, queue, directory, config)
    try:
        yield running
    finally:
        for worker in running._workers:
            await worker.close()
        await gateway.close()
        await queue.close()


@dataclass(frozen=True)
class Reply:
    """A response read from a bare socket."""

    status: int
    headers: dict[str, str]
    body: bytes


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Reply(int(head[0].split()[1]), headers, body)


async def send_raw(port: int, data: bytes) -> Reply:
    """What a node answers to these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        return await read_reply(reader)
    finally:
        writer.close()


def deadline_of(delivery: Delivery) -> float:
    """Seconds from now."""
    return int(delivery.headers[Header.DEADLINE]) / 1000 - time.time()
