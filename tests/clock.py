"""A clock that stands until a test moves it."""

from __future__ import annotations


class Clock:
    """Seconds since any moment, for whatever takes a clock."""

    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s
