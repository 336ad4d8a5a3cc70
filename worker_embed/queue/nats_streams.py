"""JetStream as this product uses it: a work-queue stream with one durable consumer per topic.

A stream of its own gives each topic its own limit, its own window of duplicates and a write lock of its own. Only the
API of nats-server 2.9 is used: https://docs.nats.io/reference/reference-protocols/nats_api_reference
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgspec

from worker_embed.queue.nats_api import (
    ID,
    A,
    Answer,
    ConsumerInfo,
    Got,
    Published,
    StreamInfo,
    StreamPage,
    checked,
    id_of,
)
from worker_embed.queue.nats_link import RECONNECT_S, Link
from worker_embed.queue.nats_wire import Msg
from worker_embed.queue.port import Delivery, QueueError, QueueFull, StorageFull, TopicSpec
from worker_embed.wire import Header, header_number

NOT_BEFORE: Final = "uplion-not-before"
"""Unix ms before which the copy of a failed message is not worked on: who gets it earlier gives it back until then."""
FAILED: Final = "uplion-failed"
"""Why the attempt before this one failed."""
OURS: Final = frozenset({ID, NOT_BEFORE, Header.ATTEMPT})
DURABLE: Final = "workers"
SLUG_LIMIT: Final = 200
"""Characters; the broker makes folders of streams' names, and a file system takes 255."""
BATCH: Final = 256
SECOND: Final = 1_000_000_000
NAME_IN_USE: Final = 10058
"""Somebody else created the stream at the same moment, with another limit."""
FULL: Final = ("maximum messages", "maximum bytes", "insufficient resources")
NO_STORAGE: Final = "insufficient storage"


class Place(NamedTuple):
    """Where a topic lies in the broker."""

    stream: str
    first: str
    """Subject of first attempts, which the topic's limit is about."""
    again: str
    """Subject of later attempts: a full topic must not refuse the message that it already holds."""
    both: str
    dead: str


@lru_cache(maxsize=4096)
def place(topic: str) -> Place:
    """Percent-escapes what subjects and stream names forbid; a name too long for a folder ends in its hash."""
    slug = quote(topic, safe="").replace(".", "%2E")
    if len(slug) > SLUG_LIMIT:
        slug = f"{slug[: SLUG_LIMIT - 33]}-{hashlib.blake2b(topic.encode(), digest_size=16).hexdigest()}"
    tasks = f"tasks.{slug}"
    return Place(f"TASKS-{slug}", f"{tasks}.first", f"{tasks}.again", f"{tasks}.*", f"dlq.{slug}")


class Held(NamedTuple):
    """The `handle` of a delivery."""

    seq: int
    stored_s: float
    """Unix time; with `seq` it names a message also when its stream was made anew."""
    epoch: int
    """Of the link when it came."""


def held_by(delivery: Delivery) -> Held:
    assert isinstance(delivery.handle, Held)
    return delivery.handle


class Origin(NamedTuple):
    """What the subject that a delivery is acknowledged on tells of it."""

    stream: str
    delivered: int
    """How often it was handed out, this time included."""
    seq: int
    stored_s: float
    """Unix time."""


def origin(reply: str) -> Origin:
    """Reads `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<delivered>.<seq>.<consumer seq>.<Unix ns>.<pending>`.

    Source: https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-15.md
    """
    words = reply.split(".")
    at = 2 if len(words) == 9 else 4
    return Origin(words[at], int(words[at + 2]), int(words[at + 3]), int(words[at + 5]) / SECOND)


def nak(delay_s: float = 0.0) -> bytes:
    """The answer to a delivery that asks for another one after `delay_s`."""
    return b'-NAK {"delay": %d}' % (delay_s * SECOND) if delay_s > 0 else b"-NAK"


def no_topic(topic: str) -> QueueError:
    return QueueError(f"no topic {topic!r}: nobody has created it, or it was dropped")


