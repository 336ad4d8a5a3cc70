"""Figures: rates, trends, and what is unknown."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from operator_embed.box.queue_rows import drain
from operator_embed.box.telemetry import Rate, Telemetry, trend
from operator_embed.reconcile import Observed, Phase, Replica
from worker_embed.gpu.rings import Rings
from worker_embed.queue.port import Backlog
from worker_embed.report import GatewayBeat, ModelCount, WorkerBeat


def beat(at_s: float, tokens: int, **fields: Any) -> WorkerBeat:
    return msgspec.structs.replace(WorkerBeat("m-aaaaa", at_s, 4, 1, tokens, 0), **fields)


def test_a_rate_is_the_mean_of_ten_seconds() -> None:
    rate = Rate()
    for second in range(30):
        rate.add(second, 100 * max(0, second - 20))
    assert rate.per_s(29) == pytest.approx(90.0)


def test_a_silent_source_has_no_rate_and_a_restarted_one_no_negative_one() -> None:
    rate = Rate()
    rate.add(0, 500)
    rate.add(1, 510)
    assert rate.per_s(5) is None
    rate.add(2, 0)
    rate.add(3, 10)
    assert rate.per_s(3) == pytest.approx(10.0)


def test_a_rate_goes_on_when_the_clock_is_set_back() -> None:
    rate = Rate()
    for heard, second in enumerate((3600, 3601, 0, 1)):
        rate.add(second, 10 * heard)
    assert rate.per_s(1) == pytest.approx(10.0)


def test_a_worker_that_went_silent_has_no_figures() -> None:
    telemetry = Telemetry(Rings())
    telemetry.hear(beat(0, 0))
    telemetry.tick(5, {}, {})
    assert set(telemetry.workers) == {"m-aaaaa"}
    telemetry.tick(11, {}, {})
    assert set(telemetry.workers) == set()


def test_tokens_of_all_replicas_that_are_heard() -> None:
    telemetry = Telemetry(Rings())
    for second in range(3):
        telemetry.hear(beat(second, 20 * second))
        telemetry.hear(beat(second, 30 * second, id="m-bbbbb"))
    assert telemetry.tokens_per_s(2, ["m-aaaaa", "m-bbbbb", "m-ccccc"]) == pytest.approx(50.0)
    assert telemetry.tokens_per_s(2, ["m-ccccc"]) is None


def test_a_silent_queue_leaves_a_gap_and_an_empty_one_a_zero() -> None:
    telemetry = Telemetry(Rings())
    telemetry.backlog, telemetry.backlog_s = {"model-m": Backlog(queued=3, in_flight=1)}, 100.0
    assert telemetry.tick(101.0, {"default/m": "model-m"}, {})["model/default/m/backlog"] == 4
    assert telemetry.tick(104.0, {"default/m": "model-m"}, {})["model/default/m/backlog"] is None


def test_traffic_of_an_api_node() -> None:
    telemetry = Telemetry(Rings())
    for second in range(11):
        count = ModelCount("model-m", 6 * second, 3 * second, 0, 0, 0.2, 0.3)
        telemetry.hear(GatewayBeat("gateway", second, 0, 0, [count]))
    values = telemetry.tick(10.0, {"default/m": "model-m"}, {})
    assert (values["queue/model-m/in"], values["queue/model-m/out"]) == (6.0, 3.0)


@pytest.mark.parametrize(
    ("before", "after", "way"), [(10, 10, 0), (10, 11, 0), (10, 14, 1), (100, 109, 0), (100, 112, 1), (20, 10, -1)]
)
def test_a_trend_is_more_than_a_tenth_and_more_than_two(before: float, after: float, way: int) -> None:
    rings = Rings()
    for second in range(100, 130):
        rings.add(second, {"x": before if second < 120 else after})
    assert trend(rings, "x", 129.5) == way


def test_a_trend_needs_two_parts() -> None:
    rings = Rings()
    for second in range(120, 130):
        rings.add(second, {"x": float(second)})
    assert trend(rings, "x", 129.0) == 0
    assert trend(rings, "y", 129.0) == 0


@pytest.mark.parametrize(
    ("queued", "arrived", "served", "text"),
    [
        (0, 1, 1, ""),
        (10, 1, 1, "grows"),
        (10, 0, 0, "stuck"),
        (450, 1, 4, "~2m30s"),
        (30, 0, 1, "~30s"),
        (36_000, 0, 1, "~10h00m"),
    ],
)
def test_drain_is_what_waits_over_what_is_gained(queued: int, arrived: float, served: float, text: str) -> None:
    ready = Observed(replicas=(Replica(name="a", phase=Phase.READY),))
    assert drain(Backlog(queued=queued), ready, arrived, served) == text


def test_what_is_worked_on_for_longer_than_a_rate_is_measured_is_not_stuck() -> None:
    ready = Observed(replicas=(Replica(name="a", phase=Phase.READY),))
    assert drain(Backlog(queued=3, in_flight=4), ready, 0, 0) == "busy"


def test_drain_of_a_model_that_loads_or_is_paused() -> None:
    loads = Observed(replicas=(Replica(name="a", phase=Phase.LOADING),))
    paused = Observed(replicas=(Replica(name="a", phase=Phase.PAUSED),))
    assert drain(Backlog(queued=3), loads, 0, 0) == "loads"
    assert drain(Backlog(queued=3), paused, 0, 0) == "paused"


def test_a_node_that_was_started_again_has_no_traffic_until_it_says_so() -> None:
    telemetry = Telemetry(Rings())
    for second in range(3):
        telemetry.hear(GatewayBeat("gateway", second, 0, 0, [ModelCount("model-m", second, 0, 0, 0, None, None)]))
    telemetry.hear(GatewayBeat("gateway", 3, 0, 0, []))
    assert telemetry.tick(3.0, {"default/m": "model-m"}, {})["queue/model-m/in"] == 0.0
