"""One hour of history at one value a second, per named series."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping

import msgspec

SPAN_S = 3600
HOLD_S = 3
"""A value stands for the seconds around it as long as its source is not stale, which it is after three periods."""
NAN = math.nan
NO_VALUE = array("f", [NAN])
NO_VALUES = NO_VALUE * SPAN_S


class Saved(msgspec.Struct, frozen=True, array_like=True):
    """One series on its way to another process of this machine."""

    last: int
    heard: int
    values: bytes
    """Float32 in native order, one a second, the newest for `last`."""


class Series:
    """Values by Unix second in a ring; NaN is a gap."""

    __slots__ = ("heard", "last", "values")

    def __init__(self, second: int) -> None:
        self.values = NO_VALUES[:]
        self.last = self.heard = second - 1
        """Newest second written, newest second with a value."""

    def put(self, second: int, value: float | None) -> None:
        """Write one second; a short silence before it takes its value too, a longer one stays a gap."""
        missed = second - self.last - 1
        if abs(missed) >= SPAN_S:
            self.values[:] = NO_VALUES
        elif missed > 0:
            filler = NAN if value is None or missed >= HOLD_S else value
            for gap in range(self.last + 1, second):
                self.values[gap % SPAN_S] = filler
        elif missed < -1:
            for undone in range(second + 1, self.last + 1):
                self.values[undone % SPAN_S] = NAN
        self.values[second % SPAN_S] = NAN if value is None else value
        self.last = second
        if value is not None:
            self.heard = second

    def hour(self) -> array[float]:
        """All values in the order of time, the newest for `last`."""
        oldest = (self.last + 1) % SPAN_S
        return self.values[oldest:] + self.values[:oldest]

    def between(self, first: int, end: int) -> array[float]:
        """Values of the seconds from `first` until before `end`; the newest holds until its source is stale."""
        oldest = self.last - SPAN_S + 1
        hour = self.hour()
        known = (hour + hour[-1:] * (HOLD_S - 1))[max(0, first - oldest) : max(0, end - oldest)]
        before = NO_VALUE * (min(oldest, end) - first)
        return before + known + NO_VALUE * (end - first - len(before) - len(known))


class Rings:
    """The last hour of any number of series; a name unheard for an hour is forgotten."""

    def __init__(self) -> None:
        self._series: dict[str, Series] = {}
        self._swept = 0

    def add(self, at: float, values: Mapping[str, float | None]) -> None:
        """Keep values of Unix time `at`; `None` is a gap, and so is a name that is not there."""
        second = int(at)
        series = self._series
        for name, value in values.items():
            if name in series:
                series[name].put(second, value)
            elif value is not None:
                series[name] = Series(second)
                series[name].put(second, value)
        if abs(second - self._swept) >= 60:
            self._swept = second
            self._series = {name: one for name, one in series.items() if second - one.heard < SPAN_S}

    def read(self, name: str, span_s: float, points: int, now: float) -> tuple[float | None, ...]:
        """The last `span_s` in `points` equal parts of time, each the mean of its values; `None` where there are none.

        A graph without room asks for no points, or for less than none, and gets none.

        Parts begin at multiples of their length, so that a graph moves on by whole points and keeps its shape.
        """
        if points < 1 or (series := self._series.get(name)) is None:
            return (None,) * points
        part_s = span_s / points
        newest = math.floor(now / part_s)
        parts = range(newest - points + 1, newest + 1)
        bounds = [(math.floor(part * part_s), math.ceil((part + 1) * part_s)) for part in parts]
        first = bounds[0][0]
        seconds = series.between(first, bounds[-1][1])
        return tuple(mean(seconds[start - first : end - first]) for start, end in bounds)

    def export(self) -> bytes:
        """All series, for `load` in another process of this machine; 14 KiB for a full hour of one."""
        saved = {}
        for name, series in self._series.items():
            values = series.hour()
            start = next((i for i, value in enumerate(values) if value == value), SPAN_S)
            saved[name] = Saved(series.last, series.heard, values[start:].tobytes())
        return msgspec.msgpack.encode(saved)

    def load(self, exported: bytes) -> None:
        """Take over what `export` made, in place of what is here; raises `ValueError` when it is something else."""
        loaded = {}
        for name, saved in msgspec.msgpack.decode(exported, type=dict[str, Saved]).items():
            values = array("f")
            values.frombytes(saved.values)
            if len(values) > SPAN_S:
                raise ValueError(f"history of {name}: {len(values)} values, more than an hour")
            series = loaded[name] = Series(saved.last + 1)
            series.heard = saved.heard
            hour = NO_VALUE * (SPAN_S - len(values)) + values
            newest_at_end = SPAN_S - (saved.last + 1) % SPAN_S
            series.values = hour[newest_at_end:] + hour[:newest_at_end]
        self._series = loaded


def mean(values: array[float]) -> float | None:
    """Mean of the numbers among `values`; `None` when there is none."""
    total = sum(values)
    if total == total:
        return total / len(values)
    numbers = [value for value in values if value == value]
    return sum(numbers) / len(numbers) if numbers else None
