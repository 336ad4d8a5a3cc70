"""A figure over time as braille: two samples a cell, four levels a line."""

from __future__ import annotations

from codecs import charmap_decode
from collections.abc import Sequence
from functools import lru_cache

LEFT = (0x00, 0x40, 0x44, 0x46, 0x47)
RIGHT = (0x00, 0x80, 0xA0, 0xB0, 0xB8)
CELLS = "".join(chr(0x2800 + dots) if dots else " " for dots in range(256))


@lru_cache(maxsize=256)
def braille(samples: tuple[float | None, ...], width: int, height: int) -> tuple[str, ...]:
    """An area chart of 0..1 as lines, newest right, two samples a cell; `None` is a gap, zero a base line.

    Charts are kept: most of them stand still between two views. Those that move do so all at once, hence bytes.
    """
    most = 4 * height
    tops = bytes(max(0, 2 * width - len(samples)))
    tops += bytes([0 if s is None else round(s * most) or 1 for s in samples[-2 * width :]])
    lefts, rights = tops[::2], tops[1::2]
    return tuple([_cells(lefts.translate(left), rights.translate(right)) for left, right in _lines(height)])


def _cells(left: bytes, right: bytes) -> str:
    """One line, from the dots in the left and in the right half of its cells."""
    both = int.from_bytes(left, "big") | int.from_bytes(right, "big")
    return charmap_decode(both.to_bytes(len(left), "big"), "strict", CELLS)[0]


@lru_cache
def _lines(height: int) -> Sequence[tuple[bytes, bytes]]:
    """For each line of a chart, topmost first, the dots of a half cell by the top of its sample: left, right."""
    heights = [[min(max(top - base, 0), 4) for top in range(256)] for base in range(4 * (height - 1), -1, -4)]
    return [(bytes(LEFT[dots] for dots in line), bytes(RIGHT[dots] for dots in line)) for line in heights]


def braille_line(samples: Sequence[float | None], width: int, height: int, y: int) -> str:
    """Line `y` of such a chart."""
    return braille(tuple(samples), width, height)[y]


def scaled(samples: Sequence[float | None], top: float | None = None) -> tuple[float | None, ...]:
    """Samples as parts of `top`, by default of their largest."""
    most = top or max((s for s in samples if s is not None), default=0.0)
    if most <= 0:
        return tuple([None if s is None else 0.0 for s in samples])
    return tuple([None if s is None else s / most if 0.0 <= s < most else float(s > 0.0) for s in samples])


def top_of(samples: Sequence[float | None], least: float = 1.0) -> float:
    """Largest sample, of which a chart's scale tells; means below `least` of what is counted whole stay small."""
    most = max((s for s in samples if s is not None), default=0.0)
    return max(most, least) if most > 0 else 0.0


def shape(samples: Sequence[float | None], width: int) -> str:
    """One line that shows how a figure moved, without its height; blank when it was zero all the time.

    What hardly moved is a base line: stretched to its own extremes, noise would look like news.
    """
    known = [s for s in samples if s is not None]
    if not any(known):
        return " " * width
    least, most = min(known), max(known)
    stretch = max(most - least, most / 2)
    return braille_line([None if s is None else (s - least) / stretch for s in samples], width, 1, 0)
