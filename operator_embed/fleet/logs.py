"""Log lines of replicas."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of one log."""

    source: str
    """Replica, or `nats-server`, `gateway`, `uplion`."""
    at_s: float | None
    """Unix time where the line carries one."""
    level: str
    """`debug`, `info`, `warning`, `error`; empty when it does not say."""
    text: str
    """Safe to paint: no control characters."""


class Logs(Protocol):
    """Reading logs; raises `FleetError` for a source that has none."""

    async def sources(self, model: str) -> Sequence[str]:
        """Replicas of an AIModel with a log, also those that are gone; newest first."""

    def follow(
        self, sources: Sequence[str], *, tail: int = 1_000, previous: bool = False, follow: bool = True
    ) -> AsyncIterator[Sequence[LogLine]]:
        """The last `tail` lines of each, then new ones as they come, in batches; a rotated file is followed.

        `previous` gives those of the run before the one that is going on.
        """
