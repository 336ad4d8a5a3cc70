"""How many replicas a backlog asks for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

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
