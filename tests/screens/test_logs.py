"""Logs: following, choosing, searching, and standing a flood and hostile lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from textual.pilot import Pilot

from console.app import Console
from screens.actions import keymap
from screens.log_lines import LogBuffer, Look, json_columns, laid_out, short_names
from screens.logs import LogsScreen
from screens.models import ModelsScreen
from tests.fleet import NOW_S, StillFleet, model, painted, replica, shows, until
from tests.screens.scenes import HOSTILE, KEY, SAFE, box, line, still


def logged(*lines: Any) -> StillFleet:
    """A box whose only model wrote these lines."""
    fleet = StillFleet(model("qwen3-32b"))
    for one in lines:
        fleet.logs.by_source.setdefault(one.source, []).append(one)
    return fleet


def seen(pilot: Pilot[Any], text: str) -> bool:
    return any(text in shown for shown in painted(pilot.app))


@pytest.mark.anyio
async def test_new_lines_appear_as_they_are_written() -> None:
    fleet = logged(line("loading model"))
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await pilot.press("l")
        await shows(pilot, "22:13:20 loading model")
        await fleet.logs.write(*(line(f"token {number}") for number in range(100)))
        await shows(pilot, "token 99")
        await pilot.press("f", "g")
        await shows(pilot, "loading model")
        await shows(pilot, "stands still")


@pytest.mark.anyio
async def test_replicas_are_told_apart_when_there_are_several() -> None:
    fleet = logged(line("one"), line("two", source="qwen3-32b-m4tq6"))
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await pilot.press("l")
        await shows(pilot, "x7k2q one")
        await shows(pilot, "m4tq6 two")


@pytest.mark.anyio
async def test_the_log_of_a_new_replica_is_read_too() -> None:
    fleet = box()
    fleet.logs.by_source["qwen3-32b-x7k2q"] = [line("one")]
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await pilot.press("l")
        await shows(pilot, "one")
        fleet.logs.by_source["qwen3-32b-zzzzz"] = [line("three", source="qwen3-32b-zzzzz")]
        first, *_ = fleet.view().replicas
        fleet.show(replicas=(first, replace(first, key="qwen3-32b-zzzzz")))
        await shows(pilot, "zzzzz three")


@pytest.mark.anyio
async def test_a_model_without_logs_says_so_until_there_is_one() -> None:
    fleet = StillFleet(model("qwen3-32b"))
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await pilot.press("l")
        await shows(pilot, "No replica has written a log yet")
        fleet.logs.by_source["qwen3-32b-x7k2q"] = [line("born")]
        fleet.show(replicas=(replica("qwen3-32b-x7k2q", "qwen3-32b", state="Starting"),))
        await shows(pilot, "born")


@pytest.mark.anyio
async def test_least_level_keeps_the_traceback_with_its_error() -> None:
    fleet = logged(
        line("fine"), line("boom", level="error"), line("  File x.py", level=""), line("odd", level="warning")
    )
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await pilot.press("l")
        await shows(pilot, "boom")
        await pilot.press("L", "L", "L")
        await shows(pilot, "from error")
        await until(pilot, lambda: not seen(pilot, "fine") and not seen(pilot, "odd"))
        assert seen(pilot, "boom")
        assert seen(pilot, "File x.py")


@pytest.mark.anyio
async def test_a_choice_that_leaves_no_line_says_so() -> None:
    async with Console(logged(line("fine"))).run_test(size=(80, 24)) as pilot:
        await pilot.press("l")
        await shows(pilot, "fine")
        await pilot.press("L", "L", "L")
        await shows(pilot, "Of 1 line none is as chosen: L level, < > since.")


@pytest.mark.anyio
async def test_since_leaves_out_what_is_older() -> None:
    fleet = logged(line("long ago", at_s=NOW_S - 7_200), line("lately", at_s=NOW_S - 30))
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await pilot.press("l")
        await shows(pilot, "long ago")
        await pilot.press("greater_than_sign")
        await until(pilot, lambda: not seen(pilot, "long ago"))
        assert seen(pilot, "lately")
        await pilot.press("less_than_sign")
        await shows(pilot, "long ago")


@pytest.mark.anyio
async def test_search_counts_steps_and_ends_before_the_screen_does() -> None:
    fleet = logged(*(line(f"slot {number % 10} done") for number in range(60)))
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await pilot.press("l")
        await shows(pilot, "slot 9 done")
        await pilot.press("slash", *"slot 3")
        await shows(pilot, "of 6")
        await pilot.press("enter", "n", "N")
        assert isinstance(pilot.app.screen, LogsScreen)
        await pilot.press("escape")
        await until(pilot, lambda: not seen(pilot, "of 6"))
        assert isinstance(pilot.app.screen, LogsScreen)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, ModelsScreen))


@pytest.mark.anyio
async def test_times_marks_and_clearing() -> None:
    fleet = logged(line("before"))
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await pilot.press("l")
        await shows(pilot, "22:13:20 before")
        await pilot.press("t")
        await until(pilot, lambda: not seen(pilot, "22:13:20"))
        await pilot.press("m")
        await shows(pilot, "──── 22:13:20 ────")
        await pilot.press("C")
        await until(pilot, lambda: not seen(pilot, "before"))
        await fleet.logs.write(line("after"))
        await shows(pilot, "after")


@pytest.mark.anyio
async def test_previous_run_and_why_there_is_none() -> None:
    fleet = logged(line("now"))
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await pilot.press("l")
        await shows(pilot, "now")
        fleet.logs.refusals["follow"] = "qwen3-32b-x7k2q: no previous run is kept"
        await pilot.press("p")
        await shows(pilot, "no previous run is kept")
        await shows(pilot, "previous run")


@pytest.mark.anyio
async def test_hostile_lines_are_only_text() -> None:
    async with Console(logged(line(HOSTILE))).run_test(size=(80, 24)) as pilot:
        await pilot.press("l")
        await shows(pilot, SAFE)


@pytest.mark.anyio
async def test_a_flood_is_kept_to_the_newest_lines_and_painted_in_batches() -> None:
    fleet = logged(line("first"))
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await pilot.press("l")
        await shows(pilot, "first")
        for start in range(0, 30_000, 500):
            await fleet.logs.write(*(line(f"flood {number}") for number in range(start, start + 500)))
        await shows(pilot, "flood 29999")
        screen = pilot.app.screen
        assert isinstance(screen, LogsScreen)
        assert len(screen.buffer) == 10_000


def test_json_lines_become_their_message_and_the_rest() -> None:
    assert json_columns('{"level": "info", "msg": "answered", "id": "8f31", "ms": 12}') == "answered  id=8f31  ms=12"
    assert json_columns("{not json") is None
    assert json_columns("[1, 2]") is None
    assert json_columns('{"msg": "\\u001b[31m"}') == "\ufffd[31m"


def test_a_line_without_level_or_time_takes_those_of_the_line_before() -> None:
    buffer = LogBuffer()
    _, second = buffer.take([line("boom", level="error", at_s=5.0), line("  at x", level="", at_s=None)])
    assert (second.level, second.at_s) == ("error", 5.0)
    assert laid_out(second, Look())[0][0].strip() == ""


def test_names_of_logs_are_short_and_equally_long() -> None:
    assert short_names(["m-abcde"], "m") == {}
    assert short_names(["m-abcde", "gateway"], "m") == {"m-abcde": "abcde  ", "gateway": "gateway"}


@pytest.mark.parametrize(
    ("keys", "text", "size"),
    [((), "slot 49", (80, 24)), ((), "slot 49", (120, 40)), (("slash", *"slot", "enter", "w", "m"), "of 50", (80, 24))],
    ids=["ok-80x24", "ok-120x40", "search-80x24"],
)
def test_logs_look_right(
    snap_compare: Callable[..., bool], keys: tuple[str, ...], text: str, size: tuple[int, int]
) -> None:
    levels, sources = ("info", "warning", "error", ""), ("qwen3-32b-x7k2q", "qwen3-32b-m4tq6")
    lines = [
        line(f"slot {n}: {'prompt processing ' * (n % 8)}", sources[n % 2], levels[n % 4], NOW_S + n) for n in range(50)
    ]

    async def run(pilot: Pilot[Any]) -> None:
        await still(lambda fleet: LogsScreen(fleet, KEY), "slot 49")(pilot)
        await still(None, text, *keys)(pilot)

    assert snap_compare(Console(logged(*lines)), terminal_size=size, run_before=run)


@pytest.mark.anyio
async def test_the_k9s_preset_chooses_a_span_by_digit_and_follows_with_s() -> None:
    fleet = logged(line("old", at_s=NOW_S - 400), line("new", at_s=NOW_S - 200))
    async with Console(fleet, keymap=keymap("k9s")).run_test(size=(120, 40)) as pilot:
        await pilot.press("l")
        await shows(pilot, "s follow")
        await pilot.press("3")
        await shows(pilot, "since 5 min")
        await until(pilot, lambda: not seen(pilot, "old") and seen(pilot, "new"))
        screen = pilot.app.screen
        assert isinstance(screen, LogsScreen)
        fleet.show(at_s=NOW_S + 200)
        await until(pilot, lambda: screen.view.at_s > NOW_S)
        await pilot.press("3")
        await until(pilot, lambda: not seen(pilot, "new"))
        await pilot.press("less_than_sign")
        await shows(pilot, "since 15 min")
        await pilot.press("1", "s")
        await shows(pilot, "stands still")
        assert seen(pilot, "old")
        assert isinstance(pilot.app.screen, LogsScreen)
        await pilot.press("question_mark")
        await shows(pilot, "The last 30 minutes.")
        assert not seen(pilot, "GPUs and the processes on them.")
