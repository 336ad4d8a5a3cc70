"""A figure over time as braille: two samples a cell, four levels a line."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

LEFT = (0x00, 0x40, 0x44, 0x46, 0x47)
RIGHT = (0x00, 0x80, 0xA0, 0xB0, 0xB8)


CELLS = [[chr(0x2800 + left + right) if left or right else " " for right in RIGHT] for left in LEFT]


@lru_cache(maxsize=256)
def braille(samples: tuple[float | None, ...], width: int, height: int) -> tuple[str, ...]:
    """An area chart of 0..1 as lines, newest right, two samples a cell; `None` is a gap, zero a base line.

    Charts are kept: most of them stand still between two views.
    """
    tops = [0] * (2 * width - len(samples))
    tops += [0 if s is None else max(1, round(s * 4 * height)) for s in samples[-2 * width :]]
    pairs = list(zip(tops[::2], tops[1::2], strict=True))
    return tuple("".join([line[a][b] for a, b in pairs]) for line in _lines(height))


@lru_cache
def _lines(height: int) -> Sequence[Sequence[Sequence[str]]]:
    """For each line of a chart, topmost first, its character by the tops of the left and the right sample."""
    tops = range(4 * height + 1)
    dots = [[min(max(top - base, 0), 4) for top in tops] for base in range(4 * (height - 1), -1, -4)]
    return [[[CELLS[a][b] for b in line] for a in line] for line in dots]


def braille_line(samples: Sequence[float | None], width: int, height: int, y: int) -> str:
    """Line `y` of such a chart."""
    return braille(tuple(samples), width, height)[y]


def scaled(samples: Sequence[float | None], top: float | None = None) -> tuple[float | None, ...]:
    """Samples as parts of `top`, by default of their largest."""
    most = top or max((s for s in samples if s is not None), default=0.0)
    return tuple(None if s is None else min(s / most, 1.0) if most > 0 else 0.0 for s in samples)


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
