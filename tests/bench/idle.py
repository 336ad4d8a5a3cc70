"""What a box costs while nobody asks anything of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from tests.bench.cpu import PYTHON, share_of
from tests.bench.figure import Figure, Target
from tests.bench.start import TITLE
from tests.bench.terminal import terminal
from tests.real.box import UPLION, running_box

SETTLE_S, WINDOW_S = 6.0, 20.0
LIMIT_PCT = 0.5
EMPTY = """
from textual.app import App
from textual.widgets import Label

class Empty(App):
    def compose(self):
        yield Label("nothing")

Empty().run()
"""


async def idle() -> AsyncIterator[Figure]:
    """A console that follows, and beside it all processes of a box with one model."""
    async with running_box() as box:
        (replica,) = await box.running(await box.static("echo", source="static:"))
        async with (
            terminal(*UPLION, env=box.env) as console,
            terminal(PYTHON, "-c", EMPTY, env=box.env) as empty,
        ):
            await console.paints(TITLE)
            await empty.paints("nothing")
            await asyncio.sleep(SETTLE_S)
            pids = {"serve, which leads": box.leader() or 0} | {
                name: box.pids()[id]
                for name, id in (("worker", replica.key), ("API node", "gateway"), ("nats-server", "nats-server"))
            }
            watched = (empty.pid, console.pid, *pids.values())
            floor, console_share, *shares = await asyncio.gather(*(share_of([pid], WINDOW_S) for pid in watched))
    yield Figure(
        name="idle console that follows, with its clock and graphs",
        value=console_share,
        unit="% core",
        beside="Textual app that does nothing",
        floor=floor,
        target=Target(limit=LIMIT_PCT),
    )
    for name, share in zip(pids, shares, strict=True):
        yield Figure(name=f"idle {name}", value=share, unit="% core")
