"""The table as a widget: many rows, and a cursor that is never out of sight by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual.events import MouseScrollDown

from console.app import Console
from operator_embed.fleet.models import ModelView
from screens.widgets.table import Table
from tests.fleet import NOW_S, StillFleet, model, painted, shows, until

pytestmark = pytest.mark.anyio


def table(app: Console) -> Table[ModelView]:
    found: Table[ModelView] = app.screen.query_one("#models", Table)
    return found


def under_cursor(app: Console) -> str:
    """The line that is drawn reversed, by its background."""
    strips = app.screen._compositor.render_strips()
    backgrounds = [[segment.style.bgcolor for segment in strip if segment.style] for strip in strips[3:]]
    usual = max({b[0] for b in backgrounds if b}, key=[b[0] for b in backgrounds if b].count)
    return next(strip.text for strip, b in zip(strips[3:], backgrounds, strict=True) if b and b[0] != usual)


async def test_many_rows_are_a_table_as_any_other() -> None:
    rows = [model(f"m{index:05}", version=index) for index in range(20_000)]
    app = Console(StillFleet(*rows))
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "20000 models")
        await pilot.press("G")
        await shows(pilot, "m19999")
        await pilot.press("ctrl+u", "pageup", "k", "g")
        await shows(pilot, "m00000")
        await pilot.press("slash", *"m1", "enter")
        await shows(pilot, "10000 shown")


async def test_paging_shows_every_row_once() -> None:
    app = Console(StillFleet(*(model(f"m{index:02}") for index in range(20))))
    seen: list[str] = []
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "m00")
        for _ in range(20):
            seen.append(under_cursor(app).split()[0])
            await pilot.press("j")
    assert seen == [f"m{index:02}" for index in range(20)]


async def test_a_row_that_moves_takes_the_cursor_along_into_sight() -> None:
    rows = [model(f"m{index:02}", backlog=100 - index) for index in range(40)]
    fleet = StillFleet(*rows)
    app = Console(fleet)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("o", "b", "g")
        await shows(pilot, "m00")
        fleet.show(*(replace(row, version=2, backlog=0) if row.name == "m00" else row for row in rows), at_s=NOW_S + 9)
        await until(pilot, lambda: table(app).rows[-1].name == "m00")
        await until(pilot, lambda: "m00" in under_cursor(app))


async def test_a_row_that_is_gone_leaves_the_cursor_where_it_was() -> None:
    fleet = StillFleet(*(model(name) for name in "abcd"))
    app = Console(fleet)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("j", "j")
        fleet.show(*(model(name) for name in "abd"))
        await until(pilot, lambda: table(app).cursor == "default/d")
        fleet.show(model("a"))
        await until(pilot, lambda: table(app).cursor == "default/a")


async def test_a_name_deleted_and_used_again_is_drawn_anew() -> None:
    fleet = StillFleet(model("a", version=1, backlog=5))
    app = Console(fleet)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "backlog 5")
        fleet.show(model("a", version=7, backlog=9))
        await until(pilot, lambda: painted(app)[3].split()[3] == "9")


async def test_the_wheel_scrolls_and_leaves_the_cursor() -> None:
    app = Console(StillFleet(*(model(f"m{index:02}") for index in range(40))))
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "m00")
        for _ in range(3):
            await pilot._post_mouse_events([MouseScrollDown], "#models", button=0)
        await until(pilot, lambda: not any("m00" in text for text in painted(app)))
        assert table(app).cursor == "default/m00"
