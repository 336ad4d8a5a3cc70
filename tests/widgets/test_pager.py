"""A page of text: scrolling, wrapping, following its end, searching, and staying put while old lines leave."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult

from screens.widgets.pager import Pager
from screens.widgets.text_lines import Line, folds, literal, pieces
from tests.fleet import painted, until


class Reading(App[None]):
    """One pager, alone."""

    def __init__(self, limit: int = 10_000, *, hang: int = 0) -> None:
        super().__init__()
        self.pager = Pager(limit=limit, hang=hang)

    def compose(self) -> ComposeResult:
        yield self.pager


def numbered(*numbers: int) -> list[Line]:
    return [((f"line {number:05}", ""),) for number in numbers]


def test_a_text_breaks_after_a_space_and_loses_nothing() -> None:
    text = "the quick brown fox jumps"
    rows = [text[a:b] for a, b in folds(text, 10)]
    assert rows == ["the quick ", "brown fox ", "jumps"]


@pytest.mark.anyio
async def test_what_is_left_of_a_long_line_hangs_below_it() -> None:
    app = Reading(hang=4)
    async with app.run_test(size=(20, 8)) as pilot:
        app.pager.wrap = True
        app.pager.show([(("+source: static:one two three four five", "added"),), (("+next", ""),)])
        await until(pilot, lambda: len(lines := painted(app)) > 3 and lines[3].startswith("+next"))
        assert [text.rstrip() for text in painted(app)[:3]] == ["+source: static:one", "    two three four", "    five"]


@pytest.mark.parametrize("text", ["", "x" * 95, "日本語のログ" * 9, "a b " * 30, "e\u0301" * 40])
@pytest.mark.parametrize("width", [8, 13, 79])
def test_folds_cover_a_text_without_gaps(text: str, width: int) -> None:
    rows = list(folds(text, width))
    assert "".join(text[a:b] for a, b in rows) == text
    assert rows[0][0] == 0
    assert rows[-1][1] == len(text)


def test_pieces_are_cut_where_a_hit_begins_and_ends() -> None:
    line: Line = (("one two", "muted"), (" two", "error"))
    cut = list(pieces(line, 0, 11, [(4, 7, "hit"), (8, 11, "here")]))
    assert cut == [("one ", "muted", ""), ("two", "muted", "hit"), (" ", "error", ""), ("two", "error", "here")]
    assert list(pieces(line, 2, 6, [(4, 7, "hit")])) == [("e ", "muted", ""), ("tw", "muted", "hit")]


def test_a_search_is_literal_and_in_any_case() -> None:
    assert [hit.span() for hit in literal("A.b").finditer("a.B axb")] == [(0, 3)]


@pytest.mark.anyio
async def test_the_end_stays_in_sight_until_the_user_scrolls_up() -> None:
    app = Reading()
    async with app.run_test(size=(40, 10)) as pilot:
        app.pager.following = True
        app.pager.extend(numbered(*range(100)))
        await until(pilot, lambda: "line 00099" in painted(app)[-1])
        await pilot.press("k")
        app.pager.extend(numbered(100))
        await until(pilot, lambda: "line 00098" in painted(app)[-1])
        assert not app.pager.following


@pytest.mark.anyio
async def test_the_text_in_sight_stands_still_while_old_lines_leave() -> None:
    app = Reading(limit=50)
    async with app.run_test(size=(40, 10)) as pilot:
        app.pager.extend(numbered(*range(50)))
        await pilot.press("G")
        await until(pilot, lambda: "line 00049" in painted(app)[-1])
        app.pager.extend(numbered(*range(50, 70)))
        await pilot.pause()
        assert "line 00049" in painted(app)[-1]
        await pilot.press("g")
        await until(pilot, lambda: "line 00020" in painted(app)[0])


@pytest.mark.anyio
async def test_a_search_goes_round_and_keeps_its_count_while_lines_arrive_and_leave() -> None:
    app = Reading(limit=50)
    async with app.run_test(size=(40, 10)) as pilot:
        app.pager.extend(numbered(*range(50)))
        await pilot.pause()
        app.pager.search("LINE 0001")
        assert app.pager.found == (1, 10)
        app.pager.next_hit(-1)
        assert app.pager.found == (10, 10)
        await until(pilot, lambda: any("line 00019" in line for line in painted(app)))
        app.pager.extend(numbered(10, *range(50, 69)))
        assert app.pager.found == (0, 1)
        app.pager.next_hit(1)
        assert app.pager.found == (1, 1)


@pytest.mark.anyio
async def test_wrapping_keeps_the_first_line_in_sight() -> None:
    app = Reading()
    async with app.run_test(size=(40, 10)) as pilot:
        app.pager.extend([((f"line {number:05} " + "word " * 20, ""),) for number in range(50)])
        await pilot.press("pagedown")
        await until(pilot, lambda: "line 00009" in painted(app)[0])
        app.pager.wrap = True
        await until(pilot, lambda: "word" in painted(app)[1])
        assert "line 00009" in painted(app)[0]
        app.pager.wrap = False
        await until(pilot, lambda: "line 00010" in painted(app)[1])


@pytest.mark.anyio
async def test_a_long_line_can_be_read_to_its_end() -> None:
    app = Reading()
    async with app.run_test(size=(40, 10)) as pilot:
        app.pager.extend([(("x" * 100 + "end", ""),)])
        await pilot.press(*["right"] * 6)
        await until(pilot, lambda: painted(app)[0].rstrip().endswith("end"))
        app.pager.search("xxx")
        await until(pilot, lambda: painted(app)[0].startswith("xxxx"))
