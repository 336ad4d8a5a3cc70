"""Topics of a box: there before anybody reads them, gone after the last AIModel that named them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from worker_embed.queue.port import Queue, QueueError, TopicSpec


@dataclass(slots=True)
class Topics:
    """Creates and drops, one at a time for each topic."""

    queue: Queue | None = None
    """`None` until the broker was reached for the first time."""
    known: set[str] = field(default_factory=set)
    """All that may be at the broker; the next leader has to know them, or nobody would ever remove them."""
    former: set[str] = field(default_factory=set)
    """Those of them that perhaps no AIModel names any more."""
    keep: Callable[[], None] = lambda: None
    """Told when `known` is another, before what is new in it is created."""
    _there: set[str] = field(default_factory=set)
    _going: set[str] = field(default_factory=set)
    """Nobody may count on them while they are removed."""

    @property
    def up(self) -> bool:
        """Whether the broker answers."""
        return self.queue is not None and self.queue.connected

    async def trouble(self, topic: str) -> str:
        """Why no worker can read that topic now, for a user; empty when it can. Creates it where it is not there."""
        if self.queue is None or not self.queue.connected:
            return "the queue does not answer"
        if topic in self._going:
            return "the queue of an AIModel that named it before is being removed"
        if topic not in self._there:
            self._know(topic)
            try:
                await self.queue.ensure(TopicSpec(topic=topic))
            except QueueError as error:
                return str(error)
            self._there.add(topic)
            self._know(topic)
        return ""

    def export(self) -> str:
        """What the next leader has to know."""
        return json.dumps(sorted(self.known))

    def load(self, exported: str) -> None:
        """Know what the leader before us knew; AIModels may have changed since."""
        self.known.update(map(str, json.loads(exported)))
        self.former.update(self.known)

    def suspect(self, topic: str) -> None:
        """An AIModel that named it does so no more."""
        if topic in self.known:
            self.former.add(topic)

    def suspects(self) -> set[str]:
        """Those that perhaps nobody names and that are not being removed."""
        return self.former - self._going

    async def drop(self, topic: str) -> None:
        """Remove it with all that lies there; raises `QueueError`."""
        if self.queue is None:
            raise QueueError(f"{topic} cannot be removed while the broker is away")
        self._there.discard(topic)
        self._going.add(topic)
        try:
            await self.queue.drop(topic)
        finally:
            self._going.discard(topic)
        self.former.discard(topic)
        if topic in self.known:
            self.known.remove(topic)
            self.keep()

    def _know(self, topic: str) -> None:
        """Also after it was created: it may have been removed meanwhile."""
        if topic not in self.known:
            self.known.add(topic)
            self.former.add(topic)
            self.keep()
