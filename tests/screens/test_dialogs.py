"""Questions before something is lost: who they name, what they say, which key says yes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from textual.app import App
from textual.screen import Screen

from console.app import Console
from screens.confirm import ConfirmDialog
from screens.delete import DeleteDialog, what_is_lost
from screens.leave import Leave, LeaveDialog
from screens.models import ModelsScreen
from tests.fleet import StillFleet, model, shows, until
from tests.screens.scenes import QWEN, box, still


class Asking(App[None]):
    """Shows one dialog and keeps its answer."""

    def __init__(self, dialog: Any) -> None:
        super().__init__()
        self.dialog = dialog
        self.answers: list[object] = []

    def on_mount(self) -> None:
        self.push_screen(self.dialog, self.answers.append)


@pytest.mark.anyio
async def test_delete_says_what_is_lost_and_takes_y() -> None:
    fleet = box()
    async with Console(fleet).run_test() as pilot:
        await pilot.press("D")
        await shows(pilot, "Delete qwen3-32b from gpu-01")
        await shows(pilot, "Stops 1 replica (16 in flight: drained for up to 30 s)")
        await pilot.press("enter")
        await shows(pilot, "y does it, esc leaves it as it is.")
        assert isinstance(pilot.app.screen, DeleteDialog)
        await pilot.press("y")
        await until(pilot, lambda: fleet.models.asked)
    assert fleet.models.asked == [("delete", QWEN.key)]


@pytest.mark.anyio
@pytest.mark.parametrize("key", ["n", "escape"])
async def test_no_is_no(key: str) -> None:
    fleet = box()
    async with Console(fleet).run_test() as pilot:
        await pilot.press("D", key)
        await until(pilot, lambda: isinstance(pilot.app.screen, ModelsScreen))
    assert fleet.models.asked == []


@pytest.mark.anyio
async def test_all_marked_models_are_named_and_deleted() -> None:
    fleet = StillFleet(model("bge-m3"), model("phi-4"))
    async with Console(fleet).run_test() as pilot:
        await shows(pilot, "phi-4")
        await pilot.press("A", "D")
        await shows(pilot, "Delete 2 models from gpu-01")
        await shows(pilot, "bge-m3, phi-4.")
        await pilot.press("y")
        await until(pilot, lambda: len(fleet.models.asked) == 2)


@pytest.mark.anyio
async def test_a_protected_context_wants_the_whole_name() -> None:
    app = Asking(DeleteDialog([QWEN], "prod-eu", protected=True))
    async with app.run_test() as pilot:
        await pilot.press(*"qwen3", "enter")
        await shows(pilot, '"qwen3" is not qwen3-32b; nothing was done.')
        assert app.answers == []
        await pilot.press(*"-32b", "enter")
        await until(pilot, lambda: app.answers)
    assert app.answers == [True]


@pytest.mark.anyio
@pytest.mark.parametrize("key", ["enter", "y"])
async def test_restart_loses_nothing_and_takes_enter_or_y(key: str) -> None:
    fleet = box()
    async with Console(fleet).run_test() as pilot:
        await pilot.press("r")
        await shows(pilot, "Restart qwen3-32b")
        await pilot.press(key)
        await until(pilot, lambda: fleet.models.asked)
    assert fleet.models.asked == [("restart", QWEN.key)]


@pytest.mark.anyio
@pytest.mark.parametrize(("key", "answer"), [("k", Leave.KEEP), ("s", Leave.STOP), ("escape", None)])
async def test_leaving_asks_what_becomes_of_the_models(key: str, answer: Leave | None) -> None:
    app = Asking(LeaveDialog(9, 22))
    async with app.run_test() as pilot:
        await shows(pilot, "Leave: 9 models run, 22 requests are in flight")
        await pilot.press(key)
        await until(pilot, lambda: app.answers)
    assert app.answers == [answer]


@pytest.mark.anyio
async def test_markup_in_a_question_is_only_text() -> None:
    app = Asking(ConfirmDialog("Kill x[/b]y", "It [bold]ends[/].", verb="kill [it]"))
    async with app.run_test() as pilot:
        await shows(pilot, "Kill x[/b]y")
        await shows(pilot, "It [bold]ends[/].")
        await shows(pilot, "y kill [it]   esc keep it")


def test_what_is_lost_is_exact() -> None:
    assert what_is_lost([QWEN]) == (
        "Stops 1 replica (16 in flight: drained for up to 30 s) and drops 396 queued requests; "
        "their clients get an error now."
    )
    assert what_is_lost([model("phi-4", ready=0)]) == "No replica is ready. No request waits."
    assert "How many requests wait is unknown" in what_is_lost([replace(QWEN, queued=None)])


DIALOGS: dict[str, tuple[Callable[[], Screen[Any]], str]] = {
    "delete": (lambda: DeleteDialog([QWEN], "prod-eu", protected=True), "Type the name"),
    "leave": (lambda: LeaveDialog(9, 22), "keep running"),
}


@pytest.mark.parametrize("name", DIALOGS)
def test_dialogs_look_right(snap_compare: Callable[..., bool], name: str) -> None:
    make, text = DIALOGS[name]
    assert snap_compare(Console(box()), terminal_size=(80, 24), run_before=still(lambda fleet: make(), text))
