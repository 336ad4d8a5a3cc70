"""Saving what is on the screen."""

from __future__ import annotations

import json
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from console.app import Console
from screens.save import SaveDialog
from screens.saved import file_name, write_new
from tests.fleet import StillFleet, event, model, shows, until
from tests.screens.scenes import box, line, still

pytestmark = pytest.mark.anyio


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def save_as(pilot: Pilot[Any], name: str) -> None:
    """Ask to save what is on the screen under a name."""
    await pilot.press("ctrl+s")
    await until(pilot, lambda: isinstance(pilot.app.screen, SaveDialog))
    pilot.app.screen.query_one(Input).value = name
    await pilot.press("enter")


async def test_what_is_on_the_screen_is_saved_as_text_for_its_owner_alone(here: Path) -> None:
    async with Console(box()).run_test(size=(120, 40), notifications=True) as pilot:
        await shows(pilot, "qwen3-32b")
        await save_as(pilot, "seen.txt")
        await shows(pilot, "saved:")
    saved = here / "seen.txt"
    assert saved.stat().st_mode & 0o777 == 0o600
    assert "qwen3-32b" in saved.read_text()
    assert "enter open   s scale" in saved.read_text()


async def test_a_picture_is_svg(here: Path) -> None:
    async with Console(box()).run_test(size=(80, 24), notifications=True) as pilot:
        await save_as(pilot, "seen.svg")
        await shows(pilot, "saved:")
    assert (here / "seen.svg").read_text().startswith("<svg")


async def test_objects_are_those_of_the_rows_shown(here: Path) -> None:
    fleet = StillFleet(model("one"), model("two"))
    fleet.models.stored = [{"metadata": {"namespace": "default", "name": name}, "spec": {}} for name in ("one", "two")]
    async with Console(fleet).run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("slash", *"one", "enter")
        await save_as(pilot, "seen.json")
        await shows(pilot, "saved:")
    saved = json.loads((here / "seen.json").read_text())
    assert saved["kind"] == "List"
    assert [o["metadata"]["name"] for o in saved["items"]] == ["one"]


@pytest.mark.parametrize(
    ("keys", "finds"),
    [
        (("2",), [("key", "qwen3-32b-m4tq6"), ("state", "Pending")]),
        (("4",), [("name", "whisper-large-v3"), ("queued", 18)]),
        (("5",), [("reason", "NothingFits"), ("type", "Warning")]),
        (("l",), [("text", "loading model"), ("replica", "qwen3-32b-x7k2q")]),
        (("colon", *"doctor", "enter"), [("key", "store"), ("status", "ok")]),
    ],
    ids=["replicas", "queues", "events", "logs", "doctor"],
)
async def test_every_screen_has_objects(here: Path, keys: tuple[str, ...], finds: list[tuple[str, Any]]) -> None:
    fleet = box()
    fleet.logs.by_source["qwen3-32b-x7k2q"] = [line("loading model")]
    async with Console(fleet).run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.press(*keys)
        await shows(pilot, str(finds[0][1]))
        await save_as(pilot, "seen.json")
        await shows(pilot, "saved:")
    first = json.loads((here / "seen.json").read_text())[0]
    assert {key: first[key] for key, _ in finds} == dict(finds)
    assert "version" not in first


async def test_a_log_is_saved_whole(here: Path) -> None:
    fleet = StillFleet(model("qwen3-32b"))
    fleet.logs.by_source["qwen3-32b-x7k2q"] = [line(f"token {number}") for number in range(200)]
    async with Console(fleet).run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("l")
        await shows(pilot, "token 199")
        await save_as(pilot, "log.txt")
        await shows(pilot, "saved:")
    assert len((here / "log.txt").read_text().splitlines()) == 200


async def test_what_cannot_be_written_says_why_and_what_is_there_stays(here: Path) -> None:
    (here / "mine.txt").write_text("mine")
    async with Console(box()).run_test(size=(160, 40), notifications=True) as pilot:
        await save_as(pilot, "no/such/folder/seen.txt")
        await shows(pilot, "not saved, No such file or directory")
        await save_as(pilot, "mine.txt")
        await shows(pilot, "not saved, another file has this name")
    assert (here / "mine.txt").read_text() == "mine"


async def test_a_home_that_nobody_has_and_a_folder_that_is_gone_are_refused(here: Path) -> None:
    async with Console(box()).run_test(size=(120, 40), notifications=True) as pilot:
        await save_as(pilot, "~nosuch/seen.txt")
        await shows(pilot, "nobody has the home ~nosuch")
        await pilot.press("escape")
        here.rmdir()
        await pilot.press("ctrl+s")
        await shows(pilot, "the folder this console was started in is gone")


async def test_what_does_not_fit_on_the_disk_leaves_no_file(here: Path) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handled = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limit[1]))
    try:
        with pytest.raises(OSError, match="large"):
            write_new(here / "seen.txt", "more than ten characters")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handled)
    assert not (here / "seen.txt").exists()


async def test_what_is_typed_is_the_name_and_keeps_the_ending(here: Path) -> None:
    async with Console(box()).run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("ctrl+s", *"seen", "enter")
        await shows(pilot, "saved:")
    assert (here / "seen.txt").exists()


async def test_up_and_down_choose_the_kind_and_another_ending_is_none() -> None:
    async with Console(StillFleet(model("m"), events=(event("Applied"),))).run_test(size=(80, 24)) as pilot:
        await pilot.press("5", "ctrl+s")
        await shows(pilot, f"file [ {file_name('events', pilot.app.screen_stack[0].view.at_s)}")  # type: ignore[attr-defined]
        await pilot.press("down")
        await shows(pilot, ".svg ")
        await pilot.press("down", "end", "x", "enter")
        await shows(pilot, "the name has to end in .txt, .svg, .json")
        await pilot.press("escape")
        await shows(pilot, "[5 Events]")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
def test_save_looks_right(snap_compare: Any, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert snap_compare(Console(box()), terminal_size=size, run_before=still(None, "up down kind", "ctrl+s"))
