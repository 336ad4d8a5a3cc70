"""Finds out how a task wants its answer."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from worker_embed.links import Links
from worker_embed.node_link import NodeLink, NodeReply, connect
from worker_embed.queue.port import Delivery
from worker_embed.reply import OnStop, Reply
from worker_embed.wire import Header, Start, Task

if TYPE_CHECKING:
    from worker_embed.original import Originals


class Replies:
    """Makes replies, and keeps the connections that they share."""

    def __init__(self) -> None:
        self._nodes: Links[NodeLink] = Links(connect)
        self._originals: Originals | None = None

    def reply(self, delivery: Delivery, task: Task, on_stop: OnStop) -> Reply:
        """To the node that the task names or, where it names none, to the endpoint of the original's."""
        if url := delivery.headers.get(Header.NODE):
            start = Start(task.request_id, secrets.token_hex(4), delivery.attempt)
            return NodeReply(self._nodes, url, start, on_stop)
        if self._originals is None:
            from worker_embed.original import Originals  # aiohttp is half of a worker's start

            self._originals = Originals()
        return self._originals.reply(task)

    async def close(self) -> None:
        """Close all connections."""
        await self._nodes.close()
        if self._originals is not None:
            await self._originals.close()
