"""What every test may use."""

import os
from collections.abc import Iterator

import pytest

from tests.clock import Clock


@pytest.fixture(autouse=True)
def settings_of_one_test() -> Iterator[None]:
    """What a test sets in the environment, also by a flag, is gone after it."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    return Clock()
