"""Keys to reconcile: each worked on once at a time, however often it is added; a failure is tried again later."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

FIRST_RETRY_S = 0.1
LAST_RETRY_S = 300.0


@dataclass(slots=True)
class WorkQueue:
    """What client-go's rate-limited work queue promises: deduplicated, one worker a key, exponential backoff."""

    clock: Callable[[], float]
    """Seconds, monotonic."""
    jitter: Callable[[], float] = random.random
    """0..1."""
    _due: list[tuple[float, str]] = field(default_factory=list)
    _when: dict[str, float] = field(default_factory=dict)
    """The time for which a waiting key counts; older entries in `_due` are void."""
    _busy: set[str] = field(default_factory=set)
    _again: dict[str, float] = field(default_factory=dict)
    """Keys added while they were worked on."""
    _failures: dict[str, int] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, key: str, after_s: float = 0.0) -> None:
        """Reconcile `key` in `after_s` seconds, or sooner if it is due sooner already."""
        due_s = self.clock() + after_s
        waiting = self._again if key in self._busy else self._when
        if waiting.get(key, float("inf")) <= due_s:
            return
        waiting[key] = due_s
        if waiting is self._when:
            heapq.heappush(self._due, (due_s, key))
            self._changed.set()

    async def take(self) -> str:
        """The next key that is due; it must be given back with `done`."""
        while True:
            while self._due and self._when.get(self._due[0][1]) != self._due[0][0]:
                heapq.heappop(self._due)
            wait_s = self._due[0][0] - self.clock() if self._due else None
            if wait_s is not None and wait_s <= 0:
                key = heapq.heappop(self._due)[1]
                del self._when[key]
                self._busy.add(key)
                return key
            self._changed.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def done(self, key: str, *, failed: bool = False) -> None:
        """End the work on `key`; a failed one comes again after 0.1 s, doubled with each failure in a row to 300 s."""
        self._busy.discard(key)
        again = self._again.pop(key, None)
        if failed:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            backoff_s = min(FIRST_RETRY_S * 2 ** min(failures - 1, 12), LAST_RETRY_S)
            self.add(key, backoff_s * (0.5 + self.jitter() / 2))
        else:
            self._failures.pop(key, None)
        if again is not None:
            self.add(key, max(0.0, again - self.clock()))
