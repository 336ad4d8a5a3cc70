"""Who may run a request, and whose bytes reach its client: the API node's half of the subprotocol `uplion.1`.

At most one attempt of a request is heard at a time, the newest that was let go; two generations are never joined into
one answer. Nothing here opens a socket: a connection is a `Link` with a function that sends, see `listener`.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from console.gateway.config import Limits
from console.gateway.errors import GAP, WORKER_LOST, upstream, worn_out
from console.gateway.pending import Pending
from worker_embed.wire import Answer, Cancel, Delta, Final, FromNode, FromWorker, GiveBack, Received, Start, Verdict

TOMBSTONE_S = 600.0
TOMBSTONES = 100_000


class Link:
    """One worker's connection."""

    __slots__ = ("_node", "attempts", "send")

    def __init__(self, node: Node, send: Callable[[FromNode], None]) -> None:
        self._node = node
        self.send = send
        self.attempts: set[Attempt] = set()
        """Those heard on this connection."""

    def receive(self, frame: FromWorker) -> None:
        """Take a frame of the worker's."""
        self._node.take(self, frame)

    def close(self) -> None:
        """The connection is gone."""
        self._node.lose(self)


@dataclass(slots=True, eq=False)
class Attempt:
    """The one run of a request that is heard."""

    uid: str
    number: int
    """As its worker counts."""
    pending: Pending
    link: Link | None
    """Where it was heard last; `None` while that connection is broken."""
    heard_s: float
    seq: int = 0
    """Of the next frame."""


