"""Answers to the original's API node: JSON to the `endpoint` of the task, over HTTP or one WebSocket per node.

Nothing comes back: no verdict, no cancel, no confirmation of a stream. Ids are looked up per frame, so a stream goes on
over a new connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec

from worker_embed.links import Links
from worker_embed.reply import NodeLost
from worker_embed.wire import Task, Tokens, Verdict

TIMEOUT_S: Final = 10.0
UNKNOWN_ID_WAITS_S: Final = (0.1, 0.3, 1.0)
"""The original publishes a task before it knows the id; a quick answer comes too early."""
SEND_TRIES: Final = 3

log = logging.getLogger("worker")


class OriginalLink:
    """An open WebSocket to `/res/ws`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._reading = asyncio.create_task(self._read())

    @property
    def open(self) -> bool:
        return not self._socket.closed and not self._reading.done()

    async def send(self, frame: bytes) -> None:
        """Send one text frame; raises `NodeLost`."""
        if not self.open:
            raise NodeLost("connection lost")
        try:
            await self._socket.send_frame(frame, aiohttp.WSMsgType.TEXT)
        except (aiohttp.ClientError, ConnectionError) as error:
            raise NodeLost(str(error) or "connection lost") from error

    async def close(self) -> None:
        await self._socket.close()
        await self._reading

    async def _read(self) -> None:
        """Answer pings and notice the end; the original says nothing else."""
        async for _ in self._socket:
            pass


class Originals:
    """The connections to the original's API nodes that tasks share; needs a running loop."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._links = Links(self._connect)

    def reply(self, task: Task) -> OriginalReply:
        return OriginalReply(self._session, self._links, task)

    async def close(self) -> None:
        await self._links.close()
        await self._session.close()

    async def _connect(self, url: str) -> OriginalLink:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return OriginalLink(await self._session.ws_connect(url, heartbeat=TIMEOUT_S))
        except aiohttp.ClientError as error:
            raise NodeLost(f"API node {url}: {error}") from error


class OriginalReply:
    """The answer of one task, as the original's worker sends it."""

    def __init__(self, session: aiohttp.ClientSession, links: Links[OriginalLink], task: Task) -> None:
        self._session, self._links, self._task = session, links, task
        self.begun = False

    async def open(self) -> Verdict:
        return Verdict.GO

    async def events(self, payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            self.begun = True
            await self._frame({"end": False, "data": msgspec.Raw(payload)})

    async def final(self, status: int, body: bytes, usage: Tokens, retry_after_s: float | None = None) -> None:
        data = {"data": msgspec.Raw(body)} if body else {}
        if self._task.stream:
            await self._frame({"end": True, **data})
        else:
            await self._post(msgspec.json.encode({"request_id": self._task.request_id, **data}))

    async def give_back(self) -> None:
        """The original does not count attempts."""

    def close(self) -> None:
        """Nothing is kept for a single task."""

    async def _frame(self, fields: dict[str, Any]) -> None:
        frame = msgspec.json.encode({"request_id": self._task.request_id, **fields})
        url = urlsplit(self._task.endpoint)
        address = url._replace(scheme={"http": "ws", "https": "wss"}.get(url.scheme, url.scheme)).geturl()
        for attempt in range(1, SEND_TRIES + 1):
            try:
                await (await self._links.get(address)).send(frame)
                return
            except NodeLost:
                if attempt == SEND_TRIES:
                    raise

    async def _post(self, body: bytes) -> None:
        for wait_s in (*UNKNOWN_ID_WAITS_S, None):
            status = await self._posted(body)
            if status != HTTPStatus.NOT_FOUND or wait_s is None:
                break
            await asyncio.sleep(wait_s)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise NodeLost(f"API node {self._task.endpoint}: status {status}")
        if status != HTTPStatus.OK:
            log.warning("API node %s: status %d for %s", self._task.endpoint, status, self._task.request_id)

    async def _posted(self, body: bytes) -> int:
        try:
            async with self._session.post(
                self._task.endpoint,
                data=body,
                headers={"Content-Type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            ) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError) as error:
            raise NodeLost(f"API node {self._task.endpoint}: {str(error) or type(error).__name__}") from error
