"""A queue by its URL: the scheme picks the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from worker_embed.queue.memory import MemoryBroker, MemoryQueue
from worker_embed.queue.port import Queue, QueueError

FIRST_TRY_S, LAST_TRY_S = 0.05, 1.0
_brokers: dict[str, MemoryBroker] = {}


async def open_queue(url: str, *, token: str = "", name: str = "", timeout_s: float = 5.0) -> Queue:
    """Connect to `nats://host:port` or `memory://name`; `name` is what the broker calls this connection.

    A memory queue is shared by all who name it in this process. Raises `QueueError` after `timeout_s`.
    """
    scheme, _, rest = url.partition("://")
    match scheme:
        case "nats" | "tls":
            from worker_embed.queue.nats import NatsQueue

            return await NatsQueue.connect(url, token=token, name=name, timeout_s=timeout_s)
        case "memory":
            return MemoryQueue(_brokers.setdefault(rest, MemoryBroker()))
        case "pulsar" | "pulsar+ssl":
            raise QueueError("pulsar:// serves cluster contexts and is not in this build: use a nats:// URL")
        case _:
            raise QueueError(f"queue URL {url!r}: its scheme must be nats or memory")


async def patiently(reach: Callable[[], Awaitable[Queue]], say: Callable[[str], None]) -> Queue:
    """What `reach` returns once it raises no `QueueError` any more; each new reason is said once."""
    wait_s, said = FIRST_TRY_S, ""
    while True:
        try:
            return await reach()
        except QueueError as error:
            if said != (said := str(error)):
                say(said)
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, LAST_TRY_S)
