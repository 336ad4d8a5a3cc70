"""Whether a process that runs still answers; measured so that a machine that stood still accuses nobody."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from worker_embed.process import proc

Probe = Callable[[], Awaitable[bool]]

ASK_EVERY_S = 0.05
TICK_S = 0.25
LATE_S = 2 * TICK_S
"""A tick that takes longer tells of our own trouble, or of a machine that slept or has no time for anybody."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How a child that is ready is asked whether it still answers, as systemd and Kubernetes ask."""

    every_s: float = 5.0
    """Between an answer and the next question, and how long one answer may take."""
    misses: int = 3
    """In a row; then it is killed."""

    @property
    def silent_s(self) -> float:
        """The silence that ends a child."""
        return self.every_s * self.misses


async def answered(id: str, probe: Probe) -> None:
    """Ask until the answer is yes; a probe that fails is a no."""
    complaint = ""
    while True:
        try:
            if await probe():
                return
        except Exception as error:
            if complaint != (complaint := f"{type(error).__name__}: {error}"):
                _log.info("%s: not ready: %s", id, complaint)
        await asyncio.sleep(ASK_EVERY_S)


async def answers(id: str, probe: Probe, within_s: float) -> bool:
    """Whether the answer is yes `within_s`, of which only seconds count in which our own loop ran on time."""
    loop = asyncio.get_running_loop()
    asking = loop.create_task(answered(id, probe))
    left = round(within_s / TICK_S)
    try:
        while left > 0 and not asking.done():
            before_s = loop.time()
            await asyncio.wait([asking], timeout=TICK_S)
            left -= loop.time() - before_s < LATE_S
        return asking.done()
    finally:
        asking.cancel()


def awake(pid: Callable[[], int | None]) -> Probe:
    """A probe of a process that nobody can ask: has it worked, or its first thread slept, since the last question?

    A loop that has timers sleeps all the time, and one that has all its hands full works; one that is stopped, or
    waits for a lock for ever, does neither.
    """
    before: tuple[int, float] | None = None

    async def probe() -> bool:
        nonlocal before
        last, number = before, pid()
        before = None if number is None else proc.pulse(number)
        return before is None or before != last

    return probe
