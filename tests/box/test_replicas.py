"""A worker process as the operator sees it."""

from __future__ import annotations

from operator_embed.box.replicas import replica_of
from operator_embed.reconcile import Observed, Phase
from worker_embed.process import spec as process
from worker_embed.process.spec import ProcessState
from worker_embed.report import Change


def worker(phase: process.Phase, reason: str, message: str = "", ready_s: float | None = None) -> ProcessState:
    return ProcessState(
        id="m-abcde",
        role="worker",
        phase=phase,
        pid=7,
        spec_hash="",
        labels={},
        started_s=1.0,
        ready_s=ready_s,
        change=Change(2.0, reason, message),
    )


def test_who_runs_and_cannot_answer_is_not_called_ready() -> None:
    said = "https://127.0.0.1:9/v1: connection refused"
    for phase in (process.Phase.STARTING, process.Phase.READY):
        found = replica_of(worker(phase, "GeneralError", said, 1.5))
        assert (found.phase, found.reason, found.message) == (Phase.PAUSED, "GeneralError", said)
        assert found.ready_s is None
        assert Observed(replicas=(found,)).ready == 0
    well = replica_of(worker(process.Phase.READY, "Ready", ready_s=1.5))
    assert (well.phase, well.ready_s) == (Phase.READY, 2.0)
