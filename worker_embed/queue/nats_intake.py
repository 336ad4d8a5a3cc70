"""One consumer on a NATS durable: raw pull requests, one permit per free slot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from worker_embed.queue.nats_dead import DeadLetters
from worker_embed.queue.nats_link import Inbox
from worker_embed.queue.nats_streams import DURABLE, NOT_BEFORE, Streams, nak, place
from worker_embed.queue.nats_wire import Msg
from worker_embed.queue.port import Delivery, QueueError
from worker_embed.wire import header_number

PULL_S: Final = 5.0
"""How long the broker keeps a pull request open; then it says how many messages it still owed."""
OVERDUE_S: Final = PULL_S + 2.0
RETRY_S: Final = 1.0


class NatsIntake:
    """Counts credits: `want` slots are free, `out` messages are asked for and neither here nor called off.

    What was taken by `next` can still be acked, nacked, extended and declared dead after `close`.
    """

    def __init__(
        self, streams: Streams, letters: DeadLetters, topic: str, consumer: str, left: Callable[[NatsIntake], None]
    ) -> None:
        self._streams, self._letters, self._topic, self._consumer, self._left = streams, letters, topic, consumer, left
        self._link = streams.link
        self._pull_subject = f"$JS.API.CONSUMER.MSG.NEXT.{place(topic).stream}.{DURABLE}"
        self._want = self._out = 0
        self._round = 0
        self._inbox: Inbox | None = None
        self._here: asyncio.Queue[Delivery | None] = asyncio.Queue()
        self._watch: asyncio.TimerHandle | None = None
        self._restart: asyncio.Task[None] | None = None
        self._closed = False

    async def grant(self, n: int = 1) -> None:
        self._want += n
        self._pull()

    async def next(self) -> Delivery:
        delivery = await self._here.get()
        if delivery is None:
            self._here.put_nowait(None)
            raise QueueError(f"the intake of {self._topic!r} is closed")
        return delivery

    async def ack(self, delivery: Delivery) -> None:
        await self._streams.ack(delivery)

    async def nack(self, delivery: Delivery, *, delay_s: float = 0.0, failed: str = "") -> None:
        if failed:
            await self._streams.retry(delivery, delay_s, failed)
        else:
            await self._streams.give_back(delivery, delay_s)

    async def dead(self, delivery: Delivery, *, reason: str, error: str) -> None:
        await self._letters.bury(delivery, reason, error, self._consumer)

    async def extend(self, delivery: Delivery) -> None:
        self._link.send(delivery.token, b"+WPI")

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._left(self)
        await self.stop()
        while not self._here.empty():
            if delivery := self._here.get_nowait():
                self._link.send(delivery.token, nak())
        self._here.put_nowait(None)

    async def stop(self) -> None:
        """Ask for nothing until `resume`: the connection is lost, or the intake closed."""
        if self._restart:
            self._restart.cancel()
        await self._call_off()

    async def _call_off(self) -> None:
        """Nothing is asked for any more; what arrives nevertheless goes back."""
        self._round += 1
        self._out = 0
        if self._watch:
            self._watch.cancel()
        if self._inbox:
            inbox, self._inbox = self._inbox, None
            await self._link.leave(inbox)

    async def resume(self) -> None:
        """Ask anew, on an inbox that no earlier request knows."""
        await self._call_off()
        if not self._closed:
            self._inbox = self._link.inbox(partial(self._on_message, self._round))
            self._pull()

    def _pull(self) -> None:
        owed = self._want - self._out
        if self._inbox and owed > 0:
            self._out += owed
            body = b'{"batch": %d, "expires": %d}' % (owed, PULL_S * 1e9)
            self._link.send(self._pull_subject, body, self._inbox.subject)
            self._look_again(OVERDUE_S)

    def _look_again(self, after_s: float) -> None:
        """A request that the broker forgot without a word is found by the clock."""
        if self._watch:
            self._watch.cancel()
        self._watch = asyncio.get_running_loop().call_later(after_s, self._overdue)

    def _overdue(self) -> None:
        if self._out and self._link.up:
            self._restart = asyncio.get_running_loop().create_task(self.resume())

    def _on_message(self, asked_in: int, msg: Msg) -> None:
        if not msg.reply:
            if asked_in == self._round:
                self._on_status(msg.headers)
            return
        if asked_in != self._round:
            self._link.send(msg.reply, nak())
            return
        self._out -= 1
        headers = msg.headers
        early_s = header_number(headers.get(NOT_BEFORE)) / 1000 - time.time() if NOT_BEFORE in headers else 0.0
        if early_s > 0:
            self._link.send(msg.reply, nak(early_s))
        else:
            self._want -= 1
            self._here.put_nowait(self._streams.read(self._topic, msg, headers))
        if not self._out:
            self._pull()

    def _on_status(self, headers: Mapping[str, str]) -> None:
        """A request ended (408, 409) with so many messages owed; without the figure all of them are asked for anew."""
        owed = headers.get("Nats-Pending-Messages")
        if owed is None:
            self._look_again(RETRY_S)
            return
        self._out -= header_number(owed)
        if self._out <= 0:
            self._out = 0
            self._pull()
