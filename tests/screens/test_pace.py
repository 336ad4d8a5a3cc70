"""Streams slowed down: nothing is lost, and closing reaches the source."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from screens.pace import joined

pytestmark = pytest.mark.anyio


async def counting(upto: int) -> AsyncIterator[int]:
    for number in range(upto):
        yield number


async def test_the_first_comes_at_once_and_nothing_is_lost() -> None:
    batches = [batch async for batch in joined(counting(1_000), 0.001)]
    assert [number for batch in batches for number in batch] == list(range(1_000))
    assert len(batches) < 10


async def test_what_came_before_an_error_comes_before_it() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ValueError("gone")

    async def read() -> None:
        async for batch in joined(broken(), 0.001):
            got.extend(batch)

    got: list[int] = []
    with pytest.raises(ValueError, match="gone"):
        await read()
    assert got == [1]


async def test_leaving_closes_the_source() -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            closed.set()

    async def read() -> None:
        async for _ in joined(endless(), 0.001):
            reading.set()

    reading = asyncio.Event()
    reader = asyncio.create_task(read())
    async with asyncio.timeout(10):
        await reading.wait()
        reader.cancel()
        await closed.wait()