class Streams:
    """Topics of one broker over one connection; remembers those it created or found, to put back what a broker lost."""

    def __init__(self, link: Link, ack_wait_s: float) -> None:
        self.link = link
        self._ack_wait_s = ack_wait_s
        self._known: dict[str, TopicSpec] = {}

    async def api(
        self, call: str, kind: type[A], body: Mapping[str, Any] | None = None, *, recovering: bool = False
    ) -> A:
        """One call of the JetStream API, `$JS.API.<call>`; its error, if any, is in the answer."""
        payload = json.dumps(body).encode() if body else b""
        answer = await self.link.request(f"$JS.API.{call}", payload, recovering=recovering)
        if answer is None:
            raise QueueError("the queue's broker runs without JetStream: start it with a store (`nats-server -js`)")
        return msgspec.json.decode(answer.data, type=kind)

    async def create(self, spec: TopicSpec, *, recovering: bool = False) -> None:
        """Create stream and durable unless they are there; an existing stream keeps its limit."""
        at = place(spec.topic)
        info = await self.api(f"STREAM.INFO.{at.stream}", StreamInfo, recovering=recovering)
        if info.error:
            config = {
                "name": at.stream,
                "description": spec.topic,
                "subjects": [at.both],
                "retention": "workqueue",
                "storage": "file",
                "discard": "new",
                "discard_new_per_subject": True,
                "max_msgs_per_subject": spec.max_messages,
                "duplicate_window": 120 * SECOND,
                "num_replicas": 1,
            }
            info = await self.api(f"STREAM.CREATE.{at.stream}", StreamInfo, config, recovering=recovering)
            if info.error and info.error.err_code == NAME_IN_USE:
                info = await self.api(f"STREAM.INFO.{at.stream}", StreamInfo, recovering=recovering)
            checked(info)
        consumer = {
            "durable_name": DURABLE,
            "ack_policy": "explicit",
            "ack_wait": int(self._ack_wait_s * SECOND),
            "max_deliver": -1,
            "max_ack_pending": -1,
            "max_waiting": 8192,
            "deliver_policy": "all",
            "replay_policy": "instant",
        }
        call = f"CONSUMER.DURABLE.CREATE.{at.stream}.{DURABLE}"
        wanted = {"stream_name": at.stream, "config": consumer}
        checked(await self.api(call, ConsumerInfo, wanted, recovering=recovering))
        self._known[spec.topic] = spec

    async def find(self, topic: str) -> None:
        """Learn of a topic that somebody created; raises `QueueError` when nobody did."""
        if topic not in self._known:
            info = await self.api(f"STREAM.INFO.{place(topic).stream}", StreamInfo)
            if info.config is None:
                raise no_topic(topic)
            self._known[topic] = TopicSpec(topic=topic, max_messages=info.config.max_msgs_per_subject)

    async def restore(self) -> None:
        """Put back the known topics that a restarted broker has lost."""
        for spec in list(self._known.values()):
            await self.create(spec, recovering=True)

    def forget(self, topic: str) -> None:
        self._known.pop(topic, None)

    async def publish(
        self, topic: str, body: bytes, headers: Mapping[str, str], *, id: str, attempt: int, mark: str = ""
    ) -> int:
        """Store a message and return its sequence; `id` with `mark`, else the attempt, is dropped when seen before."""
        at = place(topic)
        subject = at.first if attempt == 1 else at.again
        marked = {**headers, Header.ATTEMPT: str(attempt), ID: f"{id}:{mark or attempt}"}
        while (answer := await self.link.request(subject, body, marked)) is None:
            if not self.link.settling:
                raise no_topic(topic)
            await asyncio.sleep(RECONNECT_S)
        published = msgspec.json.decode(answer.data, type=Published)
        if published.error and NO_STORAGE in published.error.description:
            raise StorageFull(f"topic {topic!r}: {published.error.description}")
        if published.error and any(words in published.error.description for words in FULL):
            raise QueueFull(f"topic {topic!r} is full: {published.error.description}")
        return checked(published).seq

    def read(self, topic: str, msg: Msg, headers: Mapping[str, str]) -> Delivery:
        """A message as the port's callers know it."""
        marked = headers.get(ID)
        came = origin(msg.reply)
        return Delivery(
            id=id_of(marked) if marked else f"{came.stream}-{came.seq}",
            topic=topic,
            body=msg.data,
            headers={name: value for name, value in headers.items() if name not in OURS},
            attempt=header_number(headers.get(Header.ATTEMPT), 1),
            engine_attempt=came.delivered,
            token=msg.reply,
            handle=Held(came.seq, came.stored_s, self.link.epoch),
        )

    async def ack(self, delivery: Delivery) -> None:
        """End a delivery; returns when the broker knows.

        A broker that was killed forgets its newest deliveries and then ignores acks, without a word, so after a loss
        of the connection the message itself is removed; not the one that took its place if the store was lost too.
        """
        held = held_by(delivery)
        if await self.link.request(delivery.token, b"+ACK", epoch=held.epoch) is None:
            stream = place(delivery.topic).stream
            if await self.holds(stream, held.seq, delivery.id):
                await self.delete(stream, held.seq)

    async def give_back(self, delivery: Delivery, delay_s: float) -> None:
        """Ask for a redelivery; after a loss of the connection the end of the lease brings it."""
        await self.link.request(delivery.token, nak(delay_s), epoch=held_by(delivery).epoch)

    async def retry(self, delivery: Delivery, delay_s: float, failed: str) -> None:
        """Publish a copy with the next attempt, then ack; a crash in between gives the same copy, which is dropped."""
        headers = {**delivery.headers, FAILED: failed}
        if delay_s > 0:
            headers[NOT_BEFORE] = str(int((time.time() + delay_s) * 1000))
        await self.publish(delivery.topic, delivery.body, headers, id=delivery.id, attempt=delivery.attempt + 1)
        await self.ack(delivery)

    async def lengths(self) -> dict[str, int]:
        """Messages that lie in each stream: one question for all, where most hold none."""
        found: dict[str, int] = {}
        while True:
            page = checked(await self.api("STREAM.LIST", StreamPage, {"offset": len(found)}))
            found |= {info.config.name: info.state.messages for info in page.streams if info.config}
            if not page.streams or len(found) >= page.total:
                return found

    async def consumer(self, topic: str) -> ConsumerInfo | None:
        """What the broker knows of the topic's durable; `None` without such a topic."""
        info = await self.api(f"CONSUMER.INFO.{place(topic).stream}.{DURABLE}", ConsumerInfo)
        return None if info.error else info

    async def holds(self, stream: str, seq: int, id: str) -> bool:
        """Does this message still lie there? A stream that was created anew counts from 1 again."""
        got = await self.api(f"STREAM.MSG.GET.{stream}", Got, {"seq": seq})
        return got.message is not None and got.message.id == id

    async def delete(self, stream: str, seq: int) -> bool:
        """True when this call removed the message."""
        return (await self.api(f"STREAM.MSG.DELETE.{stream}", Answer, {"seq": seq})).error is None

    async def fetch(self, stream: str, durable: str, most: int) -> list[Msg]:
        """Up to `most` messages, at most `BATCH`, of those that can be had now."""
        wanted = min(most, BATCH)
        messages: list[Msg] = []
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_message(msg: Msg) -> None:
            if msg.reply:
                messages.append(msg)
            if not done.done() and (not msg.reply or len(messages) == wanted):
                done.set_result(None)

        inbox = self.link.inbox(on_message)
        if inbox is None:
            raise QueueError("the queue's broker is away")
        try:
            pull = b'{"batch": %d, "no_wait": true}' % wanted
            self.link.send(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}", pull, inbox.subject)
            async with asyncio.timeout(self.link.timeout_s):
                await done
        except TimeoutError:
            raise QueueError("the queue's broker does not answer") from None
        finally:
            await self.link.leave(inbox)
        return messages
