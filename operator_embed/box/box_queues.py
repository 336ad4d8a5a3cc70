"""Intents on the queues of a box: these go to the broker itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from operator_embed.box.home import Home
from operator_embed.box.ports import recorded_port
from operator_embed.fleet.fleet import FleetError
from operator_embed.fleet.queues import DeadLetterView
from operator_embed.fleet.text import safe_text
from worker_embed.queue.port import DeadLetter, Queue, QueueError


class BoxQueues:
    """The facet `queues` of a box; connects when first used."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._queue: Queue | None = None

    async def dead(self, topic: str) -> Sequence[DeadLetterView]:
        """Newest first."""
        with _explained():
            return [_view(letter) for letter in await (await self._open()).dead_letters(topic)]

    async def requeue(self, topic: str, keys: Sequence[str]) -> int:
        """Give requests another try, as their first."""
        with _explained():
            queue = await self._open()
            chosen = await _chosen(queue, topic, keys)
            for letter in chosen:
                await queue.requeue(letter)
        return len(chosen)

    async def discard(self, topic: str, keys: Sequence[str]) -> int:
        """Remove dead letters for good."""
        with _explained():
            queue = await self._open()
            chosen = await _chosen(queue, topic, keys)
            for letter in chosen:
                await queue.discard(letter)
        return len(chosen)

    async def purge(self, topic: str) -> int:
        """Drop all that is queued; its clients get an error."""
        with _explained():
            return await (await self._open()).purge(topic)

    async def close(self) -> None:
        """Hang up, if ever connected."""
        if self._queue is not None:
            await self._queue.close()

    async def _open(self) -> Queue:
        if self._queue is None:
            from worker_embed.queue.open import open_queue

            try:
                token = (self._home.nats / "token").read_text().strip()
                url = f"nats://127.0.0.1:{recorded_port(self._home.ports, 'nats')}"
                self._queue = await open_queue(url, token=token, name="fleet", timeout_s=3.0)
            except (OSError, QueueError) as error:
                raise FleetError(f"the queue does not answer: {error}") from error
        return self._queue


async def _chosen(queue: Queue, topic: str, keys: Sequence[str]) -> list[DeadLetter]:
    return [letter for letter in await queue.dead_letters(topic) if letter.ref in set(keys)]


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except QueueError as error:
        raise FleetError(str(error)) from error


def _view(letter: DeadLetter) -> DeadLetterView:
    return DeadLetterView(
        key=letter.ref,
        version=0,
        topic=letter.topic,
        request_id=safe_text(letter.id),
        attempts=letter.attempts,
        reason=safe_text(letter.reason),
        error=safe_text(letter.error),
        replica=safe_text(letter.last_consumer),
        body_bytes=len(letter.body),
        died_s=letter.died_s,
    )
