"""The engine beside a console: started, started again, and what it says where it cannot lead."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.settings import Settings
from console.wiring import EngineThread
from operator_embed.box.home import Home
from operator_embed.box.lock import Lock
from operator_embed.fleet.fleet import FleetError
from tests.cli.box import Box, happens
from tests.real.terminal import console


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
        happens(lambda: refusal(engine) != "")
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


@pytest.mark.anyio
async def test_a_read_only_console_leads_once_changes_are_allowed_and_it_is_started(alone: Box) -> None:
    lock = Lock(Home(alone.home).lock)
    async with console({**alone.env, "UPLION_READ_ONLY": "true"}) as terminal:
        await terminal.shows("NO LEADER · READ-ONLY")
        terminal.type(":start\r")
        await terminal.shows("read-only: W allows changes")
        assert lock.holder() is None
        terminal.type("W")
        await terminal.shows("Allow changes in")
        terminal.type("\r")
        await terminal.shows("NO LEADER ")
        terminal.type(":start\r")
        await terminal.shows(" live ")
        assert lock.holder() == terminal.pid
        terminal.type("q")
        assert await terminal.ended() == 0
