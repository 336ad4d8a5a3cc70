"""One NATS connection that may go away and come back: requests wait for it, callers hear of it, nothing is printed."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from worker_embed.queue.port import QueueError

NO_RESPONDERS: Final = "503"
RECONNECT_S: Final = 0.1
PENDING_BYTES: Final = 64 * 1024 * 1024
"""Above this the client waits for the socket, deaf to cancellation; callers wait for answers, so it stays far below."""
HEADER_ROOM: Final = 64 * 1024
"""Kept free below the broker's limit, which counts headers too and closes the connection when it is broken."""


class _Lost(Exception):
    """The connection went away before the answer came."""


class Link:
    """Requests and answers over one connection.

    `lost` runs when it goes away; `restored` after each reconnect, until it succeeds, before the requests that wait.
    """

    def __init__(
        self,
        url: str,
        timeout_s: float,
        *,
        lost: Callable[[], Awaitable[None]],
        restored: Callable[[], Awaitable[None]],
    ) -> None:
        self._url, self.timeout_s, self._on_loss, self._restored = url, timeout_s, lost, restored
        self._client = Client()
        self._inboxes = itertools.count()
        self._inbox = self._client.new_inbox()
        self._tokens = itertools.count()
        self._asked: dict[str, asyncio.Future[Msg]] = {}
        self._listeners: set[asyncio.Queue[bool | None]] = set()
        self._linked, self._up = asyncio.Event(), asyncio.Event()
        self._recovery: asyncio.Task[None] | None = None
        self._up_since = 0.0
        self._why = ""
        self.epoch = 0
        """Counts how often the connection was lost."""
        self._closed = False

    async def open(self, token: str, name: str) -> None:
        """Connect, or raise `QueueError` within the time limit: the client itself would try for ever."""
        options: dict[str, Any] = {
            "token": token or None,
            "name": name or None,
            "error_cb": self._on_error,
            "disconnected_cb": self._on_lost,
            "reconnected_cb": self._on_back,
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": RECONNECT_S,
            "connect_timeout": 2,
            "ping_interval": 10,
            "pending_size": PENDING_BYTES,
        }
        try:
            await asyncio.wait_for(self._client.connect(self._url.split(","), **options), self.timeout_s)
            await self._client.subscribe(f"{self._inbox}.*", cb=self._on_answer)
        except (TimeoutError, OSError, nats.errors.Error) as error:
            self._closed = True
            await self._client.close()
            raise self._failure(str(error) or "cannot be reached") from None
        self._why = ""
        self._linked.set()
        self._up.set()

    @property
    def up(self) -> bool:
        """Connected, and recovered from the last loss of the connection."""
        return self._up.is_set()

    @property
    def settling(self) -> bool:
        """Others, too, may still be putting back what a restarted broker has lost."""
        return asyncio.get_running_loop().time() < self._up_since + self.timeout_s

    async def request(
        self,
        subject: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        *,
        epoch: int | None = None,
        recovering: bool = False,
    ) -> Msg | None:
        """The answer, or `None` when nobody listens on `subject`; asks again after a reconnect.

        So what is asked must do no harm when done twice; what means nothing after a loss of the connection names its
        `epoch`, and the answer is `None` in a later one. Raises `QueueError` after the time limit.
        """
        if len(body) > self._client.max_payload - HEADER_ROOM:
            raise self._failure(f"takes no message of {len(body)} bytes")
        gate = self._linked if recovering else self._up
        try:
            async with asyncio.timeout(self.timeout_s):
                while not self._closed:
                    if not gate.is_set():
                        await gate.wait()
                    if epoch is not None and epoch != self.epoch:
                        return None
                    try:
                        answer = await self._ask(subject, body, headers)
                    except _Lost:
                        await asyncio.sleep(RECONNECT_S)
                        continue
                    silent = not answer.data and answer.headers and answer.headers.get("Status") == NO_RESPONDERS
                    return None if silent else answer
                raise self._failure("the connection was closed")
        except TimeoutError:
            raise self._failure("does not answer") from None
        except nats.errors.Error as error:
            raise self._failure(str(error)) from None

    async def _ask(self, subject: str, body: bytes, headers: dict[str, str] | None) -> Msg:
        if not self._client.is_connected:
            raise _Lost
        token = str(next(self._tokens))
        answer: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._asked[token] = answer
        try:
            await self._client.publish(subject, body, f"{self._inbox}.{token}", headers)
            return await answer
        finally:
            del self._asked[token]

    async def send(self, subject: str, body: bytes, reply: str = "") -> None:
        """Send and forget; nothing while the connection is away."""
        if self._client.is_connected:
            await self._client.publish(subject, body, reply)

    async def inbox(self, on_message: Callable[[Msg], Awaitable[None]]) -> Subscription:
        """A subject of our own; `on_message` is a coroutine function. No limit drops what comes: it was asked for."""
        subject = f"{self._inbox}.in.{next(self._inboxes)}"
        try:
            return await self._client.subscribe(subject, cb=on_message, pending_bytes_limit=0)
        except nats.errors.Error as error:
            raise self._failure(str(error)) from None

    async def leave(self, inbox: Subscription) -> None:
        """Give an inbox up once all that was sent to it has been handled; at once while the connection is away."""
        leave: Callable[[], Awaitable[None]] = inbox.drain if self._linked.is_set() else inbox.unsubscribe
        try:
            await leave()
        except nats.errors.Error as error:
            self._why = str(error)

    async def lost(self) -> AsyncIterator[bool]:
        """False at each loss of the connection, True after each recovery; ends with `close`."""
        changes: asyncio.Queue[bool | None] = asyncio.Queue()
        self._listeners.add(changes)
        try:
            while not self._closed and (change := await changes.get()) is not None:
                yield change
        finally:
            self._listeners.discard(changes)

    async def close(self) -> None:
        """End the connection after what was sent has left."""
        self._closed = True
        self._down()
        await self._client.close()
        self._tell(None)

    async def _on_answer(self, msg: Msg) -> None:
        answer = self._asked.get(msg.subject.rpartition(".")[2])
        if answer and not answer.done():
            answer.set_result(msg)

    async def _on_error(self, error: Exception) -> None:
        if "Authorization" not in self._why:
            self._why = str(error)

    async def _on_lost(self) -> None:
        if not self._closed:
            self._down()
            self._tell(False)
            await self._on_loss()

    async def _on_back(self) -> None:
        self._why = ""
        self._linked.set()
        self._recovery = asyncio.get_running_loop().create_task(self._recover())

    async def _recover(self) -> None:
        """A task of its own: the client cancels and awaits the one that calls `_on_back` when the next loss comes."""
        while True:
            try:
                await self._restored()
                break
            except QueueError:
                await asyncio.sleep(RECONNECT_S)
        self._up_since = asyncio.get_running_loop().time()
        self._up.set()
        self._tell(True)

    def _down(self) -> None:
        self.epoch += 1
        self._linked.clear()
        self._up.clear()
        if self._recovery:
            self._recovery.cancel()
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(_Lost())

    def _tell(self, change: bool | None) -> None:
        for listener in self._listeners:
            listener.put_nowait(change)

    def _failure(self, what: str) -> QueueError:
        """One line that names the broker without its credentials."""
        where = self._url.partition("://")[2].rpartition("@")[2]
        return QueueError(f"queue {where}: {what}{f' ({self._why})' if self._why and not self._up.is_set() else ''}")
