"""A queue that may be reached later than the API node begins to listen."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Protocol

from worker_embed.queue.open import patiently
from worker_embed.queue.port import Queue, QueueError, Ref, TopicSpec


class TaskQueue(Protocol):
    """The part of `Queue` that an API node uses; the contract is the same."""

    async def ensure(self, spec: TopicSpec) -> None: ...

    async def publish(
        self, topic: str, body: bytes, *, id: str, headers: Mapping[str, str] | None = None, attempt: int = 1
    ) -> Ref: ...

    def forget(self, topic: str) -> None: ...

    async def cancel(self, ref: Ref) -> bool: ...

    def lost(self) -> AsyncIterator[bool]: ...


class LateQueue:
    """Tries to reach its queue until it does; until then it is a queue that is away."""

    def __init__(self, reach: Callable[[], Awaitable[Queue]], wait_s: float) -> None:
        """On the running loop; `reach` raises `QueueError`. Who asks too early waits `wait_s` at the most."""
        self._reach, self._wait_s = reach, wait_s
        self._queue: Queue | None = None
        self._reaching = asyncio.get_running_loop().create_task(self._reached())

    async def ensure(self, spec: TopicSpec) -> None:
        await (self._queue or await self._there()).ensure(spec)

    async def publish(
        self, topic: str, body: bytes, *, id: str, headers: Mapping[str, str] | None = None, attempt: int = 1
    ) -> Ref:
        queue = self._queue or await self._there()
        return await queue.publish(topic, body, id=id, headers=headers, attempt=attempt)

    def forget(self, topic: str) -> None:
        if self._queue is not None:
            self._queue.forget(topic)

    async def cancel(self, ref: Ref) -> bool:
        return await (self._queue or await self._there()).cancel(ref)

    async def lost(self) -> AsyncIterator[bool]:
        """As the queue's; begins with False where it was not reached yet."""
        if self._queue is None:
            yield False
            await asyncio.shield(self._reaching)
            yield True
        async for up in (await self._there()).lost():
            yield up

    async def close(self) -> None:
        self._reaching.cancel()
        await asyncio.wait([self._reaching])
        if self._queue is not None:
            await self._queue.close()

    async def _there(self) -> Queue:
        try:
            async with asyncio.timeout(self._wait_s):
                return await asyncio.shield(self._reaching)
        except TimeoutError:
            raise QueueError("the queue was not reached yet") from None

    async def _reached(self) -> Queue:
        self._queue = await patiently(self._reach, lambda why: print(why, file=sys.stderr, flush=True))
        return self._queue
