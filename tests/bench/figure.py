"""A measured figure, what stands beside it in the same run, and whether it is what was wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A limit of a figure, or of its ratio to what stands beside it."""

    limit: float
    ratio: bool = False
    least: bool = False
    """The limit is the least that will do, not the most."""

    def met(self, value: float) -> bool:
        return value >= self.limit if self.least else value <= self.limit

    def text(self, unit: str) -> str:
        limit = f"{self.limit:g}x" if self.ratio else f"{self.limit:g} {unit}"
        return f"{'>=' if self.least else '<='} {limit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of what a benchmark prints."""

    name: str
    value: float
    unit: str
    beside: str = ""
    """What `floor` is of; empty where nothing is comparable."""
    floor: float | None = None
    """In the same unit, measured in the same run."""
    target: Target | None = None
    """Without one the figure is there for who wants to know."""

    @property
    def ratio(self) -> float | None:
        return self.value / self.floor if self.floor else None

    @property
    def met(self) -> bool | None:
        """Whether the target was met; `None` without one."""
        judged = self.ratio if self.target and self.target.ratio else self.value
        return self.target.met(judged) if self.target and judged is not None else None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"ratio": self.ratio, "met": self.met}


TITLES = ("figure", "measured", "beside it, in the same run", "ratio", "target", "met")
LEFT = frozenset({"figure", "beside it, in the same run", "target"})


def cells(figure: Figure) -> Sequence[str]:
    """The texts of a line."""
    floor = "" if figure.floor is None else f"{number(figure.floor)} {figure.unit}  {figure.beside}"
    return (
        figure.name,
        f"{number(figure.value)} {figure.unit}",
        floor,
        "" if figure.ratio is None else f"{figure.ratio:.2f}x",
        figure.target.text(figure.unit) if figure.target else "",
        {True: "yes", False: "NO", None: ""}[figure.met],
    )


def lines(figures: Sequence[Figure]) -> Iterator[str]:
    """A table of all figures under their titles."""
    rows = [TITLES, *map(cells, figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        columns = zip(row, widths, TITLES, strict=True)
        yield "  ".join(f"{text:{'<' if title in LEFT else '>'}{width}}" for text, width, title in columns).rstrip()


def number(value: float) -> str:
    """Three digits that count."""
    size = abs(value)
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def middle(values: Sequence[float]) -> float:
    """The median of a benchmark's rounds."""
    return float(median(values))
