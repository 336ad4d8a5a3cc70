"""Servers to compare with: `python -m tests.bench.servers echo|memory` prints its URL and runs until SIGTERM.

`echo` is the least that an ASGI server can do with a request; `memory` is our API node with a queue and a worker in the
same process.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
import uvloop

from console.gateway.config import GatewayConfig
from console.gateway.gateway import Gateway
from operator_embed.box.home import Home
from operator_embed.directory import Served
from tests.bench.client import CONNECTIONS, MODEL
from tests.bench.cpu import PYTHON
from worker_embed.queue.memory import MemoryQueue
from worker_embed.queue.port import Delivery, Intake, TopicSpec
from worker_embed.wire import Final, Start, Task, Tokens

SERVED = Served(
    key=f"default/{MODEL}", name=MODEL, model=MODEL, topic=f"model-{MODEL}", ready=1, stopped=False, created_s=0.0
)


class OneModel:
    """A directory that knows one model."""

    age_s = 0.0

    def find(self, name: str) -> Served | None:
        return SERVED if name == MODEL else None

    def all(self) -> Sequence[Served]:
        return (SERVED,)

    async def start(self) -> None:
        """Always there."""

    async def close(self) -> None:
        """Always there."""


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """The request's body as the response."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def serve_echo() -> None:
    """uvicorn as fast as it gets."""
    config = uvicorn.Config(
        echo, loop="uvloop", http="httptools", ws="none", lifespan="off", access_log=False, log_level="critical"
    )
    with socket.create_server(("127.0.0.1", 0)) as sock:
        print(f"http://127.0.0.1:{sock.getsockname()[1]}", flush=True)
        uvicorn.Server(config).run(sockets=[sock])


class EchoWorker:
    """Answers each task with what its client sent."""

    def __init__(self, gateway: Gateway, intake: Intake) -> None:
        self._intake = intake
        self._link = gateway.node.connect(lambda frame: None)

    async def run(self) -> None:
        await self._intake.grant(CONNECTIONS)
        while True:
            await self._answer(await self._intake.next())

    async def _answer(self, delivery: Delivery) -> None:
        task = msgspec.json.decode(delivery.body, type=Task)
        uid = task.request_id[:8]
        self._link.receive(Start(task.request_id, uid, delivery.attempt))
        self._link.receive(Final(uid, 0, 200, bytes(task.data), Tokens()))
        await self._intake.ack(delivery)
        await self._intake.grant()


async def serve_memory(folder: Path) -> None:
    """An API node whose queue and worker are in its own process."""
    config = GatewayConfig(
        home=Home(folder), queue_url="memory://", port=0, log=folder / "gateway.log", events=folder / "gateway.events"
    )
    queue = MemoryQueue()
    gateway = Gateway(config, queue, OneModel())
    await gateway.start()
    await queue.ensure(TopicSpec(topic=SERVED.topic))
    worker = EchoWorker(gateway, await queue.consume(SERVED.topic, "worker"))
    print(gateway.url, flush=True)
    await worker.run()


@asynccontextmanager
async def server(kind: str) -> AsyncIterator[tuple[str, int]]:
    """URL and pid of a server that is gone when the block ends."""
    process = await asyncio.create_subprocess_exec(
        PYTHON, "-m", "tests.bench.servers", kind, env=os.environ, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield (await process.stdout.readline()).decode().strip(), process.pid
    finally:
        process.kill()
        await process.wait()


if __name__ == "__main__":
    if sys.argv[1] == "echo":
        serve_echo()
    else:
        with tempfile.TemporaryDirectory(prefix="upl-") as folder:
            uvloop.run(serve_memory(Path(folder)))
