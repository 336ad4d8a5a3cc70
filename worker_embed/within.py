"""A time limit on one future: a fraction of what `asyncio.timeout` costs, where a request waits for several answers."""

from __future__ import annotations

import asyncio
from typing import TypeVar

T = TypeVar("T")


async def within(seconds: float, answer: asyncio.Future[T]) -> T:
    """The result of a future that nobody else waits for; raises `TimeoutError`, which then is its result."""
    timer = answer.get_loop().call_later(seconds, _expire, answer)
    try:
        return await answer
    finally:
        timer.cancel()


def _expire(answer: asyncio.Future[T]) -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())
