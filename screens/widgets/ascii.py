"""A console in plain ASCII, for terminals and fonts without braille, blocks or arrows."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

LEVELS = " .:-=+*#"
BRAILLE = {0x2800 + dots: LEVELS[round(dots.bit_count() * 7 / 8)] for dots in range(256)}
BLOCKS = {ord(block): LEVELS[round((i + 1) * 7 / 8)] for i, block in enumerate("▁▂▃▄▅▆▇█")}
SIGNS = dict(zip(map(ord, "▲▼↓↑─━═│┃║·…▒°╭╮╰╯┌┐└┘├┤┬┴┼▌▐▎▊●•"), "^vv^---|||.>= +++++++++++++||||**", strict=True))
TABLE = {**BRAILLE, **BLOCKS, **SIGNS}


def plain(text: str) -> str:
    """`text` in as many cells, in ASCII; what has no stand-in is a `?` a cell."""
    if text.isascii():
        return text
    replaced = text.replace("°C", "C ").translate(TABLE)
    return "".join(c if c.isascii() else "?" * cell_len(c) for c in replaced)


class Ascii(LineFilter):
    """Replaces characters where lines leave for the terminal, so that no screen knows of it."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [Segment(plain(text), style, control) for text, style, control in segments]
