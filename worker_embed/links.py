"""Connections that many tasks share, each opened when first needed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from worker_embed.reply import NodeLost


class Link(Protocol):
    """An open connection."""

    @property
    def open(self) -> bool: ...

    async def close(self) -> None: ...


L = TypeVar("L", bound=Link)


class Links(Generic[L]):
    """At most one open connection per URL."""

    def __init__(self, connect: Callable[[str], Awaitable[L]]) -> None:
        self._connect = connect
        self._tasks: dict[str, asyncio.Task[L]] = {}

    async def get(self, url: str) -> L:
        """The connection to `url`, opened if there is none; raises `NodeLost`."""
        task = self._tasks.get(url)
        if task is None or _is_useless(task):
            self._tasks = {known: one for known, one in self._tasks.items() if not _is_useless(one)}
            task = self._tasks[url] = asyncio.create_task(self._open(url))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Close all connections."""
        for task in self._tasks.values():
            task.cancel()
            with contextlib.suppress(NodeLost, asyncio.CancelledError):
                await (await task).close()
        self._tasks.clear()

    async def _open(self, url: str) -> L:
        try:
            return await self._connect(url)
        except (OSError, TimeoutError, ValueError) as error:
            raise NodeLost(f"API node {url}: {str(error) or type(error).__name__}") from error


def _is_useless(task: asyncio.Task[L]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None or not task.result().open)
