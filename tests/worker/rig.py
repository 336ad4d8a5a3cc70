"""A broker, an API node and a worker that run in one test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from tests.queue.server import NatsServer, running_nats
from tests.worker.node import Node, running_node
from worker_embed.config import WorkerConfig
from worker_embed.engines.choice import choose_engine
from worker_embed.engines.port import Engine
from worker_embed.queue.nats import NatsQueue
from worker_embed.queue.port import Queue, TopicSpec
from worker_embed.report import Change
from worker_embed.reporter import Reporter
from worker_embed.task_run import Limits
from worker_embed.usage_log import records_in
from worker_embed.wire import RESULT_TOPIC, Usage
from worker_embed.worker import Worker

QUICK = Limits(retry_s=0.01, give_back_s=0.05, drain_s=5.0)


@dataclass
class Rig:
    """What a test needs of one model's world."""

    nats: NatsServer
    queue: Queue
    node: Node
    folder: Path
    config: WorkerConfig

    @property
    def events(self) -> Path:
        return self.folder / "events"

    def changes(self) -> list[str]:
        """Reasons told so far."""
        if not self.events.exists():
            return []
        return [msgspec.json.decode(line, type=Change).reason for line in self.events.read_bytes().splitlines()]

    async def tells(self, reason: str) -> None:
        """Wait until the worker's last word is `reason`."""
        await until(lambda: self.changes()[-1:] == [reason])

    async def ask(self, **body: Any) -> Any:
        return await self.node.ask(self.queue, self.config.model, **body)

    async def settled(self, left: int = 0) -> None:
        """Wait until the topic holds no more than `left`: every other task was acked or is dead."""
        topic = f"model-{self.config.model}"

        async def is_settled() -> bool:
            return (await self.queue.backlog([topic]))[topic].total == left

        await until_true(is_settled)

    async def usage(self, count: int) -> dict[str, Usage]:
        """The first `count` usage records, by request."""
        intake = await self.queue.consume(RESULT_TOPIC, "reader")
        await intake.grant(count)
        records: dict[str, Usage] = {}
        async with asyncio.timeout(20):
            while len(records) < count:
                delivery = await intake.next()
                records |= {record.request_id: record for record in records_in(delivery.body)}
                await intake.ack(delivery)
        await intake.close()
        return records

    @asynccontextmanager
    async def working(self, engine: Engine | None = None, limits: Limits = QUICK) -> AsyncIterator[Worker]:
        """A worker that pulls, in this process."""
        queue = await NatsQueue.connect(self.nats.url, token=self.nats.token, name="worker")
        reporter = Reporter(self.config.events, self.config.beat)
        worker = Worker(self.config, queue, engine or choose_engine(self.config), reporter, limits)
        running = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            worker.stop()
            worker.stop()
            await running
            await queue.close()


@asynccontextmanager
async def rig(folder: Path, **config: Any) -> AsyncIterator[Rig]:
    """Broker and node, with the topics of a model that nobody serves yet."""
    async with running_nats(folder) as nats, running_node() as node:
        queue = await NatsQueue.connect(nats.url, token=nats.token, name="test")
        try:
            given = WorkerConfig(
                node_type="remote",
                model="m",
                queue_url=nats.url,
                queue_token=nats.token,
                result_topic=RESULT_TOPIC,
                aimodel_name="m",
                replica="m-abcde",
                events=folder / "events",
                inflight=folder / "inflight",
            )
            made = Rig(nats, queue, node, folder, replace(given, **config))
            for topic in (f"model-{made.config.model}", RESULT_TOPIC):
                await queue.ensure(TopicSpec(topic=topic))
            yield made
        finally:
            await queue.close()


async def until(happened: Callable[[], object], within_s: float = 30.0) -> None:
    """Wait for a condition of another process or task; fails after `within_s`."""

    async def happens() -> object:
        return happened()

    await until_true(happens, within_s)


async def until_true(happens: Callable[[], Awaitable[object]], within_s: float = 30.0) -> None:
    """`until` for a condition that has to be asked for."""
    async with asyncio.timeout(within_s):
        while True:
            if await happens():
                return
            await asyncio.sleep(0.01)
