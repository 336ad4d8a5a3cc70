"""Which columns fit, and where they stand."""

from __future__ import annotations

from operator_embed.fleet.models import ModelView
from screens.model_columns import FAILURES, ON_GPUS
from screens.widgets.columns import Column, column_title, fitted_cell, lay_out, letters
from tests.fleet import NOW_S, failure, model


def titles(width: int, *, wide: bool = False) -> list[str]:
    return [column.title for column, _ in lay_out(ON_GPUS, width, wide=wide) if column.title]


def test_columns_leave_in_the_order_of_their_worth() -> None:
    all_of_120 = set(titles(120))
    left = [all_of_120 - set(titles(width)) for width in (112, 99, 77, 72, 66, 61, 54, 46)]
    assert left[0] == {"LAST FAILURE", "ENGINE"}
    assert [len(gone) for gone in left] == sorted(len(gone) for gone in left)
    assert titles(40) == ["NAME", "READY", "STATE", "BACKLOG"]


def test_a_wide_terminal_shows_what_a_narrow_one_has_on_request() -> None:
    assert "MODEL" not in titles(159)
    assert {"MODEL", "VRAM", "RESTARTS"} <= set(titles(200))
    assert titles(80, wide=True) == titles(200)


def test_a_scrollbar_moves_no_column() -> None:
    for width in (80, 120, 160):
        without, beside = (lay_out(ON_GPUS, width), lay_out(ON_GPUS, width - 1, bar=1))
        assert [(c.title, w) for c, w in without][:-1] == [(c.title, w) for c, w in beside][:-1]
        assert len(without) == len(beside)


def test_every_column_can_be_sorted_by_a_letter_of_its_own() -> None:
    shown = [column for column, _ in lay_out(ON_GPUS, 120)]
    assert len(letters(shown)) == len([column for column in shown if column.title])
    assert letters(shown)["b"].title == "BACKLOG"


def test_the_arrow_of_the_order_never_widens_a_column() -> None:
    for column in ON_GPUS:
        assert len(column_title(column, column.width, "↓")) == column.width + column.gap


def test_a_long_reason_loses_its_end_but_never_its_count_and_age() -> None:
    failing = model("m", failure="APIQuotaExceededError", failure_count=31, failure_s=NOW_S - 4)
    column = next(c for c in ON_GPUS if c.title == "LAST FAILURE")
    assert fitted_cell(column, failing, NOW_S, 22) == "APIQuotaExceed… x31 4s"


def test_reasons_are_whole_where_there_is_room() -> None:
    for wide in (False, True):
        [column] = [c for c, _ in lay_out(ON_GPUS, 200, wide=wide) if c.title == "LAST FAILURE"]
        failing = model("m", failure="ConfigurationError", failure_count=13, failure_s=NOW_S - 60)
        assert fitted_cell(column, failing, NOW_S, column.width).startswith("ConfigurationError x13 1m")
        shown = failure("m", "MessageQueueConnectionError")
        [reason] = [c for c, _ in lay_out(FAILURES, 200, wide=wide) if c.title == "REASON"]
        assert fitted_cell(reason, shown, NOW_S, reason.width) == "MessageQueueConnectionError"


def test_figures_stay_right_aligned_beside_wide_characters() -> None:
    wide: Column[ModelView] = Column("NAME", 6, lambda row, _: "模型模型", middle=True)
    assert fitted_cell(wide, model("m"), 0.0, 6) == "模…型 "