class Node:
    """The requests that wait at this process."""

    def __init__(self, limits: Limits, *, max_attempts: int = 3, clock: Callable[[], float] = time.monotonic) -> None:
        self.url = ""
        """Where workers call back, set by whoever listens."""
        self.clock = clock
        self._limits = limits
        self._max_attempts = max_attempts
        self._pending: dict[str, Pending] = {}
        self._runs: dict[str, Attempt] = {}
        self._attempts: dict[str, Attempt] = {}
        self._answered: OrderedDict[str, float] = OrderedDict()
        self._broken: deque[tuple[float, Attempt]] = deque()
        self._links: set[Link] = set()
        self._left_s = clock()

    @property
    def alone_s(self) -> float:
        """How long no worker has been connected; 0 while one is."""
        return 0.0 if self._links else self.clock() - self._left_s

    @property
    def waiting(self) -> int:
        return len(self._pending)

    def all(self) -> Sequence[Pending]:
        return list(self._pending.values())

    def find(self, request_id: str) -> Pending | None:
        """A request that still waits."""
        pending = self._pending.get(request_id)
        return None if pending is None or pending.over else pending

    def expect(self, pending: Pending) -> None:
        """Know a request; before it is published, or a fast worker would find nobody."""
        self._pending[pending.request_id] = pending

    def forget(self, pending: Pending) -> None:
        """The request is over; stops the worker that still runs it."""
        self._pending.pop(pending.request_id, None)
        if (attempt := self._runs.get(pending.request_id)) is not None:
            self._drop(attempt)
            if attempt.link is not None:
                attempt.link.send(Cancel(attempt.uid))

    def connect(self, send: Callable[[FromNode], None]) -> Link:
        """A worker called; `send` gets its frames and never blocks."""
        link = Link(self, send)
        self._links.add(link)
        return link

    def take(self, link: Link, frame: FromWorker) -> None:
        """Do what a worker's frame asks for."""
        if isinstance(frame, Delta):
            if (attempt := self._follow(link, frame)) is not None:
                attempt.pending.push(frame.data, attempt.heard_s)
        elif isinstance(frame, Start):
            link.send(Answer(frame.attempt_uid, self._judge(link, frame)))
        elif isinstance(frame, GiveBack):
            self._unmake(frame.attempt_uid)
        elif (attempt := self._follow(link, frame)) is not None:
            self._conclude(link, attempt, frame)

    def lose(self, link: Link) -> None:
        """A connection broke: its attempts may come back on another one for a while."""
        now_s = self.clock()
        self._links.discard(link)
        if not self._links:
            self._left_s = now_s
        for attempt in link.attempts:
            attempt.link = None
            self._broken.append((now_s, attempt))
        link.attempts.clear()

    def sweep(self) -> None:
        """Once a second: end streams whose worker did not come back, and forget old answers."""
        now_s = self.clock()
        while self._broken and now_s - self._broken[0][0] >= self._limits.lost_s:
            attempt = self._broken.popleft()[1]
            if attempt.link is None and attempt.uid in self._attempts and attempt.pending.first_s:
                attempt.pending.fail(WORKER_LOST)
        while self._answered and (
            len(self._answered) > TOMBSTONES or now_s - next(iter(self._answered.values())) >= TOMBSTONE_S
        ):
            self._answered.popitem(last=False)

    def _judge(self, link: Link, start: Start) -> Verdict:
        """May this attempt run?"""
        pending = self.find(start.request_id)
        if pending is None:
            return Verdict.GONE
        before = self._runs.get(start.request_id)
        if before is not None:
            if before.uid == start.attempt_uid:
                self._hear(link, before)
                return Verdict.GO
            if self._alive(before, link, start):
                return Verdict.BUSY
        if pending.first_s:
            pending.fail(WORKER_LOST)
            return Verdict.GONE
        starts = max(start.attempt, pending.starts + 1)
        if starts > self._max_attempts:
            pending.starts = starts - 1
            pending.fail(worn_out(pending.starts))
            return Verdict.DEAD
        if before is not None:
            self._drop(before)
        pending.starts = starts
        attempt = Attempt(start.attempt_uid, start.attempt, pending, link, self.clock())
        self._runs[start.request_id] = self._attempts[start.attempt_uid] = attempt
        link.attempts.add(attempt)
        return Verdict.GO

    def _unmake(self, attempt_uid: str) -> None:
        """Let the next attempt come at once, as if this one had never asked."""
        if (attempt := self._attempts.get(attempt_uid)) is not None:
            attempt.pending.starts -= 1
            self._drop(attempt)

    def _alive(self, before: Attempt, link: Link, start: Start) -> bool:
        """Whether an earlier attempt still runs: its worker is connected, was just heard, and did not give it back.

        A worker that asks again, or a higher number, which only the worker that had the task can have written, says
        that the earlier attempt has ended.
        """
        if before.link is None or before.link is link or start.attempt > before.number:
            return False
        return self.clock() - before.heard_s < self._limits.lost_s

    def _follow(self, link: Link, frame: Delta | Final) -> Attempt | None:
        """The attempt that a frame belongs to, if it is heard and the frame is its next."""
        attempt = self._attempts.get(frame.attempt_uid)
        if attempt is None:
            answered = frame.attempt_uid in self._answered
            link.send(Received(frame.attempt_uid) if answered else Cancel(frame.attempt_uid))
            return None
        self._hear(link, attempt)
        if frame.seq != attempt.seq:
            if frame.seq > attempt.seq:
                attempt.pending.fail(GAP)
            return None
        attempt.seq += 1
        return None if attempt.pending.over else attempt

    def _hear(self, link: Link, attempt: Attempt) -> None:
        attempt.heard_s = self.clock()
        if attempt.link is not link:
            if attempt.link is not None:
                attempt.link.attempts.discard(attempt)
            attempt.link = link
            link.attempts.add(attempt)

    def _conclude(self, link: Link, attempt: Attempt, final: Final) -> None:
        pending = attempt.pending
        pending.concluded = True
        if final.status != 200:
            pending.tokens = final.usage
            pending.fail(upstream(final.status, final.body, final.retry_after_s))
        elif pending.stream:
            if final.body:
                pending.push(final.body, attempt.heard_s)
            pending.finish(b"", final.usage)
        else:
            pending.finish(final.body, final.usage)
        self._drop(attempt)
        self._answered[attempt.uid] = attempt.heard_s
        link.send(Received(attempt.uid))

    def _drop(self, attempt: Attempt) -> None:
        """Hear no more of an attempt."""
        del self._attempts[attempt.uid]
        del self._runs[attempt.pending.request_id]
        if attempt.link is not None:
            attempt.link.attempts.discard(attempt)
