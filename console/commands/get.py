"""`uplion get models`: one line a model, or whole objects."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from console.commands.box import chosen, key_of, name_of, no_such, note, on_box, warn_unled
from console.commands.errors import CommandError, UsageError
from console.commands.table import Lines, printed
from operator_embed.box.fleet import BoxFleet
from operator_embed.fleet.fleet import FleetView
from operator_embed.fleet.models import ModelView
from screens.model_columns import columns_for
from screens.widgets.columns import Column

ALWAYS = ("NAME", "READY", "STATE", "BACKLOG", "OLDEST", "REQ/S", "TOK/S", "ENGINE", "AGE")
ONLY_WIDE = (
    "TYPE",
    "MODEL",
    "MIN-MAX",
    "FLIGHT",
    "1ST p95",
    "CPU%",
    "GPU%",
    "VRAM",
    "KV %",
    "RESTARTS",
    "LAST FAILURE",
)
NAMESPACE: Column[ModelView] = Column("NAMESPACE", 10, lambda m, _: m.namespace)


def models(options: argparse.Namespace) -> int:
    """List AIModels as a table, as names or as objects."""

    whole = options.output in ("json", "yaml", "name")
    if whole and options.watch:
        raise UsageError(f"-w goes on with lines of a table; leave out -o {options.output}")

    async def act(fleet: BoxFleet) -> int:
        if whole:
            return await _objects(fleet, options)
        view = await fleet.known()
        warn_unled(view)
        rows = chosen(view.models, options.names, options.namespace)
        if not rows and not options.watch:
            where = f" in namespace {options.namespace}" if options.namespace else ""
            note(f"No models{where}. uplion apply -f model.yaml makes one.")
            return 0
        lines = Lines(columns_of(view, rows, wide=options.output == "wide"))
        print("\n".join(lines.new(rows, view.at_s)), flush=True)
        if options.watch:
            await _watch(fleet, lines, options)
        return 0

    return on_box(act)


async def _objects(fleet: BoxFleet, options: argparse.Namespace) -> int:
    objects = {f"{o['metadata']['namespace']}/{o['metadata']['name']}": o for o in await fleet.models.objects()}
    keys = [key_of(name, options.namespace) for name in options.names]
    if missing := [key for key in keys if key not in objects]:
        raise CommandError("\n".join(map(no_such, missing)))
    keys = keys or [key for key in objects if options.namespace in (None, key.partition("/")[0])]
    if options.output == "name":
        for key in keys:
            print(name_of(key))
    else:
        print(printed([objects[key] for key in keys], options.output, one=len(options.names) == 1))
    return 0


def columns_of(view: FleetView, rows: Sequence[ModelView], *, wide: bool) -> Sequence[Column[ModelView]]:
    """What a table says of each model, and where it is when not all are in the default namespace."""
    named = {column.title: column for column in columns_for(view)}
    titles = ALWAYS + ONLY_WIDE if wide else ALWAYS
    several = {row.namespace for row in rows} - {"default"}
    return (*([NAMESPACE] if several else []), *(named[title] for title in titles if title in named))


async def _watch(fleet: BoxFleet, lines: Lines[ModelView], options: argparse.Namespace) -> None:
    """All of a namespace, or the named ones, also one that comes back under its name."""
    keys = {key_of(name, options.namespace) for name in options.names}
    async for _ in fleet.changes():
        view = fleet.view()
        asked = [m for m in view.models if (m.key in keys if keys else options.namespace in (None, m.namespace))]
        for line in lines.new(asked, view.at_s):
            print(line, flush=True)
