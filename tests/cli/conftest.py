"""One box that is served for all tests that only look at it or use models of their own, and empty ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.box import Box, a_box, manifest


@pytest.fixture(scope="session")
def served() -> Iterator[Box]:
    """A box with a leader and the model `hello`, ready."""
    with a_box() as box:
        box.serve()
        box.says("apply", "-f", "-", "--wait", text=manifest("hello"))
        yield box


@pytest.fixture
def alone() -> Iterator[Box]:
    """A box that nothing leads."""
    with a_box() as box:
        yield box
