"""One hour of history at one value a second, per named series."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

SPAN_S = 3600
HOLD_S = 3
"""A value stands for the seconds around it as long as its source is not stale, which it is after three periods."""
READERS = 16
"""Graphs of one series that are computed at no cost; a terminal that is resized leaves some behind."""
NAN = math.nan
NO_VALUE = array("f", [NAN])
NO_VALUES = NO_VALUE * SPAN_S

History = tuple[float | None, ...]


class Saved(msgspec.Struct, frozen=True, array_like=True):
    """One series on its way to another process of this machine."""

    last: int
    heard: int
    values: bytes
    """Float32 in native order, one a second, the newest for `last`."""


class Finished(NamedTuple):
    """Means of parts of time that are over."""

    newest: int
    """Number of the last of them."""
    means: History


class Series:
    """Values by Unix second in a ring; NaN is a gap."""

    __slots__ = ("finished", "first", "heard", "last", "steady", "values")

    def __init__(self, second: int) -> None:
        self.values = NO_VALUES[:]
        self.first = second
        """No second before it was written since all were gaps."""
        self.last = self.heard = second - 1
        """Newest second written, newest second with a value."""
        self.steady = second
        """Every second since this one has the newest value."""
        self.finished: dict[tuple[float, int], Finished] = {}
        """By length and number of the parts that a reader asks for."""

    def put(self, second: int, value: float | None) -> None:
        """Write one second; a short silence before it takes its value too, a longer one stays a gap."""
        missed = second - self.last - 1
        if missed < -1 or missed >= SPAN_S:
            self.finished.clear()
        if abs(missed) >= SPAN_S:
            self.values[:] = NO_VALUES
            self.first = second
        elif missed > 0:
            filler = NAN if value is None or missed >= HOLD_S else value
            for gap in range(self.last + 1, second):
                self.values[gap % SPAN_S] = filler
        elif missed < -1:
            for undone in range(second + 1, self.last + 1):
                self.values[undone % SPAN_S] = NAN
        if missed or value != self.values[self.last % SPAN_S]:
            self.steady = second
        self.values[second % SPAN_S] = NAN if value is None else value
        self.first, self.last = min(self.first, second), second
        if value is not None:
            self.heard = second

    def between(self, first: int, end: int) -> array[float]:
        """Values of the seconds from `first` until before `end`; the newest holds until its source is stale."""
        start = max(first, self.last - SPAN_S + 1)
        known = NO_VALUE * (min(start, end) - first) + self._written(start, min(end, self.last + 1))
        held = min(end, self.last + HOLD_S) - max(first, self.last + 1)
        newest = self.last % SPAN_S
        known += self.values[newest : newest + 1] * held
        return known + NO_VALUE * (end - first - len(known))

    def means(self, part_s: float, points: int, newest: int) -> History:
        """Of `points` parts of time up to part `newest`; those that nothing can be added to are computed once."""
        oldest = newest - points + 1
        if self.is_steady(math.floor(oldest * part_s), math.floor(newest * part_s)):
            return (self._newest,) * points
        known = self._known(part_s, points, oldest, newest)
        start = oldest + len(known)
        first = math.floor(start * part_s)
        seconds = self.between(first, math.ceil((newest + 1) * part_s))
        ends = [(math.floor(n * part_s) - first, math.ceil((n + 1) * part_s) - first) for n in range(start, newest + 1)]
        means = known + tuple([mean(seconds[begin:end]) for begin, end in ends])
        done = min(newest, math.floor(self.last / part_s) - 1)
        if len(self.finished) >= READERS:
            self.finished.clear()
        self.finished[part_s, points] = Finished(done, means[: max(0, done - oldest + 1)])
        return means

    def mean(self, first: int, end: int) -> float | None:
        """Of the seconds from `first` until before `end`."""
        return self._newest if self.is_steady(first, first) else mean(self.between(first, end))

    def is_steady(self, first: int, last: int) -> bool:
        """Whether all from `first` to `last`, as far as it is known, is the newest value: most series are idle."""
        return self.steady <= first and last < self.last + HOLD_S

    @property
    def _newest(self) -> float | None:
        value = self.values[self.last % SPAN_S]
        return None if value != value else value

    def _known(self, part_s: float, points: int, oldest: int, newest: int) -> History:
        """The means from part `oldest` on that need not be computed again."""
        kept = self.finished.get((part_s, points))
        if kept is None or not oldest <= kept.newest <= newest or kept.newest - len(kept.means) >= oldest:
            return ()
        return kept.means[oldest - kept.newest - 1 :]

    def _written(self, start: int, end: int) -> array[float]:
        """Seconds of the hour before `last`, without a copy of all of it."""
        if start >= end:
            return NO_VALUE[:0]
        begin = start % SPAN_S
        beyond = begin + end - start - SPAN_S
        return self.values[begin : begin + end - start] + self.values[: max(0, beyond)]


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

    def read(self, name: str, span_s: float, points: int, now: float) -> History:
        """The last `span_s` in `points` equal parts of time, each the mean of its values; `None` where there are none.

        A graph without room asks for no points, or for less than none, and gets none.

        Parts begin at multiples of their length, so that a graph moves on by whole points and keeps its shape.
        """
        if points < 1 or (series := self._series.get(name)) is None:
            return (None,) * points
        part_s = span_s / points
        return series.means(part_s, points, math.floor(now / part_s))

    def mean(self, name: str, first_s: float, end_s: float) -> float | None:
        """Of the seconds from `first_s` until before `end_s`; `None` where nothing is known."""
        series = self._series.get(name)
        return series.mean(math.floor(first_s), math.floor(end_s)) if series else None

    def export(self) -> bytes:
        """All series, for `load` in another process of this machine; 14 KiB for a full hour of one."""
        saved = {}
        for name, series in self._series.items():
            written = series.between(max(series.first, series.last - SPAN_S + 1), series.last + 1)
            saved[name] = Saved(series.last, series.heard, written.tobytes())
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
            series.first = saved.last - len(values) + 1
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
