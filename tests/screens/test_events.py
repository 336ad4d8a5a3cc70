"""Events: newest first, filtered, by age or clock, and the way to their model."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from console.app import Console
from screens.event_columns import moment
from screens.events import EventsScreen
from screens.model import ModelScreen
from tests.fleet import NOW_S, StillFleet, event, model, painted, shows, until
from tests.screens.scenes import KEY, box, still


@pytest.mark.anyio
async def test_what_happened_with_its_count_and_age() -> None:
    async with Console(box()).run_test(size=(120, 40)) as pilot:
        await pilot.press("5")
        await shows(pilot, "5 events   ! 1   ~ 2   last 7 days")
        await shows(pilot, "!   9m   x3  DeadLetter     qwen3-32b            qwen3-32b-x7k2q     engine timeout")


@pytest.mark.anyio
async def test_age_or_clock() -> None:
    async with Console(box()).run_test(size=(120, 40)) as pilot:
        await pilot.press("5", "t")
        await shows(pilot, "22:11:20       NothingFits")
        await shows(pilot, "Nov 11 22:13       Applied")
        await pilot.press("t")
        await shows(pilot, "2m       NothingFits")


@pytest.mark.anyio
async def test_a_filter_compares_and_says_when_nothing_matches() -> None:
    async with Console(box()).run_test(size=(120, 40)) as pilot:
        await pilot.press("5")
        await shows(pilot, "Applied")
        await pilot.press("slash", *"count>1", "enter")
        await until(pilot, lambda: not any("Applied" in line for line in painted(pilot.app)))
        await shows(pilot, "DeadLetter")


@pytest.mark.anyio
async def test_enter_opens_the_model_and_only_one_that_is_there() -> None:
    gone = event("Deleted", "phi-4 and its queue", model="default/phi-4", at_s=NOW_S)
    fleet = StillFleet(model("qwen3-32b"), events=(gone, event("Scaled", model=KEY)))
    async with Console(fleet).run_test(size=(120, 40)) as pilot:
        await pilot.press("5")
        await shows(pilot, "Deleted")
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(pilot.app.screen, EventsScreen)
        await pilot.press("j", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ModelScreen))


@pytest.mark.anyio
async def test_a_quiet_box_says_so() -> None:
    async with Console(StillFleet(model("phi-4"))).run_test(size=(80, 24)) as pilot:
        await pilot.press("5")
        await shows(pilot, "Nothing happened in the last seven days.")


def test_the_date_stands_beside_the_time_when_it_is_not_of_today() -> None:
    assert moment(NOW_S - 60, NOW_S) == "22:12:20"
    assert moment(NOW_S - 2 * 86_400, NOW_S) == "Nov 12 22:13"


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
def test_events_look_right(snap_compare: Callable[..., bool], size: tuple[int, int]) -> None:
    assert snap_compare(Console(box()), terminal_size=size, run_before=still(None, "DeadLetter", "5"))
