"""`uplion top`: load of models, GPUs and host."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator

from console.commands.box import on_box, warn_unled
from console.commands.table import table
from operator_embed.box.fleet import BoxFleet
from operator_embed.fleet.fleet import FleetView
from operator_embed.fleet.gpus import GpuView
from operator_embed.fleet.models import ModelView
from screens.format import gib, pct, stale
from screens.model_columns import columns_for
from screens.widgets.columns import Column

AGAIN_S = 2.0
CLEAR = "\x1b[H\x1b[2J"
TITLES = ("NAME", "READY", "BACKLOG", "FLIGHT", "REQ/S", "TOK/S", "1ST p95", "CPU%", "GPU%")
GPUS: tuple[Column[GpuView], ...] = (
    Column("GPU", 3, lambda g, _: str(g.index), right=True),
    Column("NAME", 20, lambda g, _: g.name),
    Column("UTIL%", 5, lambda g, _: stale(pct(g.util_pct), g.stale), right=True),
    Column("USED GiB", 8, lambda g, _: stale(gib(g.used_mib), g.stale), right=True),
    Column("TOTAL GiB", 9, lambda g, _: gib(g.total_mib), right=True),
    Column("WATT", 5, lambda g, _: stale(pct(g.power_w), g.stale), right=True),
    Column("TEMP C", 6, lambda g, _: stale(pct(g.temp_c), g.stale), right=True),
    Column("STATE", 9, lambda g, _: g.lost or g.throttle),
    Column("MODELS", 20, lambda g, _: ", ".join(g.models)),
)


def top(options: argparse.Namespace) -> int:
    """Print the figures once, or every two seconds."""

    async def act(fleet: BoxFleet) -> int:
        view = await fleet.known()
        warn_unled(view)
        print("\n".join(_lines(view)), flush=True)
        while options.watch:
            await asyncio.sleep(AGAIN_S)
            print(CLEAR if sys.stdout.isatty() else "", *_lines(fleet.view()), sep="\n", flush=True)
        return 0

    return on_box(act)


def _lines(view: FleetView) -> Iterator[str]:
    named = {column.title: column for column in columns_for(view)}
    resident = {name: rss_mib for name, _, rss_mib in view.host.sessions}

    def memory(model: ModelView) -> str:
        return gib(model.vram_mib if model.on_gpu else resident.get(model.name)) if model.ready else "-"

    columns = [named[title] for title in TITLES if title in named]
    yield from table((*columns, Column("MEM GiB", 7, lambda m, _: memory(m), right=True)), view.models, view.at_s)
    if view.gpus:
        yield ""
        yield from table(GPUS, view.gpus, view.at_s)
    elif view.gpu_panel.notice:
        yield f"\nGPU   {view.gpu_panel.notice}"
    host = view.host
    yield f"\nHOST  CPU {pct(host.cpu_pct)} % of {host.cores or '?'} cores   RAM {gib(host.ram_used_mib)}" + (
        f" of {gib(host.ram_total_mib)} GiB"
    )
