"""Scaling: what the typed numbers would do, and what is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from textual.events import Key

from console.app import Console
from operator_embed.fleet.models import Scale
from screens.edit import EditScreen
from screens.format import Spans
from screens.models import ModelsScreen
from screens.scale import ScaleDialog
from screens.scale_text import changed, formula, invalid, placement
from tests.fleet import StillFleet, model, painted, shows, until
from tests.screens.scenes import FULL, QWEN, box, still

ALONE = model("mistral-small-24b", replicas=1)


def text_of(lines: Iterable[Spans]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


@pytest.mark.anyio
async def test_the_bound_that_was_typed_is_stored_and_no_other() -> None:
    fleet = box()
    async with Console(fleet).run_test(size=(120, 40)) as pilot:
        await pilot.press("s")
        await shows(pilot, "1 of 4 fits")
        await pilot.press("4", "enter")
        await until(pilot, lambda: fleet.models.asked)
    assert fleet.models.asked == [("scale", "default/qwen3-32b", Scale(max_replicas=4))]


@pytest.mark.anyio
async def test_keys_typed_in_one_burst_are_for_the_dialog_that_the_first_opens() -> None:
    fleet = box()
    async with Console(fleet).run_test(size=(120, 40)) as pilot:
        for key in ("s", "4", "enter"):
            pilot.app.post_message(Key(key, key if len(key) == 1 else None))
        await until(pilot, lambda: fleet.models.asked)
        assert isinstance(pilot.app.screen, ModelsScreen)
    assert fleet.models.asked == [("scale", "default/qwen3-32b", Scale(max_replicas=4))]


@pytest.mark.anyio
async def test_without_an_autoscaler_the_replicas_are_set() -> None:
    fleet = StillFleet(ALONE)
    async with Console(fleet).run_test() as pilot:
        await pilot.press("plus")
        await shows(pilot, "[ 2")
        await shows(pilot, "was 1.  No autoscaler: msgBacklogThreshold is unset.")
        await pilot.press("enter")
        await until(pilot, lambda: fleet.models.asked)
    assert fleet.models.asked == [("scale", ALONE.key, Scale(replicas=2))]


@pytest.mark.anyio
async def test_the_table_follows_the_number_at_once() -> None:
    async with Console(StillFleet(ALONE)).run_test() as pilot:
        await pilot.press("s", "3")
        await shows(pilot, "   3     CPU")
        await pilot.press("down", "down")
        await until(pilot, lambda: not any("   2     CPU" in line for line in painted(pilot.app)))


@pytest.mark.anyio
async def test_a_number_that_makes_no_sense_is_explained_and_not_stored() -> None:
    fleet = box()
    async with Console(fleet).run_test(size=(120, 40)) as pilot:
        await pilot.press("s", "0", "enter")
        await shows(pilot, "min 1 is more than max 0.")
        await pilot.press("backspace", "enter")
        await shows(pilot, "A whole number is needed")
        assert isinstance(pilot.app.screen, ScaleDialog)
    assert fleet.models.asked == []


@pytest.mark.anyio
async def test_the_same_numbers_change_nothing() -> None:
    fleet = box()
    async with Console(fleet).run_test(size=(120, 40)) as pilot:
        await pilot.press("s")
        await shows(pilot, "1 of 4 fits")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ModelsScreen))
    assert fleet.models.asked == []


@pytest.mark.anyio
async def test_a_refusal_is_a_toast_in_plain_words() -> None:
    fleet = StillFleet(ALONE)
    fleet.models.refusals["scale"] = "changed by another user; look again"
    async with Console(fleet).run_test(notifications=True) as pilot:
        await pilot.press("s", "3", "enter")
        await shows(pilot, "changed by another user")


@pytest.mark.anyio
async def test_the_editor_opens_at_the_field_that_was_left() -> None:
    async with Console(StillFleet(ALONE)).run_test() as pilot:
        await pilot.press("s", "ctrl+o")
        await until(pilot, lambda: isinstance(pilot.app.screen, EditScreen))
        await shows(pilot, "replicas: 1")
        screen = pilot.app.screen
        assert isinstance(screen, EditScreen)
        assert "replicas" in screen.editor.document[screen.editor.cursor_location[0]]


@pytest.mark.anyio
async def test_markup_in_a_name_is_only_text() -> None:
    fleet = StillFleet(model("x[/b]y"))
    fleet.models.planned = replace(FULL, advice=("free [/GPU] 3",))
    async with Console(fleet).run_test() as pilot:
        await pilot.press("s")
        await shows(pilot, "Scale x[/b]y")
        await shows(pilot, "free [/GPU] 3")


@pytest.mark.anyio
async def test_a_read_only_context_opens_no_dialog() -> None:
    async with Console(StillFleet(ALONE, read_only=True)).run_test() as pilot:
        await shows(pilot, "mistral")
        await pilot.press("s", "plus", "r", "D", "e", "a")
        assert isinstance(pilot.app.screen, ModelsScreen)


def test_the_formula_has_its_numbers() -> None:
    assert list(formula(QWEN, Scale(threshold=100), 4, wide=True)) == [
        "The autoscaler owns replicas: backlog 412 / 100 = 5, kept within min to max.",
        "Now 1 ready of 2 wanted. With this change: 4 wanted. min = max fixes the number.",
    ]
    unknown = replace(QWEN, backlog=None)
    assert "backlog ? / 100," in next(formula(unknown, Scale(threshold=100), 4, wide=False))


def test_equal_neighbours_share_a_line_where_there_is_no_room() -> None:
    table = text_of(placement(FULL.lines, rows=3, wide=False))
    assert table == [
        "replica  on       GiB",
        "   1     GPU 2   73.6   running, 16 in flight",
        "   2     -       73.6 ! does not fit: most free is GPU 3 with 50.8",
        "  3-4    -       73.6 ! does not fit",
    ]


def test_only_what_differs_is_a_change() -> None:
    assert changed(QWEN, Scale(min_replicas=1, max_replicas=2, threshold=50)) == Scale(threshold=50)
    assert invalid(QWEN, Scale(threshold=0)) == "backlog per replica is at least 1."


@pytest.mark.anyio
async def test_a_narrow_screen_cuts_no_sentence_and_no_key() -> None:
    async with Console(StillFleet(model("phi-4"))).run_test(size=(60, 14)) as pilot:
        await pilot.press("s")
        await shows(pilot, "was 1.  No autoscaler.")
        await shows(pilot, "enter apply  ctrl+o editor  esc cancel")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
def test_scale_looks_right(snap_compare: Callable[..., bool], size: tuple[int, int]) -> None:
    assert snap_compare(Console(box()), terminal_size=size, run_before=still(None, "3 stay Pending", "s", "4"))
