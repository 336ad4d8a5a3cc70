"""How many replicas a backlog asks for."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operator_embed.aimodel import PAUSED, AIModel
from operator_embed.autoscaler import Decision, Window, decide
from tests.reconcile.models import aimodel


def scaled(model: AIModel | None = None, *, window: Window | None = None, **what: Any) -> Decision:
    facts: dict[str, Any] = {"backlog": 0, "current": 1, "fits": None, "topic_owner": True, "now_s": 0.0}
    model = model or aimodel(msg_backlog_threshold=100, max_replicas=4)
    return decide(model, window=Window() if window is None else window, **facts | what)


@pytest.mark.parametrize(
    ("backlog", "desired"), [(0, 1), (1, 1), (100, 1), (101, 2), (399, 4), (400, 4), (401, 4), (9999, 4)]
)
def test_backlog_over_threshold_rounded_up_within_bounds(backlog: int, desired: int) -> None:
    assert scaled(backlog=backlog).desired == desired


def test_it_says_the_numbers_it_used() -> None:
    assert scaled(backlog=412).message == "backlog 412 / 100 = 5, max 4"


def test_up_at_once_down_after_the_cooldown() -> None:
    model = aimodel(msg_backlog_threshold=100, max_replicas=4, cooldown_seconds=60)
    window = Window()
    assert scaled(model, window=window, backlog=400, current=1, now_s=0).desired == 4
    assert scaled(model, window=window, backlog=0, current=4, now_s=30).desired == 4
    assert scaled(model, window=window, backlog=150, current=4, now_s=59).desired == 4
    assert scaled(model, window=window, backlog=0, current=4, now_s=61).desired == 2
    assert scaled(model, window=window, backlog=0, current=2, now_s=120).desired == 1


def test_a_burst_within_the_cooldown_keeps_what_it_needed() -> None:
    model = aimodel(msg_backlog_threshold=100, max_replicas=4, cooldown_seconds=60)
    window = Window()
    scaled(model, window=window, backlog=200, current=1, now_s=0)
    scaled(model, window=window, backlog=300, current=2, now_s=50)
    assert scaled(model, window=window, backlog=0, current=3, now_s=100).desired == 3


def test_at_zero_one_request_wakes_it() -> None:
    model = aimodel(msg_backlog_threshold=100, min_replicas=0)
    assert scaled(model, backlog=0, current=0).desired == 0
    assert scaled(model, backlog=1, current=0).desired == 1


def test_one_more_than_fits_waits_for_room() -> None:
    decision = scaled(backlog=400, fits=1)
    assert (decision.desired, decision.reason) == (2, "BoundByGPU")


def test_without_a_threshold_the_user_decides() -> None:
    decision = scaled(aimodel(replicas=3), backlog=10_000)
    assert (decision.desired, decision.active, decision.reason) == (3, False, "Static")


def test_the_second_model_on_a_topic_does_not_scale() -> None:
    decision = scaled(aimodel(msg_backlog_threshold=1, replicas=2), backlog=50, topic_owner=False)
    assert (decision.desired, decision.reason) == (2, "TopicShared")


def test_a_silent_queue_keeps_what_there_is() -> None:
    decision = scaled(backlog=None, current=3)
    assert (decision.desired, decision.reason) == (3, "BacklogUnknown")


def test_paused_holds_its_number() -> None:
    model = replace(aimodel(msg_backlog_threshold=1), annotations=((PAUSED, "2"),))
    assert scaled(model, backlog=50, current=2).desired == 2


def test_deleting_wins_over_everything() -> None:
    assert scaled(aimodel(msg_backlog_threshold=1, min_replicas=3, deleted_s=1.0), backlog=50).desired == 0


@given(
    seconds=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 700)), min_size=1, max_size=60),
    cooldown_s=st.integers(0, 90),
    low=st.integers(0, 3),
    most=st.integers(1, 8),
)
def test_what_the_whole_cooldown_wanted_is_kept(
    seconds: list[tuple[int, int]], cooldown_s: int, low: int, most: int
) -> None:
    high = max(low, most)
    model = aimodel(msg_backlog_threshold=100, min_replicas=low, max_replicas=high, cooldown_seconds=cooldown_s)
    window, wanted, desired, now_s = Window(), list[tuple[int, int]](), low, 0
    for passed_s, backlog in seconds:
        now_s += passed_s
        wanted.append((now_s, min(max(math.ceil(backlog / 100), low), high)))
        lately = max(count for at_s, count in wanted if at_s >= now_s - cooldown_s)
        expected = max(wanted[-1][1], min(desired, lately))
        desired = scaled(model, window=window, backlog=backlog, current=desired, now_s=now_s).desired
        assert desired == expected
        assert low <= desired <= high


def test_a_lower_maximum_counts_at_once() -> None:
    model, window = aimodel(msg_backlog_threshold=100, max_replicas=8), Window()
    assert scaled(model, window=window, backlog=800, current=1, now_s=0).desired == 8
    lower = aimodel(msg_backlog_threshold=100, max_replicas=2)
    assert scaled(lower, window=window, backlog=800, current=8, now_s=1).desired == 2


def test_a_clock_that_was_set_back_forgets_what_was_to_come() -> None:
    model, window = aimodel(msg_backlog_threshold=100, max_replicas=8, cooldown_seconds=10), Window()
    scaled(model, window=window, backlog=800, current=1, now_s=5_000)
    assert scaled(model, window=window, backlog=0, current=8, now_s=100).desired == 1


@pytest.mark.parametrize(("held", "desired"), [("2", 2), ("²", 3), ("-1", 3), ("9" * 30, 3), ("5000", 1000)])
def test_a_number_to_hold_may_be_any_text(held: str, desired: int) -> None:
    model = replace(aimodel(msg_backlog_threshold=1), annotations=((PAUSED, held),))
    assert scaled(model, backlog=50, current=3).desired == desired
