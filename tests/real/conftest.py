"""One box for the tests of a module where they allow it; a failed test shows the logs of all boxes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from typing import Any

import pytest

from tests.real.box import Box, running_box
from tests.real.clients import Clients


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def box() -> AsyncIterator[Box]:
    """A box without models."""
    async with running_box() as made:
        yield made


@pytest.fixture(scope="module")
async def clients(box: Box) -> AsyncIterator[Clients]:
    made = Clients(box.url)
    yield made
    await made.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    if report.failed:
        report.sections += [(f"box {box.home.root}", box.logs()) for box in Box.open]
