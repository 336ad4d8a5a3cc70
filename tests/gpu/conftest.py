"""A sampler on the stand-in library, and real processes that burn CPU."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.gpu.fake import COMPILER, FakeNvml


@pytest.fixture
def fake(tmp_path: Path) -> FakeNvml:
    if not COMPILER:
        pytest.skip("no C compiler to build the stand-in for libnvidia-ml")
    return FakeNvml(tmp_path)


@pytest.fixture
def session() -> Iterator[Callable[..., int]]:
    """Starts Python code in a session of its own, with its name; the whole session is killed at the end."""
    started: list[subprocess.Popen[bytes]] = []

    def start(code: str, **env: str) -> int:
        child = subprocess.Popen(
            [sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE, env={**os.environ, **env}
        )
        started.append(child)
        assert child.stdout
        assert child.stdout.read(1) == b"."
        return child.pid

    yield start
    for child in started:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()


DIES_WITH_PARENT = "import ctypes, subprocess, sys, time; ctypes.CDLL(None).prctl(1, 9)\n"
READY = "print(end='.', flush=True)\n"
BURNS = DIES_WITH_PARENT + READY + "while True: pass"
SLEEPS = DIES_WITH_PARENT + READY + "time.sleep(600)"
CHILD_BURNS = DIES_WITH_PARENT + f"subprocess.Popen([sys.executable, '-c', {BURNS!r}])\ntime.sleep(600)"
