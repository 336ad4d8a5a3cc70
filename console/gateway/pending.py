"""One request between its registration and its answer: the node writes into it, the HTTP side reads out of it.

Back-pressure: the socket of a worker is shared by all its requests, so it is never paused for one slow client. What a
client has not taken yet waits here, 64 KiB pieces of it going to the transport one at a time. Above the soft bound
(256 KiB) the client has 30 s to catch up; above four times that, or after 30 s without taking a byte, the connection is
aborted and the task cancelled. One client therefore never holds more than about 1.2 MiB of this process.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from console.gateway.errors import Failure
from operator_embed.directory import Served
from worker_embed.wire import Tokens

PIECE_BYTES = 64 * 1024


class Pending:
    """A request that a client waits for; over as soon as it has an answer, a failure, or nobody to give them to."""

    __slots__ = (
        "_chunks",
        "_full_s",
        "_soft_bytes",
        "_wake",
        "answer",
        "began_s",
        "blocked_s",
        "concluded",
        "deadline_s",
        "failure",
        "first_s",
        "hang_up",
        "heard_s",
        "left",
        "over",
        "request_id",
        "served",
        "size",
        "starts",
        "stream",
        "tokens",
        "wrote_s",
    )

    def __init__(
        self,
        request_id: str,
        served: Served,
        *,
        stream: bool,
        now_s: float,
        timeout_s: float,
        soft_bytes: int,
        hang_up: Callable[[], None],
    ) -> None:
        self.request_id = request_id
        self.served = served
        self.stream = stream
        self.began_s = now_s
        self.deadline_s = now_s + timeout_s
        self.starts = 0
        """Attempts that were allowed to run."""
        self.answer: bytes | None = None
        """The whole JSON answer; empty for a stream, whose bytes come out of `take`."""
        self.failure: Failure | None = None
        self.concluded = False
        """A worker said how it ended, and has written down what that took."""
        self.left = False
        self.over = False
        """It has an answer, a failure, or nobody waits."""
        self.tokens: Tokens | None = None
        self.first_s = 0.0
        """When the first event of a stream came; 0 before."""
        self.heard_s = 0.0
        """When the newest came."""
        self.wrote_s = now_s
        """When the client was sent something."""
        self.blocked_s = 0.0
        """Since when the client's connection takes nothing; 0 while it does."""
        self.hang_up = hang_up
        """Aborts the client's connection, whatever it has not read."""
        self.size = 0
        """Bytes that wait for the client."""
        self._soft_bytes = soft_bytes
        self._full_s = 0.0
        self._chunks: deque[bytes] = deque()
        self._wake: asyncio.Future[None] | None = None

    def push(self, data: bytes, now_s: float) -> None:
        """Add whole events of a stream."""
        if not self.first_s:
            self.first_s = now_s
        self.heard_s = now_s
        self._chunks.append(data)
        self.size += len(data)
        if self.size > self._soft_bytes:
            self._full_s = self._full_s or now_s
            if self.size > 4 * self._soft_bytes:
                self.give_up()
        self.wake()

    def take(self) -> bytes:
        """The next bytes for the client: one piece, unless a single event is larger; empty when there are none."""
        chunks = self._chunks
        if not chunks:
            return b""
        data = chunks.popleft()
        if chunks:
            parts, size = [data], len(data)
            while chunks and size + len(chunks[0]) <= PIECE_BYTES:
                parts.append(part := chunks.popleft())
                size += len(part)
            data = b"".join(parts)
        self.size -= len(data)
        if self.size <= self._soft_bytes:
            self._full_s = 0.0
        return data

    def stalled(self, now_s: float, stall_s: float) -> bool:
        """Whether the client reads too slowly to go on."""
        return any(since and now_s - since >= stall_s for since in (self._full_s, self.blocked_s))

    def finish(self, answer: bytes, tokens: Tokens | None) -> None:
        self.answer, self.tokens, self.over = answer, tokens, True
        self.wake()

    def fail(self, failure: Failure) -> None:
        """End with an error; what came before it is still sent."""
        if not self.over:
            self.failure, self.over = failure, True
            self.wake()

    def leave(self) -> None:
        """Nobody waits any more."""
        self._drop()
        self.wake()

    def give_up(self) -> None:
        """Drop a client that does not read; the end of its connection calls `leave`."""
        self._drop()
        self.hang_up()

    def _drop(self) -> None:
        self.left = self.over = True
        self._chunks.clear()
        self.size = 0

    def wake(self) -> None:
        if self._wake is not None:
            wake, self._wake = self._wake, None
            if not wake.done():
                wake.set_result(None)

    async def changed(self) -> None:
        """Return after the next push, end or wake."""
        self._wake = asyncio.get_running_loop().create_future()
        await self._wake
