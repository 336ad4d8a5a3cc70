"""What is told of GPUs, and what their counters add up to."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from operator_embed.box.energy import Energy
from operator_embed.box.gpu_news import GpuNews
from worker_embed.gpu.samples import GpuEvent, GpuSample, HostSample, Sample

NOON_S = 1_700_049_600.0
ON = {"GPU-0": ["smol-a"]}
HOST = HostSample("", 1, None, 0, 1, ())
GPU = GpuSample("GPU-0", 0, "A100", 9.0, 1.0, 80.0, 300.0, 400.0, 84.0, 1155.0, 1410.0, (), "", 0.0, ())


def sample(at_s: float, notice: str = "", events: tuple[GpuEvent, ...] = (), **gpu: Any) -> Sample:
    return Sample(at_s, 1.0, "nvml", "580.95", notice, HOST, (replace(GPU, **gpu),), events)


def told(news: GpuNews, sample: Sample) -> list[str]:
    return [f"{event.source} {event.reason}: {event.message}" for event in news.take(sample, ON)]


def test_throttling_on_and_off_is_told_once() -> None:
    news = GpuNews()
    text = "GPU 0 Throttled: thermal at 84 °C: 1155 of 1410 MHz; smol-a was on it"
    assert told(news, sample(0, throttle=("thermal",))) == [text]
    assert told(news, sample(1)) == []
    assert told(news, sample(9, throttle=("thermal",))) == []
    assert news.throttled_s == {"GPU-0": 0}
    assert told(news, sample(20)) == []
    assert news.throttled_s == {}
    assert told(news, sample(21, throttle=("thermal",))) == [text]


def test_a_gpu_is_lost_once_and_comes_back_once() -> None:
    news = GpuNews()
    xid = GpuEvent(1.0, "GPU-0", "Xid 79", "fell off the bus")
    assert told(news, sample(1, events=(xid,), lost="Xid 79, fell off the bus")) == [
        "GPU 0 Xid 79: fell off the bus; smol-a was on it",
        "GPU 0 Lost: Xid 79, fell off the bus; smol-a was on it",
    ]
    assert told(news, sample(2, lost="not reachable any more")) == []
    assert told(news, sample(3, "driver changed")) == ["GPU Unreadable: driver changed"]
    assert (news.lost_s, news.unread_s) == ({"GPU-0": 1}, 3)
    assert told(news, sample(4)) == ["GPU 0 Back: can be read again"]
    assert (news.lost_s, news.unread_s) == ({}, None)


def test_energy_adds_up_over_a_reset_and_starts_again_at_midnight() -> None:
    energy = Energy()
    for second, joules in enumerate((5_000.0, 8_600.0, 100.0, 3_700.0)):
        energy.take(sample(NOON_S + second, energy_j=joules))
    assert energy.today_wh == 2.0
    energy.take(sample(NOON_S + 86_400, energy_j=3_700.0 + 360.0))
    assert energy.today_wh == pytest.approx(0.1)


def test_energy_goes_on_in_the_next_leader_of_the_same_day() -> None:
    before, same_day, next_day = Energy(), Energy(), Energy()
    before.take(sample(NOON_S, energy_j=0.0))
    before.take(sample(NOON_S + 1, energy_j=3_600.0))
    same_day.load(before.export(), NOON_S + 60)
    same_day.take(sample(NOON_S + 60, energy_j=7_200.0))
    assert same_day.today_wh == 2.0
    next_day.load(before.export(), NOON_S + 86_400)
    next_day.take(sample(NOON_S + 86_400, energy_j=9_000.0))
    assert next_day.today_wh == 0.0


@pytest.mark.parametrize("junk", ['"much", {}', '1.0, {"GPU-0": null}'])
def test_energy_that_is_no_number_is_not_taken_up(junk: str) -> None:
    before, after = Energy(), Energy()
    before.take(sample(NOON_S, energy_j=0.0))
    with pytest.raises((ValueError, TypeError)):
        after.load(f'["{before.day}", {junk}]', NOON_S)
    assert after == Energy()


def test_watts_are_the_mean_of_ten_seconds_and_unknown_without_a_counter() -> None:
    energy = Energy()
    for second in range(30):
        energy.take(sample(NOON_S + second, energy_j=300.0 * second + 500.0 * (second >= 15)))
    assert energy.watts(["GPU-0"], NOON_S + 29) == 300.0
    assert energy.watts(["GPU-0", "GPU-1"], NOON_S + 29) is None
    assert energy.watts(["GPU-0"], NOON_S + 60) is None, "nothing was heard since"
