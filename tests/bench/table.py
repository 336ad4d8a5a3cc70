"""Our table against Textual's own: loading, keys, and rows that change all the time."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial

from textual.pilot import Pilot

from operator_embed.fleet.models import ModelView
from tests.bench.cpu import PYTHON, share_of
from tests.bench.figure import Figure, Target, middle
from tests.bench.table_apps import LIVE_ROWS, Ours, Stock, TableApp, invented
from tests.bench.terminal import terminal

SIZE = (160, 50)
ROWS = (10_000, 50_000)
ROUNDS = 3
"""Of ours; the stock table takes half a minute for the larger number, so it has one."""
LIMIT_MS = 100.0
KEYS = {"cursor down": "down", "page down": "pagedown"}
PRESSES = 9
SETTLE_S, WINDOW_S = 2.0, 10.0
SHARES = ((1.0, "all", 5.0), (0.1, "a tenth", 2.0))
"""Of rows that change, in words, and the most percent of a core that it may cost."""


async def table() -> AsyncIterator[Figure]:
    """CPU per paint without a terminal, then on one."""
    for rows in ROWS:
        taken = await headless(invented(rows))
        for what in taken[Ours]:
            loads = what == "load"
            yield Figure(
                name=f"table, {rows:,} rows: {what}",
                value=middle(taken[Ours][what]),
                unit="ms",
                beside="stock DataTable",
                floor=middle(taken[Stock][what]),
                target=Target(limit=LIMIT_MS) if loads else Target(limit=1.0, ratio=True),
            )
    for share, words, limit in SHARES:
        ours, stock = await live(share)
        yield Figure(
            name=f"table, {LIVE_ROWS} rows at 2 Hz: {words} of them change",
            value=ours,
            unit="% core",
            beside="stock DataTable",
            floor=stock,
            target=Target(limit=limit),
        )


Taken = dict[type[TableApp], dict[str, list[float]]]


async def headless(rows: Sequence[ModelView]) -> Taken:
    """Milliseconds of loading and of each key, by app."""
    taken: Taken = {Ours: defaultdict(list), Stock: defaultdict(list)}
    for kind in (Ours, Stock, *[Ours] * (ROUNDS - 1)):
        app = kind()
        async with app.run_test(size=SIZE) as pilot:
            gc.collect()
            taken[kind]["load"].append(await cost_ms(app, pilot, partial(app.load, rows)))
            for name, key in KEYS.items():
                taken[kind][name] += [await cost_ms(app, pilot, partial(pilot.press, key)) for _ in range(PRESSES)]
    return taken


async def cost_ms(app: TableApp, pilot: Pilot[None], act: Callable[[], Awaitable[None] | None]) -> float:
    """CPU milliseconds from a call or key to the painted frame."""
    began_s = time.process_time()
    if (done := act()) is not None:
        await done
    await pilot.pause()
    return (app.painted_s - began_s) * 1e3


async def live(share: float) -> Sequence[float]:
    """Percent of a core of ours and of the stock table, both at once, each on its terminal."""
    argv = (PYTHON, "-m", "tests.bench.table_apps")
    async with (
        terminal(*argv, "ours", str(share), env=os.environ, columns=SIZE[0], rows=SIZE[1]) as ours,
        terminal(*argv, "stock", str(share), env=os.environ, columns=SIZE[0], rows=SIZE[1]) as stock,
    ):
        await asyncio.gather(ours.paints("model-00001"), stock.paints("model-00001"))
        await asyncio.sleep(SETTLE_S)
        return await asyncio.gather(share_of([ours.pid], WINDOW_S), share_of([stock.pid], WINDOW_S))
