"""Editing: checked, shown as a difference, applied only on enter, and nothing is lost without a question."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.events import Key
from textual.pilot import Pilot

from console.app import Console
from operator_embed.fleet.models import Checked, Manifest
from screens.edit import EditScreen
from screens.models import ModelsScreen
from screens.outside import EditorError, edited, editor_command
from tests.fleet import StillFleet, model, shows, until
from tests.screens.scenes import KEY, box, still

CHANGE = Checked(
    diff=("@@ -4,2 +4,2 @@", " spec:", "-  replicas: 1", "+  replicas: 2"), warnings=("spec.colour: unknown field",)
)
ERRORS = Checked(errors=("spec.replicas: must be 0 to 100, got -1", "spec.engine: must be auto, llama, remote, static"))


def editor(pilot: Pilot[Any]) -> EditScreen:
    screen = pilot.app.screen
    assert isinstance(screen, EditScreen)
    return screen


async def opened(pilot: Pilot[Any]) -> EditScreen:
    """Press `e` and wait for the text."""
    await pilot.press("e")
    await shows(pilot, "replicas: 1")
    return editor(pilot)


@pytest.mark.anyio
async def test_a_change_is_applied_with_the_version_it_was_made_from() -> None:
    fleet = StillFleet(model("phi-4"))
    fleet.models.checked = CHANGE
    async with Console(fleet).run_test(size=(80, 24), notifications=True) as pilot:
        screen = await opened(pilot)
        screen.editor.text = screen.editor.text.replace("1", "2")
        await pilot.press("ctrl+s")
        await shows(pilot, "+  replicas: 2")
        await shows(pilot, "~ spec.colour: unknown field")
        assert fleet.models.asked == []
        await pilot.press("enter")
        await shows(pilot, "configured: default/applied")
        assert isinstance(pilot.app.screen, ModelsScreen)
    [(intent, text, version)] = fleet.models.asked
    assert (intent, version) == ("apply", "7")
    assert "replicas: 2" in text


@pytest.mark.anyio
async def test_text_does_not_overtake_the_keys_before_it() -> None:
    fleet = StillFleet(model("phi-4"))
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        line = next(y for y, text in enumerate(screen.editor.text.splitlines()) if "replicas" in text)
        for key in (*["down"] * line, "end", "backspace", "7"):
            pilot.app.post_message(Key(key, key if len(key) == 1 else None))
        await until(pilot, lambda: "replicas: 7\n" in screen.editor.text)


@pytest.mark.anyio
async def test_errors_name_their_field_and_put_the_cursor_there() -> None:
    fleet = StillFleet(model("phi-4"))
    fleet.models.checked = ERRORS
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await pilot.press("ctrl+s")
        await shows(pilot, "! spec.replicas: must be 0 to 100, got -1")
        assert "replicas" in screen.editor.document[screen.editor.cursor_location[0]]
        await pilot.press("enter")
        await pilot.pause()
        assert fleet.models.asked == []


@pytest.mark.anyio
async def test_text_typed_after_the_review_has_to_be_reviewed_again() -> None:
    fleet = StillFleet(model("phi-4"))
    fleet.models.checked = CHANGE
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await pilot.press("ctrl+s")
        await shows(pilot, "enter applies it")
        screen.editor.insert("#")
        await until(pilot, lambda: screen.editor.has_focus)
        await pilot.press("enter")
        assert fleet.models.asked == []


@pytest.mark.anyio
async def test_a_conflict_shows_both_changes_and_loads_the_newer_text() -> None:
    fleet = StillFleet(model("phi-4"))
    fleet.models.checked = CHANGE
    fleet.models.refusals["apply"] = "default/phi-4: changed by another user since you opened it"
    async with Console(fleet).run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        before = screen.editor.text
        screen.editor.text = before.replace("replicas: 1", "replicas: 5")
        fleet.models.manifests["default/phi-4"] = Manifest(
            yaml=before.replace("phi-4", "phi-4\n  labels: {a: b}"), status_yaml="", resource_version="8"
        )
        await pilot.press("ctrl+s")
        await shows(pilot, "enter applies it")
        await pilot.press("enter")
        await shows(pilot, "+  labels: {a: b}")
        await shows(pilot, "+  replicas: 5")
        await pilot.press("enter")
        await until(pilot, lambda: "labels" in screen.editor.text)
        await shows(pilot, "+  replicas: 5")
        assert screen.stored.resource_version == "8"


@pytest.mark.anyio
async def test_a_refusal_keeps_the_text() -> None:
    fleet = StillFleet(model("phi-4"))
    fleet.models.checked = CHANGE
    fleet.models.refusals["apply"] = "default/phi-4: is being deleted"
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await pilot.press("ctrl+s")
        await shows(pilot, "enter applies it")
        await pilot.press("enter")
        await shows(pilot, "! default/phi-4: is being deleted")
        assert "replicas: 1" in screen.editor.text


@pytest.mark.anyio
async def test_escape_asks_only_when_something_would_be_lost() -> None:
    async with Console(StillFleet(model("phi-4"))).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, ModelsScreen))
        await opened(pilot)
        await pilot.press("x", "escape")
        await shows(pilot, "leaving loses the change")
        await pilot.press("n")
        assert editor(pilot).editor.text.startswith("x")
        await pilot.press("escape", "y")
        await until(pilot, lambda: isinstance(pilot.app.screen, ModelsScreen))


@pytest.mark.anyio
async def test_undo_is_an_edit_that_shows_its_difference() -> None:
    fleet = StillFleet(model("phi-4"))
    fleet.models.checked = CHANGE
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await pilot.press("u")
        await shows(pilot, "enter applies it")
        await pilot.press("enter")
        await until(pilot, lambda: fleet.models.asked)
        assert fleet.models.asked[-1][0] == "apply"


@pytest.mark.anyio
async def test_undo_is_left_as_it_is_by_one_key_until_something_is_typed() -> None:
    fleet = StillFleet(model("phi-4"))
    fleet.models.checked = CHANGE
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await pilot.press("u")
        await shows(pilot, "esc leave it as it is")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, ModelsScreen))
        await pilot.press("u")
        await shows(pilot, "enter applies it, tab edits it")
        await pilot.press("tab", "x", "escape")
        await shows(pilot, "leaving loses the change")
    assert fleet.models.asked == []


@pytest.mark.anyio
async def test_ctrl_home_and_end_lead_to_the_ends_of_the_text() -> None:
    async with Console(StillFleet(model("phi-4"))).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await pilot.press("ctrl+end")
        assert screen.editor.cursor_location == screen.editor.document.end
        await pilot.press("ctrl+home")
        assert screen.editor.cursor_location == (0, 0)


@pytest.mark.anyio
async def test_tab_indents_to_the_next_level() -> None:
    async with Console(StillFleet(model("phi-4"))).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await pilot.press("tab", "a", "tab", "b")
        assert screen.editor.text.startswith("  a b")


@pytest.mark.anyio
async def test_a_terminal_that_cannot_be_left_says_so() -> None:
    async with Console(StillFleet(model("phi-4"))).run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("E")
        await shows(pilot, "replicas: 1")
        await shows(pilot, "suspend")


def script(folder: Path, text: str) -> str:
    """A program that stands for the user's editor."""
    file = folder / "editor"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return str(file)


