"""The leader's line to the queue: it comes and goes, is asked what lies there, and gets back what dead workers held."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from operator_embed.accounts.usage import UsageWriter
from operator_embed.box.telemetry import Telemetry
from worker_embed.inflight import read_tokens
from worker_embed.queue.open import open_queue, patiently
from worker_embed.queue.port import Queue, QueueError

log = logging.getLogger(__name__)

DEAD_EVERY_S = 2.0
LIMIT_S = 2.0
"""For anything that is asked of the queue once a second."""


@dataclass(slots=True, eq=False)
class Broker:
    """On one event loop; `run` before anything else."""

    url: str
    token_file: Path
    telemetry: Telemetry
    now: Callable[[], float]
    told: Callable[[bool], None]
    """Told True when the queue was lost and is back, False when it was lost."""
    queue: Queue | None = None
    """`None` until it was reached for the first time."""
    _there: asyncio.Event = field(default_factory=asyncio.Event)
    _orphaned: set[str] = field(default_factory=set)
    """Deliveries that dead consumers had in hand, until the broker has them back."""
    _dead_s: float = 0.0

    @property
    def connected(self) -> bool:
        return self.queue is not None and self.queue.connected

    async def run(self, came: Callable[[Queue], None]) -> None:
        """Connect, however long that takes, and say that it `came`; then follow its coming and going for ever."""
        if self.queue is None:
            self.queue = await self._reached()
        came(self.queue)
        self._there.set()
        await self._give_back()
        async for up in self.queue.lost():
            self.told(up)
            await self._give_back()

    async def write_usage(self, accounts: Path, inflight: Path) -> None:
        """Keep what the workers report as used, for ever; what whoever did so before had in hand goes back first."""
        await self._there.wait()
        assert self.queue is not None
        await self.orphan(inflight)
        await UsageWriter(self.queue, accounts, inflight=inflight).run()

    async def poll(self, topics: Iterable[str]) -> dict[str, int]:
        """Note what lies on each topic; returns how many requests were given up since the last call, by topic.

        A queue that is silent leaves the figures as they are: their age says that they are old.
        """
        news: dict[str, int] = {}
        if self.queue is not None and self.queue.connected:
            with suppress(TimeoutError, QueueError):
                async with asyncio.timeout(LIMIT_S):
                    asked = sorted(set(topics))
                    self.telemetry.backlog = await self.queue.backlog(asked)
                    self.telemetry.backlog_s = self.now()
                    if self.now() - self._dead_s >= DEAD_EVERY_S:
                        self._dead_s = self.now()
                        await self._count_dead(self.queue, asked, news)
        return news

    async def orphan(self, inflight: Path) -> None:
        """Give back what a dead consumer had in hand by its file, so that another one takes it at once."""
        self._orphaned.update(read_tokens(inflight))
        inflight.unlink(missing_ok=True)
        await self._give_back()

    async def close(self) -> None:
        """Hang up, if ever connected."""
        if self.queue is not None:
            await self.queue.close()

    async def _reached(self) -> Queue:
        reach = partial(
            open_queue, self.url, token=self.token_file.read_text().strip(), name="uplion", timeout_s=LIMIT_S
        )
        return await patiently(reach, lambda why: log.info("queue: %s", why))

    async def _count_dead(self, queue: Queue, topics: list[str], news: dict[str, int]) -> None:
        dead = self.telemetry.dead = {topic: count for topic, count in self.telemetry.dead.items() if topic in topics}
        for topic, now in (await queue.dead_counts(topics)).items():
            before, dead[topic] = dead.get(topic), now
            if now > (before or 0) and (letter := await queue.last_dead(topic)):
                self.telemetry.last_dead[topic] = replace(letter, body=b"")
            if before is not None and now > before:
                news[topic] = now - before

    async def _give_back(self) -> None:
        """All at once; who calls while the answers are awaited finds nothing left to give."""
        if self.queue is None or not self.queue.connected:
            return
        tokens, self._orphaned = self._orphaned, set()
        given = await asyncio.gather(*(self._given_back(self.queue, token) for token in tokens))
        self._orphaned |= {token for token, done in zip(tokens, given, strict=True) if not done}

    async def _given_back(self, queue: Queue, token: str) -> bool:
        try:
            async with asyncio.timeout(LIMIT_S):
                await queue.give_back(token)
        except (TimeoutError, QueueError):
            return False
        return True
