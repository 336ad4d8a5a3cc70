"""The queue on NATS JetStream: embedded on a box, the same code on a cluster of brokers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from worker_embed.queue.nats_api import Answer, Got
from worker_embed.queue.nats_dead import DeadLetters
from worker_embed.queue.nats_intake import NatsIntake
from worker_embed.queue.nats_link import Link
from worker_embed.queue.nats_streams import DURABLE, Streams, nak, place
from worker_embed.queue.port import Backlog, Caps, DeadLetter, Ref, TopicSpec

ACK_PREFIX: Final = "$JS.ACK."


class NatsQueue:
    """One connection to a NATS broker; made by `connect`.

    A delivery that was given back counts as in flight until somebody has it again, because the broker counts so; the
    total is exact.
    """

    caps: Final = Caps(lease=True, cancel_queued=True, exact_backlog=True, nack_delay="message")

    def __init__(self, url: str, timeout_s: float, ack_wait_s: float) -> None:
        self._link = Link(url, timeout_s, lost=self._pause, restored=self._restore)
        self._streams = Streams(self._link, ack_wait_s)
        self._letters = DeadLetters(self._streams)
        self._intakes: set[NatsIntake] = set()

    @classmethod
    async def connect(
        cls, url: str, *, token: str = "", name: str = "", timeout_s: float = 5.0, ack_wait_s: float = 15.0
    ) -> NatsQueue:
        """Connect within `timeout_s`, which is also the limit of each operation; raises `QueueError`."""
        queue = cls(url, timeout_s, ack_wait_s)
        await queue._link.open(token, name)
        return queue

    @property
    def connected(self) -> bool:
        return self._link.up

    async def ensure(self, spec: TopicSpec) -> None:
        await self._letters.create()
        await self._streams.create(spec)

    async def publish(
        self, topic: str, body: bytes, *, id: str, headers: Mapping[str, str] | None = None, attempt: int = 1
    ) -> Ref:
        seq = await self._streams.publish(topic, body, headers or {}, id=id, attempt=attempt)
        return Ref(topic, f"{seq} {id}")

    async def consume(self, topic: str, consumer: str) -> NatsIntake:
        await self._streams.find(topic)
        intake = NatsIntake(self._streams, self._letters, topic, consumer, self._intakes.discard)
        self._intakes.add(intake)
        await intake.resume()
        return intake

    async def give_back(self, token: str) -> None:
        if token.startswith(ACK_PREFIX):
            await self._link.request(token, nak())

    async def cancel(self, ref: Ref) -> bool:
        seq_text, _, id = ref.token.partition(" ")
        seq, stream = int(seq_text), place(ref.topic).stream
        info = await self._streams.consumer(ref.topic)
        queued = info is not None and seq > info.delivered.stream_seq
        return queued and await self._streams.holds(stream, seq, id) and await self._streams.delete(stream, seq)

    async def backlog(self, topics: Sequence[str]) -> dict[str, Backlog]:
        lengths = await self._streams.lengths()
        empty = {topic: Backlog() for topic in topics if lengths.get(place(topic).stream) == 0}
        others = [topic for topic in topics if lengths.get(place(topic).stream)]
        known = await asyncio.gather(*map(self._backlog, others))
        return empty | {topic: backlog for topic, backlog in zip(others, known, strict=True) if backlog}

    async def _backlog(self, topic: str) -> Backlog | None:
        info = await self._streams.consumer(topic)
        if info is None:
            return None
        return Backlog(
            queued=info.num_pending,
            in_flight=info.num_ack_pending,
            oldest_age_s=await self._age_s(topic, info.delivered.stream_seq) if info.num_pending else None,
        )

    async def _age_s(self, topic: str, after_seq: int) -> float | None:
        at = place(topic)
        next_one = {"seq": after_seq + 1, "next_by_subj": at.both}
        got = await self._streams.api(f"STREAM.MSG.GET.{at.stream}", Got, next_one)
        return max(0.0, time.time() - got.message.time.timestamp()) if got.message else None

    async def purge(self, topic: str) -> int:
        """Take and ack what is queued: the broker's own purge would drop what is in flight as well."""
        info = await self._streams.consumer(topic)
        left = info.num_pending + info.num_ack_pending if info else 0
        purged = 0
        while left > 0 and (messages := await self._streams.fetch(place(topic).stream, DURABLE, left)):
            for msg in messages[:-1]:
                self._link.send(msg.reply, b"+ACK")
            await self._link.request(messages[-1].reply, b"+ACK")
            purged += len(messages)
            left -= len(messages)
        return purged

    def forget(self, topic: str) -> None:
        self._streams.forget(topic)

    async def drop(self, topic: str) -> None:
        self._streams.forget(topic)
        stream = place(topic).stream
        await self._streams.api(f"CONSUMER.DELETE.{stream}.{DURABLE}", Answer)
        await self._streams.api(f"STREAM.DELETE.{stream}", Answer)
        await self._letters.drop(topic)

    async def dead_letters(self, topic: str, limit: int = 100) -> list[DeadLetter]:
        return await self._letters.newest(topic, limit)

    async def last_dead(self, topic: str) -> DeadLetter | None:
        return await self._letters.last(topic)

    async def dead_counts(self, topics: Sequence[str]) -> dict[str, int]:
        return await self._letters.counts(topics)

    async def requeue(self, letter: DeadLetter) -> None:
        await self._letters.requeue(letter)

    async def discard(self, letter: DeadLetter) -> None:
        await self._letters.discard(letter)

    def lost(self) -> AsyncIterator[bool]:
        return self._link.lost()

    async def close(self) -> None:
        for intake in list(self._intakes):
            await intake.close()
        await self._link.close()

    async def _pause(self) -> None:
        for intake in list(self._intakes):
            await intake.stop()

    async def _restore(self) -> None:
        """After a reconnect: put back what the broker has lost, then ask for messages again."""
        await self._letters.create(recovering=True)
        await self._streams.restore()
        for intake in list(self._intakes):
            await intake.resume()
