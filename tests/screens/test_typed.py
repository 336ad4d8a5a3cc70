"""What can be typed after `:`, and what is said to what cannot."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.app import Console
from screens.command import completions
from screens.logs import LogsScreen
from screens.model import ModelScreen
from screens.requests import RequestsScreen
from screens.widgets.table import Table
from tests.fleet import BOX, StillFleet, model, painted, queue, replica, shows, until
from tests.screens.scenes import box
from tests.screens.test_console import Engine

pytestmark = pytest.mark.anyio


def several() -> StillFleet:
    """Two namespaces, two queues of three with dead letters."""
    return StillFleet(
        model("bge-m3"),
        model("qwen3-32b"),
        model("phi-4", key="ai/phi-4", namespace="ai"),
        replicas=(replica("qwen3-32b-x7k2q", "qwen3-32b"),),
        queues=(queue("bge-m3", dead=2), queue("qwen3-32b", dead=3), queue("phi-4")),
    )


async def test_logs_of_a_model_or_a_replica_by_its_name() -> None:
    app = Console(several())
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("3", "colon", *"logs qwen3-32b", "enter")
        await until(pilot, lambda: isinstance(app.screen, LogsScreen))
        await pilot.press("escape", "colon", *"logs x7k", "enter")
        await shows(pilot, "qwen3-32b-x7k2q")
        assert isinstance(app.screen, LogsScreen)
        assert app.screen.replica == "qwen3-32b-x7k2q"
        await pilot.press("escape", "colon", *"logs nobody", "enter")
        await shows(pilot, "no model or replica nobody")


async def test_what_follows_a_view_is_its_filter() -> None:
    app = Console(several())
    async with app.run_test(size=(120, 24), notifications=True) as pilot:
        await pilot.press("5", "colon", *"models bge", "enter")
        await shows(pilot, "1 shown")
        assert [row.name for row in app.screen.query_one("#models", Table).rows] == ["bge-m3"]
        await pilot.press("colon", *"models backlog>x", "enter")
        await shows(pilot, "x is no number and no column")
        await pilot.press("colon", *"gpus x", "enter")
        await shows(pilot, ":gpus takes no filter; x was left out")


async def test_logs_without_a_name_are_those_of_the_row() -> None:
    app = Console(several())
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("j", "colon", *"logs", "enter")
        await shows(pilot, "Models > phi-4 > logs")
        await pilot.press("escape", "5", "colon", *"logs", "enter")
        await shows(pilot, ":logs NAME of a model or a replica")


async def test_dead_letters_of_one_queue_open_and_of_several_are_listed() -> None:
    app = Console(box())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("colon", *"dead", "enter")
        await until(pilot, lambda: isinstance(app.screen, RequestsScreen))
    app = Console(several())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("colon", *"dead", "enter")
        await shows(pilot, "2 shown")
        rows = app.screen.query_one("#queues", Table).rows
        assert [row.name for row in rows] == ["bge-m3", "qwen3-32b"]
        assert app.screen.query_one("#queues", Table).has_focus


async def test_without_dead_letters_there_is_nothing_to_open() -> None:
    async with Console(StillFleet(model("m"))).run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("colon", *"dead", "enter")
        await shows(pilot, "no dead letters: no request was")


async def test_a_namespace_narrows_the_models_and_all_is_every_one() -> None:
    app = Console(several())
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.press("2", "colon", *"ns ai", "enter")
        await shows(pilot, "1 shown")
        assert not any("bge-m3" in line for line in painted(app))
        await pilot.press("colon", *"ns all", "enter")
        await shows(pilot, "bge-m3")
        await pilot.press("colon", *"ns", "enter")
        await shows(pilot, "ai (1 model), default (2 models)")
        await pilot.press("colon", *"ns nowhere", "enter")
        await shows(pilot, "no model in namespace nowhere; there is ai, default")


async def test_the_context_is_the_only_one_and_says_who_leads() -> None:
    async with Console(several()).run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.press("colon", *"ctx", "enter")
        await shows(pilot, "gpu-01 (box) is the only context; pid 4120")


async def test_view_goes_to_a_view_and_to_a_model() -> None:
    app = Console(several())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("colon", *"view queues", "enter")
        await shows(pilot, "[4 Queues]")
        await pilot.press("colon", *"view phi", "enter")
        await until(pilot, lambda: isinstance(app.screen, ModelScreen) and app.screen.key == "ai/phi-4")


async def test_start_leads_only_where_nobody_does() -> None:
    engine, fleet = Engine(), several()
    async with Console(fleet, leaving=engine).run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.press("colon", *"start", "enter")
        await shows(pilot, "pid 4120 leads this box")
        assert engine.done == []
        fleet.show(context=replace(BOX, leader_pid=None, headline="NO LEADER", tone="error"))
        await shows(pilot, "nothing is restarted or scaled: :start, or uplion serve")
        await pilot.press("colon", *"start", "enter")
        await until(pilot, lambda: engine.done == ["start"])


async def test_q_leaves_and_asks_what_becomes_of_the_models() -> None:
    async with Console(several(), leaving=Engine()).run_test(size=(120, 40)) as pilot:
        await pilot.press("colon", "q", "enter")
        await shows(pilot, "Leave: 3 models run")


async def test_a_theme_says_how_it_is_kept() -> None:
    app = Console(several())
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.press("colon", *"theme nord", "enter")
        await shows(pilot, 'theme = "nord" in config.toml')
        assert app.theme == "nord"


async def test_an_action_that_is_dead_here_says_so() -> None:
    async with Console(several()).run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.press("5", "colon", *"model.delete", "enter")
        await shows(pilot, "model.delete does nothing on this screen")


def test_words_after_an_unknown_one_choose_nothing() -> None:
    commands = {"models": "", "model.edit": "", "table.mark_all": ""}
    assert completions("kill it", commands, {}) == []
    assert completions("delete all", commands, {}) == []
    assert completions("logs 32", commands, {"logs": ("qwen3-32b",)}) == ["logs qwen3-32b"]
