"""A box's home with short socket paths, and processes that never outlive their test."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from operator_embed.box.home import Home
from operator_embed.box.store import Store

Start = Callable[..., "subprocess.Popen[str]"]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    with tempfile.TemporaryDirectory(prefix="up", dir="/tmp") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Home(Path(folder) / "home")


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    opened = Store(home)
    yield opened
    opened.close()


@pytest.fixture
def start() -> Iterator[Start]:
    """Start `python -m tests.store.actors <arguments>`; what still runs afterwards, or after 60 s, is killed."""
    running: list[tuple[subprocess.Popen[str], threading.Timer]] = []

    def run(*arguments: object, pass_fds: tuple[int, ...] = ()) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.store.actors", *map(str, arguments)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=pass_fds,
        )
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        running.append((process, watchdog))
        return process

    yield run
    for process, watchdog in running:
        watchdog.cancel()
        process.kill()
        process.communicate()
