"""`uplion --once`: the main screen as text, for a log, a pipe or a terminal that cannot be painted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

from console.commands.box import in_shell, on_box
from console.commands.get import columns_of
from console.commands.table import table
from console.settings import Settings
from operator_embed.box.fleet import BoxFleet
from operator_embed.fleet.fleet import FleetView
from screens.base import context_end
from screens.format import Spans
from screens.model_columns import FAILURES, columns_for, totals
from screens.widgets.ascii import plain

WIDE = 1_000
"""Cells: no figure is left out for want of room."""


def once(chosen: Settings) -> int:
    """Print header, models and failures."""
    in_ascii = chosen.ascii or "utf" not in (sys.stdout.encoding or "").lower()

    async def act(fleet: BoxFleet) -> int:
        for line in _lines(await fleet.known()):
            print(plain(line) if in_ascii else line)
        return 0

    return on_box(act)


def _lines(view: FleetView) -> Iterator[str]:
    yield _text(context_end(view, False, True))
    yield "  ".join(_text(part).strip() for _, part in totals(view, True))
    if view.models:
        yield ""
        mark = columns_for(view)[0]
        yield from table((mark, *columns_of(view, view.models, wide=True)), view.models, view.at_s)
    yield ""
    yield f"Failures  {len(view.failures) or 'none'} now"
    if view.failures:
        failures = [replace(failure, message=in_shell(failure.message, failure.model)) for failure in view.failures]
        yield from table([column for column in FAILURES if column.until >= WIDE], failures, view.at_s)


def _text(spans: Spans) -> str:
    return "".join(text for text, _ in spans)
