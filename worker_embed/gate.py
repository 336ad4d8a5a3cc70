"""How much work an engine may be given: none while it refuses, then one request as a probe, then one for each slot."""

from __future__ import annotations

from dataclasses import dataclass

from worker_embed.engines.port import Unavailable
from worker_embed.wire import ErrorKind

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
LONGEST_WISH_S = 3600.0
"""Nobody is left alone for longer, whatever it asked for."""
PAUSED = "Paused"


@dataclass(slots=True)
class Gate:
    """One engine's gate; times are of a monotonic clock."""

    problem: tuple[str, str] | None = None
    """Reason and message of what closed it; stays until a request or a check went well."""
    resume_s: float = 0.0
    _refusals: int = 0

    @property
    def probing(self) -> bool:
        """Whether the engine has answered nothing since it refused."""
        return self._refusals > 0

    def refused(self, why: Unavailable, now_s: float) -> float:
        """Close; returns for how many seconds. Requests that were running side by side close it once."""
        if now_s < self.resume_s:
            return self.resume_s - now_s
        if why.pause_s is None:
            pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**self._refusals)
        else:
            pause_s = min(max(FIRST_PAUSE_S, why.pause_s), LONGEST_WISH_S)
        self._refusals = min(self._refusals + 1, 10)
        self.resume_s = now_s + pause_s
        self.problem = (why.kind or PAUSED, str(why))
        return pause_s

    def served(self, now_s: float) -> None:
        """Open: the engine answered. What ends well during a pause was accepted before it, and proves nothing."""
        if now_s < self.resume_s:
            return
        self.problem = None
        self.resume_s = 0.0
        self._refusals = 0

    def checked(self) -> None:
        """The pause is over and the engine looks well: forget what a check can see; the rest waits for a request."""
        if self.problem and self.problem[0] in (PAUSED, ErrorKind.AUTHENTICATION, ErrorKind.GENERAL):
            self.problem = None

    def room(self, slots: int, now_s: float) -> int:
        """How many requests may run at once."""
        if now_s < self.resume_s:
            return 0
        return 1 if self.probing else slots
