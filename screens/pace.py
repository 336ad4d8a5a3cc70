"""Streams slowed down to what a person can see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

T = TypeVar("T")


async def joined(source: AsyncIterator[T], pause_s: float) -> AsyncIterator[Sequence[T]]:
    """What arrives from `source`: the first at once, then all that came meanwhile, at most every `pause_s` seconds.

    Raises what the source raises, after what came before it; the source is closed with this iterator.
    """
    waiting: list[T] = []
    news = asyncio.Event()

    async def read() -> None:
        async for item in source:
            waiting.append(item)
            news.set()

    reader = asyncio.create_task(read())
    reader.add_done_callback(lambda _: news.set())
    try:
        while True:
            await news.wait()
            news.clear()
            ended = reader.done()
            if waiting:
                batch = tuple(waiting)
                waiting.clear()
                yield batch
            if ended:
                reader.result()
                return
            await asyncio.sleep(pause_s)
    finally:
        reader.cancel()
        await asyncio.wait([reader])
