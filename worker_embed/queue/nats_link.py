"""One NATS connection that may go away and come back: requests wait for it, callers hear of it, nothing is printed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

from worker_embed.queue.nats_wire import Endpoint, Msg, OnMessage, Wire, WireError, dial
from worker_embed.queue.port import QueueError
from worker_embed.within import within

NO_RESPONDERS: Final = "503"
RECONNECT_S: Final = 0.1
CONNECT_S: Final = 2.0
HEADER_ROOM: Final = 64 * 1024
"""Kept free below the broker's limit, which counts headers too and closes the connection when it is broken."""


class _Lost(Exception):
    """The connection went away before the answer came."""


class Inbox(NamedTuple):
    """A subject of our own on one connection."""

    subject: str
    wire: Wire
    sid: bytes


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
        self._endpoints: Sequence[Endpoint] = ()
        self._token = self._name = ""
        self._wire: Wire | None = None
        self._inboxes, self._tokens = itertools.count(), itertools.count()
        self._inbox = f"_INBOX.{secrets.token_hex(8)}"
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
        """Connect, or raise `QueueError` within the time limit."""
        self._token, self._name = token, name
        try:
            self._endpoints = [Endpoint.of(url) for url in self._url.split(",")]
            async with asyncio.timeout(self.timeout_s):
                await self._connect()
        except (WireError, OSError, ValueError) as error:
            self._closed = True
            raise self._failure(_said(error)) from None
        self._up.set()

    @property
    def up(self) -> bool:
        """Connected, and recovered from the last loss of the connection."""
        return self._up.is_set() and not self._closed

    @property
    def settling(self) -> bool:
        """Others, too, may still be putting back what a restarted broker has lost."""
        return asyncio.get_running_loop().time() < self._up_since + self.timeout_s

    async def request(
        self,
        subject: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        epoch: int | None = None,
        recovering: bool = False,
    ) -> Msg | None:
        """The answer, or `None` when nobody listens on `subject`; asks again after a reconnect.

        So what is asked must do no harm when done twice; what means nothing after a loss of the connection names its
        `epoch`, and the answer is `None` in a later one. Raises `QueueError` after the time limit.
        """
        gate = self._linked if recovering else self._up
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self.timeout_s
        try:
            while not self._closed:
                if not gate.is_set():
                    async with asyncio.timeout_at(until_s):
                        await gate.wait()
                if epoch is not None and epoch != self.epoch:
                    return None
                try:
                    answer = await self._ask(subject, body, headers, until_s - loop.time())
                except _Lost:
                    continue
                return None if answer.status == NO_RESPONDERS else answer
            raise self._failure("the connection was closed")
        except TimeoutError:
            raise self._failure("does not answer") from None
        except WireError as error:
            raise self._failure(str(error)) from None

    async def _ask(self, subject: str, body: bytes, headers: Mapping[str, str] | None, within_s: float) -> Msg:
        if self._wire is None:
            raise _Lost
        if len(body) > self._wire.max_payload - HEADER_ROOM:
            raise WireError(f"takes no message of {len(body)} bytes")
        token = str(next(self._tokens))
        answer: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._asked[token] = answer
        try:
            self._wire.publish(subject, body, f"{self._inbox}.{token}", headers)
            return await within(within_s, answer)
        finally:
            del self._asked[token]

    def send(self, subject: str, body: bytes, reply: str = "") -> None:
        """Send and forget; nothing while the connection is away."""
        if self._wire:
            with contextlib.suppress(WireError):
                self._wire.publish(subject, body, reply)

    def inbox(self, on_message: OnMessage) -> Inbox | None:
        """A subject of our own; `None` while the connection is away."""
        if self._wire is None:
            return None
        subject = f"{self._inbox}.in.{next(self._inboxes)}"
        return Inbox(subject, self._wire, self._wire.subscribe(subject, on_message))

    async def leave(self, inbox: Inbox) -> None:
        """Give an inbox up once all that was sent to it has been handled; at once when its connection is gone."""
        if inbox.wire is self._wire:
            await inbox.wire.unsubscribe(inbox.sid)

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
        wire = self._wire
        self._down()
        self._linked.set()
        self._up.set()
        if wire:
            await wire.close()
        self._tell(None)

    async def _connect(self) -> None:
        """Try each broker once; raises what the last one said."""
        for endpoint in self._endpoints:
            try:
                async with asyncio.timeout(CONNECT_S):
                    wire = await dial(endpoint, token=self._token, name=self._name, on_lost=self._on_lost)
                break
            except (WireError, OSError):
                if endpoint is self._endpoints[-1]:
                    raise
        wire.subscribe(f"{self._inbox}.*", self._on_answer)
        self._wire, self._why = wire, ""
        self._linked.set()

    def _on_answer(self, msg: Msg) -> None:
        answer = self._asked.get(msg.subject.rpartition(".")[2])
        if answer and not answer.done():
            answer.set_result(msg)

    def _on_lost(self, why: str) -> None:
        self._why = why
        self._down()
        self._tell(False)
        self._recovery = asyncio.get_running_loop().create_task(self._recover())

    async def _recover(self) -> None:
        """Come back, and put back what the broker has lost; the next loss begins this anew."""
        await self._on_loss()
        while not self._linked.is_set():
            await asyncio.sleep(RECONNECT_S)
            try:
                await self._connect()
            except (WireError, OSError) as error:
                self._why = _said(error)
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
        self._wire = None
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
        why = f" ({self._why})" if self._why and self._why != what and not self._up.is_set() else ""
        return QueueError(f"queue {where}: {what}{why}")


def _said(error: Exception) -> str:
    """Why there is no connection."""
    if not isinstance(error, OSError):
        return str(error)
    known = isinstance(error, ConnectionError) or not error.strerror
    return "cannot be reached" if known else f"cannot be reached: {error.strerror}"
