"""The engine beside a console: started, started again, and what it says where it cannot lead."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from console.settings import Settings
from console.wiring import EngineThread
from operator_embed.box.home import Home
from operator_embed.box.lock import Lock
from operator_embed.fleet.fleet import FleetError


def until(happened: Callable[[], bool]) -> None:
    """Wait for something that another thread does; fails after 10 s."""
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def refusal(engine: EngineThread) -> str:
    """What starting again is answered."""
    try:
        engine.start()
    except FleetError as refused:
        return str(refused)
    return ""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    there = Home(tmp_path / "home")
    there.prepare()
    return there


def test_an_engine_that_cannot_lead_says_why_when_it_is_asked_to(home: Home) -> None:
    home.lock.mkdir()
    engine = EngineThread(home, Settings())
    engine.start()
    try:
        until(lambda: refusal(engine) != "")
        assert refusal(engine) == f"cannot lead: {home.lock}: cannot be opened: Is a directory"
    finally:
        engine.close()


def test_an_engine_that_waits_for_another_leader_is_started_once(home: Home) -> None:
    other = Lock(home.lock)
    assert other.try_acquire()
    engine = EngineThread(home, Settings())
    engine.start()
    try:
        engine.start()
        assert not engine.leads
    finally:
        engine.close()
        other.release()


def test_an_engine_that_was_never_started_ends_without_a_word(home: Home) -> None:
    EngineThread(home, Settings()).close()
    assert not home.lock.exists()
