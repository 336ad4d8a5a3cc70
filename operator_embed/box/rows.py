"""Rows that did not change stay the same objects, and those that did get a new version."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar, cast


class Row(Protocol):
    @property
    def key(self) -> str: ...
    @property
    def version(self) -> int: ...


R = TypeVar("R", bound=Row)


class Rows(Generic[R]):
    """One table of the view; the rows given to it all carry version 0."""

    def __init__(self, next_version: Callable[[], int]) -> None:
        self._next_version = next_version
        self._given: Sequence[R] = ()
        self._kept: dict[str, tuple[R, R]] = {}
        """Each row as it was given and as it is shown, by key."""
        self._shown: tuple[R, ...] = ()

    def keep(self, rows: Sequence[R]) -> tuple[R, ...]:
        """`rows` with the object shown before wherever nothing differs; the same tuple when none does."""
        if rows is self._given:
            return self._shown
        self._given = rows
        self._kept = {row.key: self._pair(row) for row in rows}
        shown = tuple(shown for _, shown in self._kept.values())
        if len(shown) != len(self._shown) or any(a is not b for a, b in zip(shown, self._shown, strict=True)):
            self._shown = shown
        return self._shown

    def _pair(self, row: R) -> tuple[R, R]:
        before = self._kept.get(row.key)
        if before is not None and (row is before[0] or row == before[0]):
            return before
        return row, cast(R, replace(cast(Any, row), version=self._next_version()))
