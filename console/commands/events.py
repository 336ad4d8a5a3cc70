"""`uplion events`: what happened, newest last."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from console.commands.box import key_of, note, on_box
from console.commands.table import Lines
from operator_embed.box.fleet import BoxFleet
from operator_embed.fleet.fleet import EventView
from screens.event_columns import event_object, model_name, type_of
from screens.format import age, count
from screens.widgets.columns import Column

AGE: Column[EventView] = Column("AGE", 4, lambda e, at_s: age(at_s - e.at_s), ticks=True)
TYPE: Column[EventView] = Column("TYPE", 7, lambda e, _: type_of(e))
REASON: Column[EventView] = Column("REASON", 14, lambda e, _: e.reason)
COUNT: Column[EventView] = Column("COUNT", 5, lambda e, _: count(e.count), right=True)
MODEL: Column[EventView] = Column("MODEL", 20, lambda e, _: model_name(e))
SOURCE: Column[EventView] = Column("SOURCE", 19, lambda e, _: e.source)
MESSAGE: Column[EventView] = Column("MESSAGE", 24, lambda e, _: e.message)

WIDEST = 32
"""Cells that a column is padded to: a name may have 63 characters, and messages stand behind it."""
OF_MODEL = (AGE, TYPE, REASON, COUNT, SOURCE, MESSAGE)
OF_ALL = (AGE, TYPE, REASON, COUNT, MODEL, SOURCE, MESSAGE)


def events(options: argparse.Namespace) -> int:
    """Print what happened, and with `--watch` what happens."""
    key = key_of(options.model, options.namespace) if options.model else None

    def asked(rows: Sequence[EventView]) -> list[EventView]:
        rows = [row for row in rows if key in (None, row.model)]
        return [row for row in reversed(rows) if key or options.namespace in (None, row.model.partition("/")[0])]

    async def act(fleet: BoxFleet) -> int:
        rows = asked((await fleet.known()).events)
        if options.output == "json" and not options.watch:
            print(json.dumps([event_object(row) for row in rows], indent=2, ensure_ascii=False))
        elif rows or options.watch:
            await _print(fleet, rows, asked, options)
        else:
            note("No events.")
        return 0

    return on_box(act)


async def _print(fleet: BoxFleet, rows: list[EventView], asked: Any, options: argparse.Namespace) -> None:
    """Tables take a line an event, json an object a line; the same event again, with a new count, is news."""
    lines, told = Lines(OF_ALL, WIDEST), dict[str, int]()

    def show(rows: list[EventView], at_s: float) -> None:
        if options.output == "table":
            said = lines.new(rows, at_s)
        else:
            said = [json.dumps(event_object(row), ensure_ascii=False) for row in rows if told.get(row.key) != row.count]
            told.update((row.key, row.count) for row in rows)
        if said:
            print("\n".join(said), flush=True)

    show(rows, fleet.view().at_s)
    if options.watch:
        async for _ in fleet.changes():
            show(asked(fleet.view().events), fleet.view().at_s)
