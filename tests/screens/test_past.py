"""Going back in time: what the console keeps, and what it shows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from textual.pilot import Pilot

from console.app import Console
from operator_embed.fleet.fleet import FleetView
from screens.past import Past
from tests.fleet import NOW_S, StillFleet, gpu, model, painted, shows, until

SMALL = (80, 24)


def kept(past: Past) -> Sequence[float]:
    """Moments of the views that can be gone back to, the newest first."""
    moments: list[float] = []
    at_s = NOW_S * 2
    while view := past.before(at_s):
        at_s = view.at_s
        moments.append(at_s - NOW_S)
    return moments


def test_views_are_kept_for_an_hour_the_older_the_farther_apart() -> None:
    past = Past()
    rows = (model("m"),)
    for quarter in range(4 * 7_200):
        past.add(FleetView(models=rows, at_s=NOW_S + quarter / 4))
    moments = kept(past)
    ages = [moments[0] - moment for moment in moments]
    assert ages[:3] == [0, 1, 2]
    assert max(b - a for a, b in itertools.pairwise(ages) if b <= 120) == 1
    assert max(b - a for a, b in itertools.pairwise(ages) if b <= 600) <= 6
    assert 3_600 <= ages[-1] <= 4_500
    assert len(ages) == 363


def test_both_ways_lead_past_the_same_views() -> None:
    past = Past()
    for second in range(2_000):
        past.add(FleetView(at_s=NOW_S + second))
    there = [NOW_S + moment for moment in kept(past)]
    back = [there[-1]]
    while view := past.after(back[-1]):
        back.append(view.at_s)
    assert back == there[::-1]


def test_rows_that_change_are_bounded_and_rows_that_stay_cost_nothing() -> None:
    still = tuple(model(f"m{number}") for number in range(50))
    past = Past(most_rows=200)
    for second in range(100):
        past.add(FleetView(models=still, at_s=NOW_S + second))
    assert len(kept(past)) == 100
    for second in range(100, 200):
        past.add(FleetView(models=(model("new", version=second), *still[1:]), at_s=NOW_S + second))
    assert len(kept(past)) >= 120
    for second in range(200, 300):
        past.add(FleetView(models=tuple(model(f"m{n}", version=second) for n in range(50)), at_s=NOW_S + second))
    assert 2 <= len(kept(past)) <= 5


def test_what_was_before_the_first_look_is_no_past() -> None:
    past = Past()
    past.add(FleetView())
    past.add(FleetView(at_s=NOW_S))
    past.add(FleetView(at_s=NOW_S + 1))
    assert kept(past) == [1, 0]


def test_a_clock_that_was_set_back_starts_anew() -> None:
    past = Past()
    past.add(FleetView(at_s=NOW_S))
    past.add(FleetView(at_s=NOW_S - 0.2))
    past.add(FleetView(at_s=NOW_S - 9_000))
    past.add(FleetView(at_s=NOW_S - 8_999))
    assert kept(past) == [-8_999, -9_000]


async def grows(fleet: StillFleet, pilot: Pilot[Any], seconds: int) -> None:
    """From a backlog of 500, one more a second."""
    await shows(pilot, "backlog 500")
    for second in range(1, seconds + 1):
        fleet.show(model("m", version=second + 1, backlog=500 + second), at_s=NOW_S + second)
        await shows(pilot, f"backlog {500 + second}")


@pytest.mark.anyio
async def test_back_and_forward_and_escape_to_now() -> None:
    fleet = StillFleet(model("m", backlog=500))
    async with Console(fleet).run_test(size=SMALL) as pilot:
        await grows(fleet, pilot, 3)
        await pilot.press("comma", "comma")
        await shows(pilot, "PAUSED 22:13:21")
        await shows(pilot, "backlog 501")
        fleet.show(model("m", version=9, backlog=777), at_s=NOW_S + 4)
        await pilot.press("full_stop")
        await shows(pilot, "PAUSED 22:13:22")
        await shows(pilot, "backlog 502")
        await pilot.press("escape")
        await shows(pilot, "backlog 777")
        assert not any("PAUSED" in line for line in painted(pilot.app))


@pytest.mark.anyio
async def test_the_first_and_the_newest_view_are_where_it_ends() -> None:
    fleet = StillFleet(model("m", backlog=500))
    async with Console(fleet).run_test(size=SMALL) as pilot:
        await grows(fleet, pilot, 1)
        await pilot.press(*["comma"] * 5)
        await shows(pilot, "PAUSED 22:13:20")
        await pilot.press(*["full_stop"] * 5)
        await shows(pilot, "PAUSED 22:13:21")
        await pilot.press("P")
        await until(pilot, lambda: not any("PAUSED" in line for line in painted(pilot.app)))


@pytest.mark.anyio
async def test_all_views_show_that_moment_and_escape_goes_to_now_before_it_goes_back() -> None:
    fleet = StillFleet(model("m", backlog=500))
    async with Console(fleet).run_test(size=SMALL) as pilot:
        await grows(fleet, pilot, 2)
        await pilot.press("comma", "enter")
        await shows(pilot, "BACKLOG 501")
        await pilot.press("escape")
        await shows(pilot, "BACKLOG 502")
        await pilot.press("comma", "4")
        await shows(pilot, "PAUSED 22:13:21")
        await pilot.press("escape", "1", "escape")
        await shows(pilot, "backlog 502")


@pytest.mark.anyio
async def test_a_plain_pause_is_not_ended_by_escape() -> None:
    fleet = StillFleet(model("m", backlog=500))
    async with Console(fleet).run_test(size=SMALL) as pilot:
        await pilot.press("P", "enter")
        await shows(pilot, "Models > m")
        await pilot.press("escape")
        await shows(pilot, "NAME ↓")
        await shows(pilot, "PAUSED 22:13:20")


@pytest.mark.anyio
async def test_graphs_end_at_the_moment_that_is_shown() -> None:
    fleet = StillFleet(model("m"), gpus=(gpu(0, key="GPU-0"),))
    ends: list[float | None] = []
    read = fleet.history

    def history(series: str, span_s: float, points: int, end_s: float | None = None) -> tuple[float | None, ...]:
        ends.append(end_s)
        return read(series, span_s, points, end_s)

    fleet.history = history  # type: ignore[method-assign]
    async with Console(fleet).run_test(size=SMALL) as pilot:
        await shows(pilot, "NAME")
        fleet.show(model("m", version=2, backlog=601), at_s=NOW_S + 1)
        await shows(pilot, "601")
        ends.clear()
        await pilot.press("comma")
        await shows(pilot, "PAUSED 22:13:20")
        assert set(ends) == {NOW_S}
