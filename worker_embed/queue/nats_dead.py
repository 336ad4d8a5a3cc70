"""Dead letters on JetStream: one stream for all topics, a subject each."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec

from worker_embed.queue.nats_api import ID, Answer, ConsumerInfo, Got, StreamInfo, checked
from worker_embed.queue.nats_streams import SECOND, Streams, held_by, origin, place
from worker_embed.queue.port import DeadLetter, Delivery, QueueError

STREAM: Final = "DLQ"
EVERY: Final = "dlq.*"
KEPT: Final = 1000
"""Newest letters of a topic that are kept, for `AGE_S`."""
AGE_S: Final = 7 * 24 * 3600


class Letter(msgspec.Struct, frozen=True):
    """What is stored; the headers of a message would not carry an error of several lines."""

    id: str
    topic: str
    reason: str
    error: str
    attempts: int
    died_s: float
    last_consumer: str
    body: bytes
    headers: dict[str, str]


class DeadLetters:
    """The dead letters of a broker's topics."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    async def create(self, *, recovering: bool = False) -> None:
        """Create their stream unless it is there."""
        info = await self._streams.api(f"STREAM.INFO.{STREAM}", StreamInfo, recovering=recovering)
        if info.error:
            config = {
                "name": STREAM,
                "subjects": [EVERY],
                "retention": "limits",
                "storage": "file",
                "discard": "old",
                "max_age": AGE_S * SECOND,
                "max_msgs_per_subject": KEPT,
                "duplicate_window": 120 * SECOND,
                "num_replicas": 1,
            }
            checked(await self._streams.api(f"STREAM.CREATE.{STREAM}", StreamInfo, config, recovering=recovering))

    async def bury(self, delivery: Delivery, reason: str, error: str, consumer: str) -> None:
        """Store the letter, then end the delivery; after a crash in between it is buried again, but stored once."""
        letter = Letter(
            id=delivery.id,
            topic=delivery.topic,
            reason=reason,
            error=error,
            attempts=delivery.attempt,
            died_s=time.time(),
            last_consumer=consumer,
            body=delivery.body,
            headers=dict(delivery.headers),
        )
        held = held_by(delivery)
        marked = {ID: f"{delivery.id}:{held.seq}-{held.stored_s}"}
        body = msgspec.msgpack.encode(letter)
        answer = await self._streams.link.request(place(delivery.topic).dead, body, marked)
        if answer is None:
            raise QueueError("the queue's broker keeps no dead letters: its stream DLQ is gone")
        checked(msgspec.json.decode(answer.data, type=Answer))
        await self._streams.ack(delivery)

    async def counts(self, topics: Sequence[str]) -> dict[str, int]:
        """Letters of each topic; one question, as an idle box asks it for all its topics every two seconds."""
        wanted = place(topics[0]).dead if len(topics) == 1 else EVERY
        info = await self._streams.api(f"STREAM.INFO.{STREAM}", StreamInfo, {"subjects_filter": wanted})
        return {topic: info.state.subjects.get(place(topic).dead, 0) for topic in topics}

    async def last(self, topic: str) -> DeadLetter | None:
        """The newest letter, if there is one."""
        got = await self._streams.api(f"STREAM.MSG.GET.{STREAM}", Got, {"last_by_subj": place(topic).dead})
        return _read(got.message.data, str(got.message.seq)) if got.message else None

    async def newest(self, topic: str, limit: int) -> list[DeadLetter]:
        """The newest `limit` letters, newest first; the broker can only be read from the oldest on."""
        total = (await self.counts([topic]))[topic]
        if not total:
            return []
        wanted = {
            "deliver_policy": "all",
            "ack_policy": "none",
            "replay_policy": "instant",
            "mem_storage": True,
            "filter_subject": place(topic).dead,
        }
        call = f"CONSUMER.CREATE.{STREAM}"
        reader = checked(await self._streams.api(call, ConsumerInfo, {"stream_name": STREAM, "config": wanted})).name
        letters: deque[DeadLetter] = deque(maxlen=limit)
        read = 0
        while read < total and (messages := await self._streams.fetch(STREAM, reader, total - read)):
            read += len(messages)
            for msg in messages:
                letters.appendleft(_read(msg.data, str(origin(msg.reply).seq)))
        await self._streams.api(f"CONSUMER.DELETE.{STREAM}.{reader}", Answer)
        return list(letters)

    async def requeue(self, letter: DeadLetter) -> None:
        """Done twice it still gives one message: its mark is the letter's own."""
        await self._streams.publish(
            letter.topic, letter.body, letter.headers, id=letter.id, attempt=1, mark=f"requeued-{letter.ref}"
        )
        await self.discard(letter)

    async def discard(self, letter: DeadLetter) -> None:
        if await self._streams.holds(STREAM, int(letter.ref), letter.id):
            await self._streams.delete(STREAM, int(letter.ref))

    async def drop(self, topic: str) -> None:
        """Remove all letters of a topic."""
        await self._streams.api(f"STREAM.PURGE.{STREAM}", Answer, {"filter": place(topic).dead})


def _read(data: bytes, ref: str) -> DeadLetter:
    return DeadLetter(ref=ref, **msgspec.structs.asdict(msgspec.msgpack.decode(data, type=Letter)))
