"""All replicas of all models, and help."""

from __future__ import annotations

import pytest

from console.app import Console
from screens.actions import ACTIONS
from screens.help import key_rows
from tests.fleet import StillFleet, model, painted, replica, shows, until
from tests.screens import example

pytestmark = pytest.mark.anyio


async def test_each_replica_names_its_model_and_what_it_holds() -> None:
    app = Console(example.fleet())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("2")
        await shows(pilot, "3 replicas   ! 1   ~ 1")
        await shows(pilot, "qwen3-32b-x7k2q         qwen3-32b           Ready    GPU 2    41877   73.6  16/16   2.9")
        pending = next(text for text in painted(app) if "m4tq6" in text)
        assert pending.startswith(" ~")
        assert pending.split()[3:6] == ["Pending", "-", "-"]


async def test_a_replica_that_nobody_hears_is_marked_as_old() -> None:
    silent = replica("qwen3-32b-x7k2q", "qwen3-32b", stale=True)
    async with Console(StillFleet(model("qwen3-32b"), replicas=(silent,))).run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await shows(pilot, "1 replica   ? 1")
        await shows(pilot, " ? qwen3-32b-x7k2q")
        await shows(pilot, " Ready? ")


async def test_restart_and_kill_ask_first() -> None:
    fleet = example.fleet()
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await pilot.press("2", "j", "r")
        await shows(pilot, "Restart qwen3-32b-x7k2q")
        await pilot.press("enter")
        await until(pilot, lambda: fleet.models.asked)
        await pilot.press("A", "K")
        await shows(pilot, "Kill 3 replicas")
        await pilot.press("y")
        await until(pilot, lambda: len(fleet.models.asked) == 4)
    assert fleet.models.asked[0] == ("restart_replica", "qwen3-32b-x7k2q")
    assert {intent for intent, _ in fleet.models.asked[1:]} == {"kill"}


async def test_enter_opens_its_logs_and_w_its_model() -> None:
    async with Console(example.fleet()).run_test(size=(120, 40)) as pilot:
        await pilot.press("2", "j", "w")
        await shows(pilot, "Models > qwen3-32b")
        await pilot.press("escape", "enter")
        await until(pilot, lambda: type(pilot.app.screen).__name__ == "LogsScreen")


async def test_one_that_is_up_and_cannot_answer_is_not_called_ready() -> None:
    failing = replica("gpt-4o-mini-vgjxa", "gpt-4o-mini", reason="GeneralError")
    fleet = StillFleet(model("gpt-4o-mini"), replicas=(failing,))
    async with Console(fleet).run_test(size=(120, 40)) as pilot:
        await pilot.press("2")
        await shows(pilot, "! gpt-4o-mini-vgjxa")
        await shows(pilot, "Failing")
        await shows(pilot, "0 ready")


async def test_no_replicas_is_said() -> None:
    async with Console(StillFleet(model("m"))).run_test(size=(80, 24)) as pilot:
        await pilot.press("2", "enter", "K", "r", "w", "l")
        await shows(pilot, "No replicas: no model wants one.")


async def test_help_lists_the_keys_of_its_screen_and_does_them() -> None:
    app = Console(example.fleet())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("2", "question_mark")
        await shows(pilot, "Kill now (SIGKILL); asks.")
        assert not any("Set the replicas" in text for text in painted(app))
        await pilot.press("slash", *"kill", "enter", "enter")
        await shows(pilot, "Kill qwen3-32b-m4tq6")


async def test_help_of_a_read_only_context_says_what_it_refuses() -> None:
    async with Console(StillFleet(model("m"), read_only=True)).run_test(size=(120, 40)) as pilot:
        await pilot.press("question_mark")
        await shows(pilot, "read-only: Set the replicas")


def test_help_leaves_out_no_action_of_a_scope_that_has_a_key() -> None:
    rows = key_rows(("model", "table"), {"model.scale": "z"}, read_only=False)
    asked = [action for action in ACTIONS if action.scope in {"model", "table"}]
    assert {row.key for row in rows} == {action.id for action in asked if action.keys}
    assert next(row.keys for row in rows if row.key == "model.scale") == "z"
