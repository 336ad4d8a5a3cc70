"""One model: why, histories, replicas, conditions, events, and its keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from textual.geometry import Size
from textual.pilot import Pilot
from textual.screen import Screen

from console.app import Console
from operator_embed.fleet.models import ConditionView
from screens.chat import ChatScreen
from screens.edit import EditScreen
from screens.logs import LogsScreen
from screens.model import ModelScreen
from screens.model_actions import curl_line
from screens.model_text import condition_mark, graphs, why_text
from screens.models import ModelsScreen
from screens.yaml_text import YamlScreen
from tests.fleet import NOW_S, StillFleet, model, painted, shows, until
from tests.screens.scenes import KEY, QWEN, REPLICAS, box, still


@pytest.mark.anyio
async def test_everything_about_a_model_is_on_one_screen() -> None:
    async with Console(box()).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "qwen3-32b")
        await pilot.press("enter")
        await shows(pilot, "~ Degraded   1/2 ready   vllm   qwen3-32b   min 1 max 2   generation 4   3d")
        await shows(pilot, "API   http://127.0.0.1:8080/v1   model qwen3-32b   C copies a curl line")
        await shows(pilot, "Why   396 requests are queued")
        await shows(pilot, "BACKLOG  412 ▲ 3.1/s")
        await shows(pilot, "FIRST TOKEN p95  6.2 s")
        await shows(pilot, "0 to 399, 5 min")
        await shows(pilot, "Replicas  1 ready, 2 wanted")
        await shows(
            pilot, "qwen3-32b-x7k2q        Ready    GPU 2    41877   73.6    16/16    2.9   1180    97     6.2s"
        )
        await shows(pilot, "~ Degraded       True   NothingFits         replica 2 needs 73.6 GiB on one GPU")
        await shows(pilot, "!   9m   x3  DeadLetter     qwen3-32b-x7k2q     engine timeout 120s after 3 attempts")


@pytest.mark.anyio
async def test_a_narrow_terminal_keeps_why_and_what_to_do() -> None:
    async with Console(box()).run_test(size=(80, 24)) as pilot:
        await shows(pilot, "qwen3-32b")
        await pilot.press("enter")
        await shows(pilot, "Why   396 requests are queued")
        await until(pilot, lambda: "Next: press e" in " ".join(line.strip() for line in painted(pilot.app)))
        await shows(pilot, "~ qwen3-32b-m4tq6   Pending")
        assert not any("Conditions" in line for line in painted(pilot.app))


async def reaches(pilot: Pilot[Any], screen: type[Screen[Any]]) -> None:
    """Let the app run until a screen of that kind is on top."""
    await until(pilot, lambda: isinstance(pilot.app.screen, screen))


LEADS: dict[str, type[Screen[Any]]] = {
    "y": YamlScreen,
    "e": EditScreen,
    "l": LogsScreen,
    "p": LogsScreen,
    "t": ChatScreen,
}


@pytest.mark.anyio
async def test_keys_lead_on_and_escape_back() -> None:
    async with Console(box()).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "qwen3-32b")
        for describe, (key, screen) in zip("dwdwd", LEADS.items(), strict=True):
            await pilot.press(describe)
            await reaches(pilot, ModelScreen)
            await pilot.press(key)
            await reaches(pilot, screen)
            await pilot.press("escape")
            await reaches(pilot, ModelScreen)
            await pilot.press("escape")
            await reaches(pilot, ModelsScreen)


@pytest.mark.anyio
async def test_enter_on_a_replica_opens_its_log_alone() -> None:
    fleet = box()
    async with Console(fleet).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "qwen3-32b")
        await pilot.press("enter")
        await shows(pilot, "qwen3-32b-m4tq6")
        await pilot.press("j", "enter")
        await until(pilot, lambda: fleet.logs.asked)
    assert fleet.logs.asked == [("follow", ("qwen3-32b-m4tq6",), False)]


@pytest.mark.anyio
async def test_c_copies_a_line_that_a_shell_runs() -> None:
    async with Console(box()).run_test(size=(120, 40), notifications=True) as pilot:
        await shows(pilot, "qwen3-32b")
        await pilot.press("enter", "C")
        await shows(pilot, "copied: curl for qwen3-32b")
        assert pilot.app.clipboard == curl_line("http://127.0.0.1:8080/v1", "qwen3-32b")
        assert '"model": "qwen3-32b"' in pilot.app.clipboard


@pytest.mark.anyio
async def test_delete_is_refused_in_plain_words_and_the_screen_stays_when_the_model_goes() -> None:
    fleet = box()
    fleet.models.refusals["delete"] = "qwen3-32b: is being deleted"
    async with Console(fleet).run_test(size=(120, 40), notifications=True) as pilot:
        await shows(pilot, "qwen3-32b")
        await pilot.press("enter", "D", "y")
        await shows(pilot, "is being deleted")
        fleet.show(model("whisper-large-v3"), replicas=())
        await shows(pilot, "Models > qwen3-32b   deleted")
        await shows(pilot, "engine timeout 120s after 3 attempts")
        await pilot.press("s", "D", "e", "y", "r")
        await pilot.pause()
        assert isinstance(pilot.app.screen, ModelScreen)


@pytest.mark.anyio
async def test_a_small_terminal_does_not_crash() -> None:
    async with Console(box()).run_test(size=(60, 14)) as pilot:
        await shows(pilot, "qwen3-32b")
        for keys in (
            ("enter", "y"),
            ("escape", "e"),
            ("escape", "l"),
            ("escape", "t"),
            ("escape", "s"),
            ("escape", "D"),
        ):
            await pilot.press(*keys)
        await shows(pilot, "Delete qwen3-32b")
        await pilot.press("escape", "escape", "4", "enter", "escape", "5", "a")
        await shows(pilot, "Events")


@pytest.mark.anyio
async def test_markup_in_what_is_said_is_only_text() -> None:
    hostile = replace(QWEN, why="it [/b] says [link=x]", model="m[/]")
    async with Console(StillFleet(hostile, replicas=REPLICAS)).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "qwen3-32b")
        await pilot.press("enter")
        await shows(pilot, "Why   it [/b] says [link=x]")
        await shows(pilot, "model m[/]")


def test_conditions_that_need_a_person_are_marked() -> None:
    def mark(type: str, status: bool, reason: str, failed: bool = False) -> str:
        return condition_mark(ConditionView(type=type, status=status, reason=reason, message="", since_s=NOW_S), failed)

    assert mark("Ready", True, "ReplicasReady") == " "
    assert mark("Ready", False, "Idle") == " "
    assert mark("Ready", False, "CrashLoopBackOff", failed=True) == "!"
    assert mark("Degraded", True, "NothingFits") == "~"
    assert mark("Progressing", False, "Settled") == " "
    assert mark("ScalingActive", True, "Backlog") == " "
    assert mark("ScalingActive", False, "BacklogUnknown") == "~"


def test_why_falls_back_to_the_message_and_is_silent_when_all_is_well() -> None:
    assert why_text(replace(QWEN, why="", message="loading")) == (("Why", "title"), ("   loading", ""))
    assert why_text(model("phi-4")) == ()


def test_graphs_say_when_there_is_nothing_yet() -> None:
    quiet = model("bge-m3", generates=False)
    lines = graphs(quiet, None, lambda series, span_s, points: (None,) * points, Size(120, 7))
    assert "TOK/S  -" in lines[0][0][0]
    assert lines[-1][0][0].count("nothing yet") == 3


def test_less_than_one_request_is_no_full_chart() -> None:
    lines = graphs(model("m"), None, lambda series, span_s, points: (0.0,) * (points - 4) + (0.2,) * 4, Size(120, 7))
    backlog = [line[0][0][1:39] for line in lines[1:-1]]
    assert [text.strip() for text in backlog[:-1]] == [""] * (len(backlog) - 1)
    assert lines[-1][0][0].startswith(" 0 to 1, 5 min")


STATES = {
    "degraded": QWEN,
    "ok": replace(QWEN, ready=2, degraded="", backlog=3, queued=0, trend=0, oldest_s=None, why="", conditions=()),
}


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
@pytest.mark.parametrize("state", STATES)
def test_a_model_looks_right(snap_compare: Callable[..., bool], state: str, size: tuple[int, int]) -> None:
    fleet = box()
    fleet.show(STATES[state])
    run = still(lambda fleet: ModelScreen(fleet, KEY), "Models > qwen3-32b")
    assert snap_compare(Console(fleet), terminal_size=size, run_before=run)