def test_the_users_editor_gets_a_yaml_file_and_its_text_comes_back(tmp_path: Path) -> None:
    command = script(tmp_path, 'case "$2" in *.yaml) sed -i s/1/2/ "$2";; esac')
    assert edited("replicas: 1\n", "phi-4", {"EDITOR": f"{command} -w"}) == "replicas: 2\n"


def test_an_editor_for_uplion_alone_goes_before_the_others() -> None:
    assert editor_command({"EDITOR": "vim", "VISUAL": "code", "UPLION_EDITOR": "nano"}) == "nano"
    with pytest.raises(EditorError, match="nowhere"):
        edited("x", "phi-4", {"EDITOR": "true", "UPLION_EDITOR": "/nowhere/vi"})


@pytest.mark.parametrize(
    ("command", "why"),
    [("/nowhere/vi", "set EDITOR"), ("false", "ended with 1"), ("rm", "left no text"), ("'", "set EDITOR")],
)
def test_an_editor_that_fails_is_named(command: str, why: str) -> None:
    with pytest.raises(EditorError, match=why):
        edited("x", "phi-4", {"VISUAL": command})


@pytest.mark.parametrize(
    ("checked", "text", "size"),
    [(CHANGE, "enter applies", (80, 24)), (CHANGE, "enter applies", (120, 40)), (ERRORS, "got -1", (80, 24))],
    ids=["ok-80x24", "ok-120x40", "errors-80x24"],
)
def test_edit_looks_right(
    snap_compare: Callable[..., bool], checked: Checked, text: str, size: tuple[int, int]
) -> None:
    fleet = box()
    fleet.models.checked = checked
    run = still(lambda fleet: EditScreen(fleet, KEY, check=True), text)
    assert snap_compare(Console(fleet), terminal_size=size, run_before=run)
