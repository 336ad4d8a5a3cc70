"""Figures as text: `?` is unknown, `-` does not apply, `0` is zero, `412?` is stale, `~1s` is estimated."""

from __future__ import annotations

from itertools import pairwise
from time import localtime, strftime
from typing import Literal

from rich.cells import cell_len, chop_cells, set_cell_size

from operator_embed.fleet.text import safe_text

__all__ = [
    "Spans",
    "Tone",
    "age",
    "clock",
    "count",
    "fit",
    "fit_middle",
    "gib",
    "gib_sum",
    "mean",
    "pct",
    "plural",
    "rate",
    "safe_text",
    "span",
    "stale",
    "watt_hours",
    "watts",
]

Tone = Literal["", "error", "warning", "muted", "accent", "history", "title"]
"""What a text means for its looks; each is a component class of the widgets that draw it."""

Spans = tuple[tuple[str, Tone], ...]
"""One line in parts, each with its tone."""

UNKNOWN = "?"
YEAR_S = 31_536_000
LONG_S = 86_400_000
UNITS_S = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def age(seconds: float | None) -> str:
    """`45s`, `12m`, `3h`, `4d`, `3y` after 999 days: one unit, rounded down."""
    if seconds is None:
        return UNKNOWN
    whole = max(0, int(seconds))
    if whole >= LONG_S:
        return f"{whole // YEAR_S}y"
    unit_s, letter = next(((unit_s, letter) for unit_s, letter in UNITS_S if whole >= unit_s), (1, "s"))
    return f"{whole // unit_s}{letter}"


def span(seconds: float | None) -> str:
    """`45s`, `2m30s`, `3h5m`: two units, for sentences."""
    if seconds is None:
        return UNKNOWN
    whole = max(0, int(seconds))
    for (unit_s, letter), (next_s, next_letter) in pairwise(UNITS_S):
        if whole >= unit_s:
            rest = whole % unit_s // next_s
            return f"{whole // unit_s}{letter}" + (f"{rest}{next_letter}" if rest else "")
    return f"{whole}s"


def count(value: float | None) -> str:
    """`412`, `9999`, `12.4k`, `3.1M`."""
    if value is None:
        return UNKNOWN
    if value < 9_999.5:
        return f"{value:.0f}"
    return f"{value / 1e3:.1f}k" if value < 999_950 else f"{value / 1e6:.1f}M"


def rate(value: float | None) -> str:
    """A small figure with one decimal: `0`, `<0.1`, `2.9`, `22.4`, `1180`."""
    if value is None:
        return UNKNOWN
    if 0 < value < 0.05:
        return "<0.1"
    return f"{value:.1f}" if 0 < value < 99.95 else count(value)


def pct(value: float | None) -> str:
    """`0`, `<1`, `99`: without the sign, which stands in the title."""
    if value is None:
        return UNKNOWN
    return "<1" if 0 < value < 0.5 else f"{value:.0f}"


def gib(mib: float | None) -> str:
    """GiB of 1024^3 with one decimal, from MiB: `73.6`, `<0.1`, `0`."""
    if mib is None:
        return UNKNOWN
    if mib <= 0:
        return "0"
    return "<0.1" if mib < 51.2 else f"{mib / 1024:.1f}"


def gib_sum(mib: float | None) -> str:
    """GiB without decimals from ten up: `244`, `1.6`, `<0.1`, `0`."""
    return gib(mib) if mib is None or mib < 10_240 else f"{mib / 1024:.0f}"


def watt_hours(value: float) -> str:
    """`140 Wh`, `9.1 kWh`."""
    return f"{value:.0f} Wh" if value < 999.5 else f"{value / 1e3:.1f} kWh"


def watts(value: float | None) -> str:
    """`392 W`, `1.19 kW`."""
    if value is None:
        return f"{UNKNOWN} W"
    return f"{value:.0f} W" if value < 999.5 else f"{value / 1e3:.2f} kW"


def clock(at_s: float) -> str:
    """Local time of day of a Unix time: `22:41:03`."""
    return strftime("%H:%M:%S", localtime(at_s))


def stale(text: str, silent: bool) -> str:
    """`412?`: the last figure of a source that is silent."""
    return f"{text}?" if silent and text not in {UNKNOWN, "-"} else text


def plural(number: int, noun: str) -> str:
    """`1 model`, `18 models`, `2 queries`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if noun.endswith("ry") else f"{number} {noun}s"


def mean(values: tuple[float | None, ...]) -> float | None:
    """Mean of what is known; `None` when nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def fit(text: str, width: int, right: bool = False) -> str:
    """`text` in exactly `width` cells; what does not fit ends in an ellipsis."""
    if width <= 0:
        return ""
    if (spare := width - cell_len(text)) < 0:
        return set_cell_size(text, width - 1) + "…"
    return " " * spare + text if right else text + " " * spare


def fit_middle(text: str, width: int) -> str:
    """`text` in exactly `width` cells; a long one loses its middle, since ends are what differs."""
    if cell_len(text) <= width or width < 5:
        return fit(text, width)
    tail_cells = (width - 1) // 2
    tail = ""
    for character in reversed(text):
        if cell_len(character + tail) > tail_cells:
            break
        tail = character + tail
    head = chop_cells(text, width - 1 - cell_len(tail))[0]
    return fit(f"{head}…{tail}", width)
