"""The detail pane: more of what is under the cursor than fits into its line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from textual.pilot import Pilot

from console.app import Console
from screens.widgets.table import Table
from tests.fleet import StillFleet, failure, model, painted, shows, until
from tests.screens import example, scenes
from tests.screens.scenes import still

WIDE = (120, 40)
SMALL = (80, 24)
LONG = " ".join(f"word{number:02}" for number in range(16)) + " the end"


def pane(pilot: Pilot[Any]) -> list[str]:
    """The lines on the screen from the pane's heading on."""
    lines = painted(pilot.app)
    return lines[next(y for y, line in enumerate(lines) if "v closes" in line) :]


def closed(pilot: Pilot[Any]) -> bool:
    return not any("v closes" in line for line in painted(pilot.app))


@pytest.mark.anyio
async def test_it_follows_the_cursor_and_moves_no_row() -> None:
    async with Console(scenes.box()).run_test(size=SMALL) as pilot:
        await pilot.press("v")
        await shows(pilot, "v closes")
        assert "qwen3-32b  ~ Degraded" in pane(pilot)[0]
        height = len(pane(pilot))
        await pilot.press("j")
        await until(pilot, lambda: "whisper-large-v3" in pane(pilot)[0])
        assert len(pane(pilot)) == height
        await pilot.press("v")
        await until(pilot, lambda: closed(pilot))


@pytest.mark.anyio
async def test_it_says_what_is_so_now() -> None:
    fleet = scenes.box()
    async with Console(fleet).run_test(size=WIDE) as pilot:
        await pilot.press("v")
        await shows(pilot, "queued 396")
        fleet.show(replace(scenes.QWEN, version=2, queued=12), model("whisper-large-v3", ready=0))
        await shows(pilot, "queued 12 ")


@pytest.mark.anyio
async def test_each_view_remembers_its_own() -> None:
    async with Console(example.fleet()).run_test(size=WIDE) as pilot:
        await pilot.press("v", "2")
        await shows(pilot, "[2 Replicas]")
        assert closed(pilot)
        await pilot.press("v", "j")
        await until(pilot, lambda: "qwen3-32b-x7k2q" in pane(pilot)[0])
        await pilot.press("1")
        await shows(pilot, "[1 Models]")
        assert "bge-m3" in pane(pilot)[0]


@pytest.mark.anyio
async def test_nothing_is_made_for_it_while_it_is_off() -> None:
    fleet = scenes.box()
    async with Console(fleet).run_test(size=WIDE) as pilot:
        table = pilot.app.screen.query_one("#models", Table)
        says, said = table.detail, []
        assert says
        table.detail = lambda row, size: said.append(row.key) or says(row, size)  # type: ignore[func-returns-value]
        await pilot.press("j", "k")
        fleet.show(replace(scenes.QWEN, version=2, backlog=77))
        await shows(pilot, "77")
        assert said == []
        await pilot.press("v")
        await until(pilot, lambda: said)


@pytest.mark.anyio
@pytest.mark.parametrize("view", "12345")
async def test_nothing_is_opened_where_there_is_nothing(view: str) -> None:
    async with Console(StillFleet()).run_test(size=SMALL) as pilot:
        await pilot.press(view)
        await shows(pilot, f"[{view} ")
        before = painted(pilot.app)
        await pilot.press("v")
        await pilot.press("question_mark", "escape")
        await shows(pilot, f"[{view} ")
        if view != "4":
            assert painted(pilot.app) == before


@pytest.mark.anyio
async def test_a_message_that_its_line_cuts_is_said_in_full_where_the_focus_is() -> None:
    fleet = StillFleet(model("m"), failures=(failure("m", "EngineExited", LONG),))
    async with Console(fleet).run_test(size=SMALL) as pilot:
        assert not any("the end" in line for line in painted(pilot.app))
        await pilot.press("v", "tab")
        await shows(pilot, "the end")
        assert "m  EngineExited  ! requests get no answer" in pane(pilot)[0]
        await pilot.press("shift+tab")
        await until(pilot, lambda: "m  Running" in pane(pilot)[0])


@pytest.mark.anyio
@pytest.mark.parametrize("size", [SMALL, WIDE])
async def test_gpus_say_more_of_the_selected_gpu_and_of_the_process_that_has_the_focus(size: tuple[int, int]) -> None:
    async with Console(example.fleet()).run_test(size=size) as pilot:
        await pilot.press("3", "v", "j", "j")
        await until(pilot, lambda: "GPU 2  NVIDIA A100-SXM4-80GB  ~ thermal" in pane(pilot)[0])
        await shows(pilot, "41877  qwen3-32b-x7k2q")
        await pilot.press("tab", "G")
        await until(pilot, lambda: "Process 3122  not ours" in pane(pilot)[0])
        await pilot.press("v")
        await until(pilot, lambda: closed(pilot))
        await shows(pilot, "Processes")


@pytest.mark.anyio
async def test_what_is_said_of_a_queue_is_there_from_the_start_and_goes() -> None:
    async with Console(scenes.box()).run_test(size=WIDE) as pilot:
        await pilot.press("4", "j")
        await shows(pilot, "Scale decisions")
        await pilot.press("v")
        await until(pilot, lambda: not any("Scale decisions" in line for line in painted(pilot.app)))
        await shows(pilot, "Dead letters  3")
        await pilot.press("v")
        await shows(pilot, "Scale decisions")


@pytest.mark.anyio
async def test_an_event_is_said_with_its_moment() -> None:
    async with Console(scenes.box()).run_test(size=SMALL) as pilot:
        await pilot.press("5", "v")
        await shows(pilot, "at Nov 14 22:11:20, 2m ago")


@pytest.mark.anyio
async def test_text_from_outside_is_only_text() -> None:
    hostile = scenes.SAFE
    fleet = StillFleet(model("m", why=hostile), failures=(failure("m", "[/]", hostile),))
    async with Console(fleet).run_test(size=SMALL) as pilot:
        await pilot.press("v")
        await shows(pilot, hostile)


@pytest.mark.parametrize("size", [SMALL, WIDE], ids=["80x24", "120x40"])
@pytest.mark.parametrize(
    ("keys", "text"),
    [
        (("v",), "396 requests are queued"),
        (("2", "v", "j"), "since Nov 11 22:13:20"),
        (("5", "v"), "source launcher"),
    ],
    ids=["models", "replicas", "events"],
)
def test_the_pane_looks_right(
    snap_compare: Callable[..., bool], keys: tuple[str, ...], text: str, size: tuple[int, int]
) -> None:
    assert snap_compare(Console(scenes.box()), terminal_size=size, run_before=still(None, text, *keys))


@pytest.mark.parametrize("size", [SMALL, WIDE], ids=["80x24", "120x40"])
def test_the_pane_of_gpus_looks_right(snap_compare: Callable[..., bool], size: tuple[int, int]) -> None:
    app = Console(example.fleet())
    assert snap_compare(app, terminal_size=size, run_before=still(None, "GPU 2  NVIDIA", "3", "v", "j", "j"))
