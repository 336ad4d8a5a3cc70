"""Finds out how a task wants its answer."""

from __future__ import annotations

import functools
import secrets

import aiohttp

from worker_embed.links import Links
from worker_embed.node_link import NodeLink, NodeReply
from worker_embed.node_link import connect as connect_node
from worker_embed.original import OriginalLink, OriginalReply
from worker_embed.original import connect as connect_original
from worker_embed.queue.port import Delivery
from worker_embed.reply import OnStop, Reply
from worker_embed.wire import Header, Start, Task


class Replies:
    """Makes replies, and keeps the connections that they share; needs a running loop."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._nodes: Links[NodeLink] = Links(connect_node)
        self._originals: Links[OriginalLink] = Links(functools.partial(connect_original, self._session))

    def reply(self, delivery: Delivery, task: Task, on_stop: OnStop) -> Reply:
        """To the node that the task names or, where it names none, to the endpoint of the original's."""
        if url := delivery.headers.get(Header.NODE):
            start = Start(task.request_id, secrets.token_hex(4), delivery.attempt)
            return NodeReply(self._nodes, url, start, on_stop)
        return OriginalReply(self._session, self._originals, task)

    async def close(self) -> None:
        """Close all connections."""
        await self._nodes.close()
        await self._originals.close()
        await self._session.close()
