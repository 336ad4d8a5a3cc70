"""What every test may use."""

import os
import time

import pytest

os.environ["TZ"] = "UTC"
time.tzset()  # pictures of screens hold times of day


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
