"""The bench of the supervisor's tests; nothing that a test started survives it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.bench import Bench, is_zombie


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A fresh home."""
    bench = Bench(tmp_path)
    try:
        yield bench
    finally:
        bench.kill_everything()


@pytest.fixture
def no_zombies(bench: Bench) -> Iterator[None]:
    """Every child that ended was reaped."""
    yield
    assert [state.pid for state in bench.told if state.pid and is_zombie(state.pid)] == []
