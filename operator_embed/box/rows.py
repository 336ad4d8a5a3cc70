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
    """One table of the view; `version` of the rows given to it does not matter."""

    def __init__(self, next_version: Callable[[], int]) -> None:
        self._next_version = next_version
        self._rows: dict[str, R] = {}
        self._shown: tuple[R, ...] = ()

    def keep(self, rows: Sequence[R]) -> tuple[R, ...]:
        """`rows` with the kept object wherever nothing else than the version differs."""
        self._rows = {row.key: self._kept(row) for row in rows}
        shown = tuple(self._rows.values())
        if len(shown) != len(self._shown) or any(a is not b for a, b in zip(shown, self._shown, strict=True)):
            self._shown = shown
        return self._shown

    def _kept(self, row: R) -> R:
        old = self._rows.get(row.key)
        if old is not None and _at(row, old.version) == old:
            return old
        return _at(row, self._next_version())


def _at(row: R, version: int) -> R:
    return cast(R, replace(cast(Any, row), version=version))
