"""Lines stand until they are refreshed."""

from __future__ import annotations

import pytest
from rich.segment import Segment
from textual.app import App, ComposeResult
from textual.containers import HorizontalScroll
from textual.geometry import Region
from textual.strip import Strip

from screens.widgets.painted import Painted
from tests.fleet import painted

pytestmark = pytest.mark.anyio


class Counted(Painted):
    """Each line says how often it was drawn."""

    DEFAULT_CSS = "Counted { width: 8; height: 3; color: $primary; }"

    def __init__(self) -> None:
        super().__init__()
        self.drawn = [0, 0, 0]

    def render_line(self, y: int) -> Strip:
        self.drawn[y] += 1
        return Strip([Segment(f"line {y} {self.drawn[y]}"[-8:], self.look())])


class Alone(App[None]):
    def compose(self) -> ComposeResult:
        yield Counted()


class Clipped(App[None]):
    CSS = "HorizontalScroll { width: 4; height: 5; }"

    def compose(self) -> ComposeResult:
        with HorizontalScroll():
            yield Counted()


async def test_only_a_line_that_is_refreshed_is_drawn_again() -> None:
    async with Alone().run_test(size=(20, 5)) as pilot:
        widget = pilot.app.query_one(Counted)
        before = list(widget.drawn)
        widget.refresh(Region(0, 1, 8, 1))
        await pilot.pause()
        assert [now - was for now, was in zip(widget.drawn, before, strict=True)] == [0, 1, 0]
        widget.refresh()
        await pilot.pause()
        assert [now - was for now, was in zip(widget.drawn, before, strict=True)] == [1, 2, 1]


async def test_another_theme_draws_all_in_its_colours() -> None:
    async with Alone().run_test(size=(20, 5)) as pilot:
        widget = pilot.app.query_one(Counted)

        def colours() -> set[str]:
            return {str(s.style) for strip in widget.render_lines(Region(0, 0, 8, 3)) for s in strip}

        before = colours()
        pilot.app.theme = "textual-light"
        await pilot.pause()
        assert not before & colours()


async def test_what_is_out_of_sight_is_cut() -> None:
    async with Clipped().run_test(size=(20, 5)) as pilot:
        assert [line[:6] for line in painted(pilot.app)[:3]] == ["line  "] * 3
