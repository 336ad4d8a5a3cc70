"""Which workers start and which are retired."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from operator_embed.box.rollout import Plan, Running, plan


def worker(name: str, template: str = "new", **fields: Any) -> Running:
    return replace(Running(name=name, template=template, ready=True), **fields)


def test_what_is_missing_is_started() -> None:
    assert plan(3, [worker("a")], "new") == Plan(start=2)


def test_as_many_as_asked_for_changes_nothing() -> None:
    assert plan(1, [worker("a")], "new") == Plan()


def test_idle_before_busy_and_unready_before_ready_is_retired() -> None:
    workers = [worker("busy", busy=3), worker("idle"), worker("loads", ready=False)]
    assert plan(2, workers, "new").retire == ("loads",)
    assert plan(1, workers, "new").retire == ("loads", "idle")


def test_a_worker_that_leaves_already_is_neither_counted_nor_retired_again() -> None:
    assert plan(1, [worker("a", leaving=True)], "new") == Plan(start=1)


def test_the_new_comes_before_the_old_goes() -> None:
    assert plan(1, [worker("a", "old")], "new") == Plan(start=1)
    assert plan(1, [worker("a", "old"), worker("b", ready=False)], "new") == Plan()
    assert plan(1, [worker("a", "old"), worker("b")], "new") == Plan(retire=("a",))


def test_two_are_replaced_one_after_the_other() -> None:
    old = [worker("a", "old"), worker("b", "old")]
    assert plan(2, old, "new") == Plan(start=1)
    assert plan(2, [*old, worker("c")], "new") == Plan(retire=("a",))
    assert plan(2, [worker("b", "old"), worker("c")], "new") == Plan(start=1)


def test_without_room_an_old_one_goes_first() -> None:
    waits = worker("b", ready=False, waiting=True)
    assert plan(1, [worker("a", "old"), waits], "new", crowded=True) == Plan(retire=("a",))
    assert plan(1, [worker("a", "old", leaving=True), waits], "new", crowded=True) == Plan()


def test_without_room_the_next_old_one_stays_until_the_new_one_answers() -> None:
    old, waits = worker("a", "old"), worker("c", ready=False, waiting=True)
    assert plan(2, [old, worker("b", ready=False), waits], "new", crowded=True) == Plan()
    assert plan(2, [old, worker("b"), waits], "new", crowded=True) == Plan(retire=("a",))


def test_an_old_one_that_cannot_answer_goes_at_once() -> None:
    assert plan(1, [worker("a", "old", ready=False)], "new") == Plan(start=1, retire=("a",))


def test_zero_retires_all() -> None:
    assert set(plan(0, [worker("a"), worker("b", "old")], "new").retire) == {"a", "b"}
