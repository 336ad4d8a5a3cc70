"""The seam between the product and a message queue; one contract suite holds every engine to it.

A topic is one model's queue. Attempts are counted by us in a header, dead letters are ours as well: brokers neither
count crashes nor agree on what a dead letter is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol


class QueueError(Exception):
    """The queue cannot be reached or refused; the text is one line for a user."""


class QueueFull(QueueError):
    """A topic holds as many messages as it may."""


class StorageFull(QueueFull):
    """The broker has no room for any message more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """What an engine can do; callers ask instead of knowing engines."""

    lease: bool
    """A delivery is held by `extend`; without it the connection is the lease."""
    cancel_queued: bool
    exact_backlog: bool
    nack_delay: Literal["message", "republish"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSpec:
    """One model's queue."""

    topic: str
    """As the original names it: `model-<model>`; engines escape what their broker forbids."""
    max_messages: int = 10_000


@dataclass(frozen=True, slots=True)
class Ref:
    """Where a published message lies, for `cancel`."""

    topic: str
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What waits on a topic and what is being worked on."""

    queued: int = 0
    in_flight: int = 0
    delayed: int = 0
    oldest_age_s: float | None = None
    """Age of the oldest queued message; `None` when none is queued."""

    @property
    def total(self) -> int:
        """The number that an autoscaler divides."""
        return self.queued + self.in_flight + self.delayed


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Delivery:
    """One message in the hands of one consumer, until it is acked, nacked or declared dead."""

    id: str
    topic: str
    body: bytes
    headers: Mapping[str, str]
    attempt: int
    """From our header, 1 for the first; see `Intake.nack`."""
    engine_attempt: int
    """The engine's own count of deliveries, for display only."""
    token: str
    """What `Queue.give_back` needs to return this delivery from another process."""
    handle: object = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that was given up."""

    ref: str
    id: str
    topic: str
    reason: str
    error: str
    attempts: int
    died_s: float
    """Unix time."""
    last_consumer: str
    body: bytes = field(repr=False, default=b"")
    headers: Mapping[str, str] = field(default_factory=dict)


class Intake(Protocol):
    """One consumer of one topic: gets no message that it did not ask for."""

    async def grant(self, n: int = 1) -> None:
        """Ask for `n` more messages: `n` slots became free. Never blocks on the arrival of a message."""

    async def next(self) -> Delivery:
        """The next message; may be cancelled without losing one. Raises `QueueError` when the intake is closed."""

    async def ack(self, delivery: Delivery) -> None:
        """The task is done; returns when the broker knows."""

    async def nack(self, delivery: Delivery, *, delay_s: float = 0.0, failed: str = "") -> None:
        """Give a message back after `delay_s`; with `failed` (the reason) its attempt counts, without it does not."""

    async def dead(self, delivery: Delivery, *, reason: str, error: str) -> None:
        """Move a message to the topic's dead letters."""

    async def extend(self, delivery: Delivery) -> None:
        """Hold the lease for another period; nothing where `Caps.lease` is false."""

    async def close(self) -> None:
        """No new messages; what was delivered but not yet taken by `next` goes back uncounted."""


class Queue(Protocol):
    """A connection to one message queue."""

    @property
    def caps(self) -> Caps: ...

    @property
    def connected(self) -> bool:
        """False while the broker is away; operations then wait for it or raise `QueueError` after their time limit."""

    async def ensure(self, spec: TopicSpec) -> None:
        """Create topic and subscription unless they are there; messages published from now on are kept."""

    async def publish(
        self, topic: str, body: bytes, *, id: str, headers: Mapping[str, str] | None = None, attempt: int = 1
    ) -> Ref:
        """Return once the message is durable; `id:attempt` seen before is dropped. Raises `QueueFull`, `QueueError`."""

    async def consume(self, topic: str, consumer: str) -> Intake:
        """Join the topic's one shared subscription; survives a broker restart by itself."""

    async def give_back(self, token: str) -> None:
        """Return a delivery of a consumer that died, at once and uncounted; unknown tokens are ignored."""

    async def cancel(self, ref: Ref) -> bool:
        """Take a queued message out; False when it was delivered before, or the engine cannot."""

    async def backlog(self, topics: Sequence[str]) -> dict[str, Backlog]:
        """What lies on each topic; a topic that does not exist is missing from the answer."""

    async def purge(self, topic: str) -> int:
        """Drop what is queued, not what is in flight; returns how many."""

    def forget(self, topic: str) -> None:
        """Somebody dropped it: this connection is not to put it back when a broker has lost its store."""

    async def drop(self, topic: str) -> None:
        """Remove topic, subscription and dead letters; nothing when there are none."""

    async def dead_letters(self, topic: str, limit: int = 100) -> list[DeadLetter]:
        """Newest first."""

    async def last_dead(self, topic: str) -> DeadLetter | None:
        """The newest one: a single question, however many there are."""

    async def dead_counts(self, topics: Sequence[str]) -> dict[str, int]:
        """How many dead letters each topic has."""

    async def requeue(self, letter: DeadLetter) -> None:
        """Publish a dead letter again as attempt 1 and remove it from the dead."""

    async def discard(self, letter: DeadLetter) -> None:
        """Remove a dead letter for good."""

    def lost(self) -> AsyncIterator[bool]:
        """Yields False when the connection is lost and True when it is back; ends with `close`."""

    async def close(self) -> None: ...
