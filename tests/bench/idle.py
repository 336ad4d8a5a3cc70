"""What a box costs while nobody asks anything of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from tests.bench.cpu import share_of
from tests.bench.figure import Figure, Target
from tests.bench.start import TITLE
from tests.bench.terminal import terminal
from tests.real.box import UPLION, running_box

SETTLE_S, WINDOW_S = 6.0, 20.0
LIMIT_PCT = 0.5


async def idle() -> AsyncIterator[Figure]:
    """A console that follows, and beside it all processes of a box with one model."""
    async with running_box() as box:
        (replica,) = await box.running(await box.static("echo", source="static:"))
        async with terminal(*UPLION, env=box.env) as console:
            await console.paints(TITLE)
            await asyncio.sleep(SETTLE_S)
            pids = {"console that follows": console.pid, "serve, which leads": box.leader() or 0} | {
                name: box.pids()[id]
                for name, id in (("worker", replica.key), ("API node", "gateway"), ("nats-server", "nats-server"))
            }
            shares = await asyncio.gather(*(share_of([pid], WINDOW_S) for pid in pids.values()))
    for name, share in zip(pids, shares, strict=True):
        target = Target(limit=LIMIT_PCT) if name == "console that follows" else None
        yield Figure(name=f"idle {name}", value=share, unit="% core", target=target)
