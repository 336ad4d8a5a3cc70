"""Order, filter and marks of rows, without a screen."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from operator_embed.fleet.models import ModelView, ReplicaView
from screens.model_columns import FIELDS, ON_GPUS
from screens.replica_columns import ALL, REPLICAS
from screens.widgets.arrangement import Arrangement
from screens.widgets.columns import Column
from screens.widgets.filter import FilterError
from tests.fleet import model, replica

BACKLOG = next(c for c in ON_GPUS if c.title == "BACKLOG")
A, B, C = (model(name, backlog=n) for name, n in (("a", 1), ("b", 3), ("c", 2)))


def names(rows: Sequence[ModelView]) -> str:
    return "".join(row.name for row in rows)


def by_backlog() -> Arrangement[ModelView]:
    arrangement: Arrangement[ModelView] = Arrangement(ON_GPUS, FIELDS)
    arrangement.sort(BACKLOG)
    return arrangement


def test_figures_sort_from_the_largest_and_unknown_is_last_either_way() -> None:
    rows = (model("x", backlog=None), A, B)
    arrangement = by_backlog()
    assert names(arrangement.arrange(rows, 0.0)) == "bax"
    arrangement.sort(BACKLOG, reverse=True)
    assert names(arrangement.arrange(rows, 0.0)) == "abx"


def test_an_order_by_a_figure_holds_two_seconds() -> None:
    arrangement = by_backlog()
    assert names(arrangement.arrange((A, B, C), 100.0)) == "bca"
    jumped = (model("a", backlog=9), B, C)
    assert names(arrangement.arrange(jumped, 101.5)) == "bca"
    assert names(arrangement.arrange(jumped, 102.0)) == "abc"


def test_and_one_second_after_a_key() -> None:
    arrangement = by_backlog()
    arrangement.arrange((A, B, C), 100.0)
    arrangement.touch(104.5)
    jumped = (model("a", backlog=9), B, C)
    assert names(arrangement.arrange(jumped, 105.0)) == "bca"
    assert names(arrangement.arrange(jumped, 105.5)) == "abc"


def test_rows_that_come_meanwhile_are_at_the_end_and_rows_that_go_leave_no_hole() -> None:
    arrangement = by_backlog()
    arrangement.arrange((A, B, C), 100.0)
    assert names(arrangement.arrange((model("n", backlog=99), A, B), 100.5)) == "ban"


def test_an_age_is_compared_as_it_is_now_and_sorts_from_the_oldest() -> None:
    now_s = 1.79e9
    rows = (model("young", created_s=now_s - 10), model("older", created_s=now_s - 7_200))
    arrangement: Arrangement[ModelView] = Arrangement(ON_GPUS, FIELDS)
    for text, shown in (("age>1h", "older"), ("age<5m", "young"), ("age<3h", "youngolder")):
        arrangement.filter(text)
        assert names(arrangement.arrange(rows, now_s)) == shown
    arrangement.filter("age<5m")
    assert names(arrangement.arrange(rows, now_s + 300)) == ""
    arrangement.filter("")
    arrangement.sort(next(c for c in ON_GPUS if c.title == "AGE"))
    assert names(arrangement.arrange(rows, now_s)) == "olderyoung"


@pytest.mark.parametrize("columns", [ALL, REPLICAS], ids=["replicas", "a model's"])
def test_a_replica_without_a_process_has_no_age(columns: Sequence[Column[ReplicaView]]) -> None:
    rows = [replica(name, "m", started_s=at_s) for name, at_s in (("waits", None), ("young", 990.0), ("older", 10.0))]
    arrangement: Arrangement[ReplicaView] = Arrangement(columns, {})
    arrangement.sort(next(c for c in columns if c.title == "AGE"))
    assert [row.key for row in arrangement.arrange(rows, 1_000.0)] == ["older", "young", "waits"]
    arrangement.filter("age>=0")
    assert [row.key for row in arrangement.arrange(rows, 1_000.0)] == ["older", "young"]


def test_a_filter_that_is_none_keeps_the_one_before() -> None:
    arrangement = by_backlog()
    arrangement.filter("backlog>1")
    for wrong in ("backlog>", "nothing>1"):
        with pytest.raises(FilterError):
            arrangement.filter(wrong)
        assert names(arrangement.arrange((A, B, C), 0.0)) == "bc"
