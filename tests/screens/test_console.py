"""Going about in the console, and leaving it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace

import pytest

from console.app import Console
from operator_embed.fleet.fleet import FleetError
from operator_embed.fleet.models import State
from screens.actions import ACTIONS, keymap
from screens.leave import LeaveDialog
from screens.models import ModelsScreen
from screens.widgets.table import Table
from tests.fleet import BOX, StillFleet, model, painted, shows, until
from tests.screens import example

pytestmark = pytest.mark.anyio


class Engine:
    """Leads the box until the console is left."""

    leads = True

    def __init__(self, refuses: str = "") -> None:
        self.done: list[str] = []
        self.refuses = refuses

    def start(self) -> None:
        self.done.append("start")

    async def keep_running(self) -> None:
        if self.refuses:
            raise FleetError(self.refuses)
        self.done.append("keep")

    async def stop_all(self) -> None:
        self.done.append("stop")


async def left(app: Console, *keys: str) -> None:
    """Press keys until the app ends; fails after 10 s."""
    async with app.run_test(size=(80, 24)) as pilot:
        for key in keys:
            await pilot.press(key)
        async with asyncio.timeout(10):
            while app.is_running and app._exit is False:
                await pilot.pause()


@pytest.mark.parametrize(("key", "done"), [("k", "keep"), ("s", "stop")])
async def test_q_asks_what_becomes_of_running_models(key: str, done: str) -> None:
    engine = Engine()
    app = Console(example.fleet(), leaving=engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("q")
        await shows(pilot, "Leave: 9 models run, 22 requests are in flight")
        await pilot.press(key)
        await until(pilot, lambda: engine.done)
    assert engine.done == [done]
    assert app.return_value == done


async def test_a_console_that_leads_nothing_leaves_at_once() -> None:
    app = Console(example.fleet())
    await left(app, "q")
    assert app.return_value is None


async def test_nothing_that_could_run_is_nothing_to_ask_about() -> None:
    engine = Engine()
    await left(Console(StillFleet(model("off", ready=0, desired=0, state=State.STOPPED)), leaving=engine), "q")
    assert engine.done == ["stop"]


async def test_a_box_that_is_still_being_started_is_asked_about() -> None:
    engine = Engine()
    fleet = StillFleet()
    fleet.show(context=replace(BOX, leader_pid=None, headline="loading"))
    app = Console(fleet, leaving=engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("q")
        await shows(pilot, "Leave: the box is being started")
        await pilot.press("k")
        await until(pilot, lambda: engine.done)
    assert engine.done == ["keep"]


async def test_an_interrupt_asks_and_the_second_one_keeps_all_running() -> None:
    engine = Engine()
    await left(Console(example.fleet(), leaving=engine), "2", "ctrl+c", "ctrl+c")
    assert engine.done == ["keep"]


async def test_textuals_own_key_asks_too() -> None:
    app = Console(example.fleet(), leaving=Engine())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("ctrl+q", "ctrl+q")
        await until(pilot, lambda: isinstance(app.screen, LeaveDialog))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ModelsScreen))


async def test_a_hand_over_that_fails_stays_and_says_why() -> None:
    app = Console(example.fleet(), leaving=Engine(refuses="not handed over: disk full"))
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("q", "k")
        await shows(pilot, "not handed over: disk full")
        assert isinstance(app.screen, ModelsScreen)


async def test_escape_never_leaves() -> None:
    app = Console(example.fleet(), leaving=Engine())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("escape", "escape", "question_mark", "escape", "escape")
        await shows(pilot, "NAME ↓")
        assert isinstance(app.screen, ModelsScreen)


async def test_a_view_is_where_it_was_left_and_asked_for_again_at_its_top() -> None:
    app = Console(example.fleet())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("j", "enter")
        await shows(pilot, "Models > codestral-22b")
        await pilot.press("3")
        await shows(pilot, "[3 GPUs]")
        await pilot.press("1")
        await shows(pilot, "Models > codestral-22b")
        await pilot.press("1")
        await shows(pilot, "NAME ↓")


async def test_a_view_that_was_away_catches_up() -> None:
    fleet = StillFleet(model("m"))
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        fleet.show(model("m", version=2, backlog=77))
        await pilot.press("1")
        await shows(pilot, "77")


async def test_views_and_hints_can_be_clicked() -> None:
    async with Console(example.fleet()).run_test(size=(120, 40)) as pilot:
        await pilot.click("#head", offset=(28, 0))
        await shows(pilot, "[3 GPUs]")
        hints = painted(pilot.app)[-1]
        await pilot.click("Hints", offset=(hints.index("? keys"), 0))
        await shows(pilot, "Keys of this screen")


async def test_command_line_completes_and_runs_actions_and_views() -> None:
    app = Console(example.fleet())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("colon", *"gp", "enter")
        await shows(pilot, "[3 GPUs]")
        await pilot.press("colon", *"go_mod", "enter")
        await shows(pilot, "[1 Models]")
        await pilot.press("colon", *"model.desc", "tab", "enter")
        await shows(pilot, "Models > bge-m3")
        await pilot.press("escape", "colon", *"theme textual-li", "enter")
        await until(pilot, lambda: app.theme == "textual-light")


async def test_a_command_that_is_none_says_so() -> None:
    async with Console(example.fleet()).run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("colon", *"make tea", "enter")
        await shows(pilot, "no command make tea")


async def test_palette_finds_an_action_by_its_name() -> None:
    app = Console(example.fleet())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("ctrl+p", *"describe")
        await shows(pilot, "describe  (d)")
        assert not any("model.describe" in text or "🔎" in text for text in painted(app))
        await pilot.press("down", "enter")
        await shows(pilot, "Models > bge-m3")


async def test_a_key_map_moves_an_action_and_the_hint_says_so() -> None:
    app = Console(example.fleet(), keymap={"model.scale": "z"})
    async with app.run_test(size=(120, 40)) as pilot:
        await shows(pilot, "enter open   z scale")
        await pilot.press("question_mark")
        await shows(pilot, "z            model      Set the replicas")


async def test_the_k9s_preset_deletes_and_kills_where_k9s_does() -> None:
    fleet = example.fleet()
    async with Console(fleet, keymap=keymap("k9s")).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "w why   ctrl+d delete")
        await pilot.press("D")
        assert isinstance(pilot.app.screen, ModelsScreen)
        await pilot.press("ctrl+d")
        await shows(pilot, "Delete bge-m3 from gpu-01")
        await pilot.press("escape", "ctrl+f")
        await until(pilot, lambda: pilot.app.screen.query_one("#models", Table).cursor == "default/phi-4")
        await pilot.press("2", "ctrl+k")
        await shows(pilot, "Kill qwen3-32b-m4tq6")
        await pilot.press("y")
        await until(pilot, lambda: fleet.models.asked)
    assert fleet.models.asked == [("kill", "qwen3-32b-m4tq6")]


async def test_the_k9s_preset_sorts_by_a_capital_and_back() -> None:
    async with Console(example.fleet(), keymap=keymap("k9s")).run_test(size=(120, 40)) as pilot:
        await pilot.press("B")
        await shows(pilot, "BACKLOG↓")
        await pilot.press("B")
        await shows(pilot, "BACKLOG↑")
        await pilot.press("Y")
        await shows(pilot, "BACKLOG↑")


async def test_help_and_palette_name_the_keys_of_the_preset_and_press_them() -> None:
    async with Console(example.fleet(), keymap=keymap("k9s")).run_test(size=(120, 40)) as pilot:
        await pilot.press("question_mark")
        await shows(pilot, "ctrl+d       model      Delete; asks.")
        await shows(pilot, "shift+letter table      Sort by the column that has this letter")
        await pilot.press("slash", *"delete; asks", "enter", "enter")
        await shows(pilot, "Delete bge-m3 from gpu-01")
        await pilot.press("escape", "ctrl+p", *"delete")
        await shows(pilot, "delete  (ctrl+d)")


async def test_ascii_mode_lets_nothing_else_through() -> None:
    app = Console(example.fleet(), ascii_only=True)
    async with app.run_test(size=(120, 40)) as pilot:
        for view in "123":
            await pilot.press(view)
            await shows(pilot, f"[{view} ")
            assert all(text.isascii() for text in painted(app)), [t for t in painted(app) if not t.isascii()]
            assert all(len(text) == 120 for text in painted(app))


async def test_without_colour_the_cursor_is_reversed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = Console(example.fleet())
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "bge-m3")
        strip = app.screen._compositor.render_strips()[3]
        assert any(segment.style and segment.style.reverse for segment in strip)


async def test_reread_asks_all_sources() -> None:
    fleet = example.fleet()
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await pilot.press("ctrl+r")
        await until(pilot, lambda: fleet.refreshed)


def test_before_the_first_paint_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, console.app, screens.models; heavy = {'httpx', 'kubernetes', 'yaml', 'nats', 'aiohttp', 'uvicorn',"
        " 'msgspec', 'textual.widgets._text_area', 'tree_sitter'}; print(*heavy & sys.modules.keys())"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == ""


def test_keys_mean_one_thing_in_a_place_and_ids_are_unique() -> None:
    keys = [(action.scope, key) for action in ACTIONS for key in action.keys.split(",") if key]
    assert len(keys) == len(set(keys))
    assert len({action.id for action in ACTIONS}) == len(ACTIONS)
    assert not {key for _, key in keys} & {"ctrl+a", "ctrl+b", "ctrl+i", "ctrl+m", "ctrl+h", "ctrl+space"}


@pytest.mark.parametrize(("module", "key"), [("help", "question_mark"), ("scale", "s"), ("model", "enter")])
async def test_a_program_that_was_updated_on_disk_does_not_end_its_console(
    monkeypatch: pytest.MonkeyPatch, module: str, key: str
) -> None:
    app = Console(example.fleet())
    async with app.run_test(size=(160, 40), notifications=True) as pilot:
        await shows(pilot, "qwen3-32b")
        monkeypatch.setitem(sys.modules, f"screens.{module}", None)
        await pilot.press(key)
        await shows(pilot, "the program was updated on disk: restart the console;")
        await pilot.press("escape", "2", "1", "G")
        table = app.screen.query_one("#models", Table)
        await until(pilot, lambda: table.cursor == "default/whisper-large-v3")
