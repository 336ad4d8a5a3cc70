"""The queue inside one process: exact and without I/O, for tests, benchmarks and dry runs."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from worker_embed.queue.port import Backlog, Caps, DeadLetter, Delivery, QueueError, QueueFull, Ref, TopicSpec

DUPLICATES_S: Final = 120.0
LETTERS_KEPT: Final = 1000
FAILED: Final = "uplion-failed"
"""Header with the reason of the attempt before this one, as every engine adds it."""


@dataclass(slots=True, eq=False)
class _Message:
    seq: int
    id: str
    body: bytes
    headers: Mapping[str, str]
    attempt: int
    published_s: float
    deliveries: int = 0
    leased_until: float = 0.0


class _Topic:
    """Every message is in exactly one of `queued`, `held` and `delayed`, by its sequence."""

    def __init__(self, spec: TopicSpec, lease_s: float) -> None:
        self.spec = spec
        self.queued: OrderedDict[int, _Message] = OrderedDict()
        self.held: OrderedDict[int, _Message] = OrderedDict()
        """In the order in which their leases end."""
        self.delayed: dict[int, tuple[_Message, asyncio.TimerHandle]] = {}
        self.permits: deque[MemoryIntake] = deque()
        """One entry a message that its intake waits for."""
        self.intakes: set[MemoryIntake] = set()
        self.letters: deque[DeadLetter] = deque(maxlen=LETTERS_KEPT)
        self.seen: OrderedDict[str, tuple[float, int]] = OrderedDict()
        """When a message of this mark was published, and its sequence."""
        self._lease_s = lease_s
        self._lease_watch: asyncio.TimerHandle | None = None

    @property
    def total(self) -> int:
        return len(self.queued) + len(self.held) + len(self.delayed)

    def deliver(self) -> None:
        """Hand queued messages to those who wait, first come first served."""
        while self.queued and self.permits:
            _, message = self.queued.popitem(last=False)
            message.deliveries += 1
            self._lease(message)
            self.permits.popleft().take(message)

    def _lease(self, message: _Message) -> None:
        loop = asyncio.get_running_loop()
        message.leased_until = loop.time() + self._lease_s
        self.held[message.seq] = message
        if self._lease_watch is None:
            self._lease_watch = loop.call_at(message.leased_until, self._end_leases)

    def extend(self, seq: int) -> None:
        if message := self.held.get(seq):
            self.held.move_to_end(seq)
            message.leased_until = asyncio.get_running_loop().time() + self._lease_s

    def _end_leases(self) -> None:
        loop = asyncio.get_running_loop()
        self._lease_watch = None
        while self.held:
            message = next(iter(self.held.values()))
            if message.leased_until > loop.time():
                self._lease_watch = loop.call_at(message.leased_until, self._end_leases)
                break
            self.put_back(self.held.pop(message.seq))
        self.deliver()

    def put_back(self, message: _Message) -> None:
        """To the front: it has waited longest."""
        self.queued[message.seq] = message
        self.queued.move_to_end(message.seq, last=False)

    def delay(self, message: _Message, delay_s: float) -> None:
        timer = asyncio.get_running_loop().call_later(delay_s, self._due, message.seq)
        self.delayed[message.seq] = (message, timer)

    def _due(self, seq: int) -> None:
        message, _ = self.delayed.pop(seq)
        self.put_back(message)
        self.deliver()

    def remove(self, seq: int) -> None:
        """Wherever it is: who acks late has still done the work."""
        self.held.pop(seq, None)
        self.queued.pop(seq, None)
        if seq in self.delayed:
            self.delayed.pop(seq)[1].cancel()

    def close(self) -> None:
        if self._lease_watch:
            self._lease_watch.cancel()
        for _, timer in self.delayed.values():
            timer.cancel()


@dataclass(slots=True)
class MemoryBroker:
    """What connections of one process share; all of them on one event loop."""

    clock: Callable[[], float] = time.time
    lease_s: float = 15.0
    topics: dict[str, _Topic] = field(default_factory=dict)
    sequence: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def topic(self, name: str) -> _Topic:
        try:
            return self.topics[name]
        except KeyError:
            raise QueueError(f"no topic {name!r}: nobody has created it, or it was dropped") from None


class MemoryIntake:
    """One consumer of one topic of a `MemoryBroker`."""

    def __init__(self, broker: MemoryBroker, topic: str, consumer: str) -> None:
        self._broker, self._name, self._consumer = broker, topic, consumer
        self._topic = broker.topic(topic)
        self._topic.intakes.add(self)
        self._here: asyncio.Queue[Delivery | None] = asyncio.Queue()
        self._closed = False

    def take(self, message: _Message) -> None:
        """Called by the topic for a permit of this intake."""
        delivery = Delivery(
            id=message.id,
            topic=self._name,
            body=message.body,
            headers=message.headers,
            attempt=message.attempt,
            engine_attempt=message.deliveries,
            token=f"{message.seq} {message.deliveries} {self._name}",
            handle=message,
        )
        self._here.put_nowait(delivery)

    async def grant(self, n: int = 1) -> None:
        if not self._closed:
            self._topic.permits.extend([self] * n)
            self._topic.deliver()

    async def next(self) -> Delivery:
        delivery = await self._here.get()
        if delivery is None:
            self._here.put_nowait(None)
            raise QueueError(f"the intake of {self._name!r} is closed")
        return delivery

    async def ack(self, delivery: Delivery) -> None:
        self._topic.remove(_message(delivery).seq)

    async def nack(self, delivery: Delivery, *, delay_s: float = 0.0, failed: str = "") -> None:
        message = _message(delivery)
        if not self._holds(delivery):
            return
        del self._topic.held[message.seq]
        if failed:
            message.headers = {**message.headers, FAILED: failed}
            message.attempt += 1
        if delay_s > 0:
            self._topic.delay(message, delay_s)
        else:
            self._topic.put_back(message)
        self._topic.deliver()

    async def dead(self, delivery: Delivery, *, reason: str, error: str) -> None:
        letter = DeadLetter(
            ref=str(next(self._broker.sequence)),
            id=delivery.id,
            topic=self._name,
            reason=reason,
            error=error,
            attempts=delivery.attempt,
            died_s=self._broker.clock(),
            last_consumer=self._consumer,
            body=delivery.body,
            headers=delivery.headers,
        )
        self._topic.letters.append(letter)
        self._topic.remove(_message(delivery).seq)

    async def extend(self, delivery: Delivery) -> None:
        if self._holds(delivery):
            self._topic.extend(_message(delivery).seq)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        topic = self._topic
        topic.intakes.discard(self)
        topic.permits = deque(intake for intake in topic.permits if intake is not self)
        while not self._here.empty():
            if (delivery := self._here.get_nowait()) and self._holds(delivery):
                topic.put_back(topic.held.pop(_message(delivery).seq))
        self._here.put_nowait(None)
        topic.deliver()

    def _holds(self, delivery: Delivery) -> bool:
        """Is it still this delivery's turn, and not a later one's after its lease ended?"""
        message = _message(delivery)
        return message.seq in self._topic.held and message.deliveries == delivery.engine_attempt


def _message(delivery: Delivery) -> _Message:
    assert isinstance(delivery.handle, _Message)
    return delivery.handle


class MemoryQueue:
    """One connection to a `MemoryBroker`, by default to one of its own."""

    caps: Final = Caps(lease=True, cancel_queued=True, exact_backlog=True, nack_delay="message")

    def __init__(self, broker: MemoryBroker | None = None) -> None:
        self._broker = broker or MemoryBroker()
        self._intakes: list[MemoryIntake] = []
        self._closed = asyncio.Event()

    @property
    def connected(self) -> bool:
        return not self._closed.is_set()

    async def ensure(self, spec: TopicSpec) -> None:
        if spec.topic not in self._broker.topics:
            self._broker.topics[spec.topic] = _Topic(spec, self._broker.lease_s)

    async def publish(
        self, topic: str, body: bytes, *, id: str, headers: Mapping[str, str] | None = None, attempt: int = 1
    ) -> Ref:
        return self._publish(topic, body, id, headers or {}, attempt, f"{id}:{attempt}")

    def _publish(self, topic: str, body: bytes, id: str, headers: Mapping[str, str], attempt: int, mark: str) -> Ref:
        place, now = self._broker.topic(topic), self._broker.clock()
        while place.seen and next(iter(place.seen.values()))[0] <= now - DUPLICATES_S:
            place.seen.popitem(last=False)
        if mark in place.seen:
            return Ref(topic, str(place.seen[mark][1]))
        if place.total >= place.spec.max_messages:
            raise QueueFull(f"topic {topic!r} is full: it holds {place.total} messages")
        seq = next(self._broker.sequence)
        place.seen[mark] = (now, seq)
        place.queued[seq] = _Message(seq, id, body, headers, attempt, now)
        place.deliver()
        return Ref(topic, str(seq))

    async def consume(self, topic: str, consumer: str) -> MemoryIntake:
        intake = MemoryIntake(self._broker, topic, consumer)
        self._intakes.append(intake)
        return intake

    async def give_back(self, token: str) -> None:
        match token.split(" ", 2):
            case [seq, deliveries, name] if name in self._broker.topics:
                topic = self._broker.topics[name]
                message = topic.held.get(int(seq))
                if message and message.deliveries == int(deliveries):
                    topic.put_back(topic.held.pop(message.seq))
                    topic.deliver()

    async def cancel(self, ref: Ref) -> bool:
        topic = self._broker.topics.get(ref.topic)
        message = topic.queued.get(int(ref.token)) if topic else None
        if topic is None or message is None or message.deliveries:
            return False
        topic.remove(message.seq)
        return True

    async def backlog(self, topics: Sequence[str]) -> dict[str, Backlog]:
        return {name: self._backlog(self._broker.topics[name]) for name in topics if name in self._broker.topics}

    def _backlog(self, topic: _Topic) -> Backlog:
        oldest = min((message.published_s for message in topic.queued.values()), default=None)
        return Backlog(
            queued=len(topic.queued),
            in_flight=len(topic.held),
            delayed=len(topic.delayed),
            oldest_age_s=None if oldest is None else self._broker.clock() - oldest,
        )

    async def purge(self, topic: str) -> int:
        known = self._broker.topics.get(topic)
        purged = len(known.queued) if known else 0
        if known:
            known.queued.clear()
        return purged

    def forget(self, topic: str) -> None:
        """Nothing is put back here."""

    async def drop(self, topic: str) -> None:
        if dropped := self._broker.topics.pop(topic, None):
            dropped.close()

    async def dead_letters(self, topic: str, limit: int = 100) -> list[DeadLetter]:
        known = self._broker.topics.get(topic)
        return list(itertools.islice(reversed(known.letters), limit)) if known else []

    async def last_dead(self, topic: str) -> DeadLetter | None:
        return next(iter(await self.dead_letters(topic, 1)), None)

    async def dead_counts(self, topics: Sequence[str]) -> dict[str, int]:
        known = self._broker.topics
        return {topic: len(known[topic].letters) if topic in known else 0 for topic in topics}

    async def requeue(self, letter: DeadLetter) -> None:
        self._publish(letter.topic, letter.body, letter.id, letter.headers, 1, f"{letter.id}:requeued-{letter.ref}")
        await self.discard(letter)

    async def discard(self, letter: DeadLetter) -> None:
        if topic := self._broker.topics.get(letter.topic):
            kept = [other for other in topic.letters if other.ref != letter.ref]
            topic.letters = deque(kept, maxlen=LETTERS_KEPT)

    async def lost(self) -> AsyncIterator[bool]:
        """Memory is never away: nothing but the end."""
        losses: tuple[bool, ...] = ()
        await self._closed.wait()
        for loss in losses:
            yield loss

    async def close(self) -> None:
        for intake in self._intakes:
            await intake.close()
        self._closed.set()
