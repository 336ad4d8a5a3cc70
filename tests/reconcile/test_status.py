"""State, conditions and failures of an AIModel, rule by rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from operator_embed.aimodel import Condition, Status
from operator_embed.autoscaler import Decision
from operator_embed.reconcile import Observed, Phase, Replica, assess, name_conflict
from tests.reconcile.models import aimodel, asked, replica

CRASHING = replica(Phase.BACKOFF, name="m-bbbbb", message="exit 1: no such file")


def status(*replicas: Replica, decision: Decision = asked(1), before: Status = Status(), **model: Any) -> Status:
    return assess(
        aimodel(status=before, **model),
        decision,
        Observed(replicas=replicas),
        now_s=1000.0,
        epoch=1,
    )


def degraded(reason: str, *, since_s: float = 900.0, generation: int = 1) -> Status:
    condition = Condition(type="Degraded", status=True, reason=reason, message="broken", since_s=since_s)
    return Status(conditions=(condition,), observed_generation=generation)


def reason(status: Status, type: str) -> str:
    condition = status.condition(type)
    assert condition is not None
    return condition.reason if condition.status else f"not {condition.reason}"


def test_a_ready_replica_is_running_in_the_originals_words() -> None:
    found = status(replica())
    assert (found.state, found.message) == ("Running", "AIModel is running successfully")
    assert (found.ready, found.desired) == (1, 1)


def test_one_bad_replica_degrades_and_does_not_fail_the_model() -> None:
    found = status(replica(), CRASHING, decision=asked(2))
    assert found.state == "Running"
    assert reason(found, "Degraded") == "CrashLoopBackOff"


def test_no_ready_replica_and_a_failure_is_failed_with_reason_and_message() -> None:
    found = status(CRASHING)
    assert (found.state, found.message) == ("Failed", "CrashLoopBackOff: exit 1: no such file")


def test_a_replica_that_still_starts_is_pending() -> None:
    found = status(replica(Phase.LOADING, since_s=990.0))
    assert found.state == "Pending"
    assert reason(found, "Progressing") == "Starting"


@pytest.mark.parametrize(
    "kind", ["AuthenticationError", "ConfigurationError", "NothingFits", "WeightsMissing", "GPULost"]
)
def test_what_a_replica_reports_becomes_the_reason(kind: str) -> None:
    found = status(replica(Phase.PENDING, reason=kind, message="why"))
    assert found.message == f"{kind}: why"


def test_a_lost_queue_counts_after_half_a_minute() -> None:
    lost = replica(Phase.PENDING, reason="QueueDown", message="refused", since_s=971.0)
    assert reason(status(lost), "Degraded").startswith("not")
    assert reason(status(replace(lost, since_s=970.0)), "Degraded") == "MessageQueueConnectionError"


def test_loading_for_ten_minutes_is_stalled() -> None:
    assert reason(status(replica(Phase.LOADING, since_s=400.0)), "Degraded") == "StartStalled"


def test_a_failure_stays_until_something_mends_it() -> None:
    starting = replica(Phase.STARTING, since_s=995.0)
    assert status(starting, before=degraded("AuthenticationError")).state == "Failed"


def test_a_new_spec_mends() -> None:
    starting = replica(Phase.STARTING, since_s=995.0)
    assert status(starting, before=degraded("AuthenticationError"), generation=2).state == "Pending"


@pytest.mark.parametrize(
    "old", [{"phase": Phase.DRAINING}, {"current": False}, {"current": False, "phase": Phase.BACKOFF}]
)
def test_what_the_old_spec_did_is_not_held_against_the_new_one(old: dict[str, Any]) -> None:
    failed = replica(**{"phase": Phase.READY, "reason": "AuthenticationError"} | old)
    found = status(failed, before=degraded("AuthenticationError"), generation=2)
    assert (found.state, found.ready) == ("Pending", 0)


def test_a_replica_that_became_ready_since_mends() -> None:
    before = degraded("CrashLoopBackOff", since_s=900.0)
    later, starting = replica(ready_s=950.0), replica(Phase.STARTING, name="m-c", since_s=999.0)
    assert reason(status(later, starting, decision=asked(2), before=before), "Degraded").startswith("not")
    earlier = replica(ready_s=100.0)
    assert reason(status(earlier, starting, decision=asked(2), before=before), "Degraded") == "CrashLoopBackOff"


def test_zero_by_the_user_is_stopped_and_zero_by_the_autoscaler_is_idle() -> None:
    assert status(decision=asked(0), replicas=0).state == "Stopped"
    idle = asked(0, active=True, reason="Backlog")
    assert status(decision=idle, min_replicas=0, msg_backlog_threshold=5).state == "Idle"


def test_nothing_new_is_an_equal_status() -> None:
    first = status(replica(), CRASHING, decision=asked(2))
    again = assess(aimodel(status=first), asked(2), Observed(replicas=(replica(), CRASHING)), now_s=2000.0, epoch=1)
    assert again == first


def test_an_older_spec_is_said_to_update() -> None:
    assert reason(status(replica(current=False)), "Progressing") == "Updating"


def test_two_models_that_answer_to_one_name_on_two_queues_are_a_conflict_for_the_younger() -> None:
    older = replace(aimodel(model="org/m"), name="a", created_s=1.0)
    younger = replace(aimodel(model="a"), name="b", created_s=2.0)
    assert name_conflict(older, [older, younger]) is None
    conflict = name_conflict(younger, [older, younger])
    assert conflict is not None
    assert conflict.message == "default/a answers to 'a' already"


def test_two_models_on_one_queue_are_no_conflict() -> None:
    older, younger = replace(aimodel(), name="a", created_s=1.0), replace(aimodel(), name="b", created_s=2.0)
    assert name_conflict(younger, [older, younger]) is None


def test_a_name_conflict_ends_with_the_other_model() -> None:
    starting = replica(Phase.STARTING, since_s=995.0)
    assert status(starting, before=degraded("NameConflict")).state == "Pending"


def test_a_silent_queue_does_not_stop_a_model_at_zero() -> None:
    unknown = asked(0, reason="BacklogUnknown")
    assert status(decision=unknown, min_replicas=0, msg_backlog_threshold=5).state == "Idle"
    held = asked(0, reason="Paused")
    assert status(decision=held, min_replicas=0, msg_backlog_threshold=5).state == "Stopped"


def test_figures_behind_a_decision_are_written_when_it_changes() -> None:
    def wants(desired: int, backlog: int) -> Decision:
        return Decision(desired=desired, active=True, reason="Backlog", message=f"backlog {backlog}")

    first = status(replica(), decision=wants(1, 10), msg_backlog_threshold=100)
    assert status(replica(), decision=wants(1, 20), before=first, msg_backlog_threshold=100) == first
    more = status(replica(), decision=wants(2, 120), before=first, msg_backlog_threshold=100)
    condition = more.condition("ScalingActive")
    assert condition is not None
    assert condition.message == "backlog 120"
    edited = status(replica(), decision=wants(1, 20), before=first, generation=2, msg_backlog_threshold=50)
    assert edited != first
