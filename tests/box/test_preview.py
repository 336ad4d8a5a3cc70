"""What a change of scale would do, by what a console sees."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from operator_embed.aimodel import AIModel, Spec
from operator_embed.box.preview import preview
from operator_embed.fleet.fleet import FleetView
from operator_embed.fleet.gpus import GpuPanel, HostView
from operator_embed.fleet.models import ReplicaNeed, Scale
from tests.fleet import gpu, model, replica

GIB = 1024.0
SMALL = AIModel(namespace="default", name="small", spec=Spec(type="local", model="small"))
OTHERS = (model("small", need=ReplicaNeed(mem_mib=10 * GIB, gpus=1)), model("big"))


def lines(view: FleetView, replicas: int) -> list[tuple[str, float | None, str]]:
    planned = preview(SMALL, Scale(replicas=replicas), view).lines
    return [(line.place, line.mem_mib, line.text) for line in planned]


def test_replicas_that_run_come_first_and_each_new_one_takes_room_from_the_next() -> None:
    runs = replica("small-a", "small", place="GPU 0", mem_mib=9 * GIB, busy=2)
    gpus = (gpu(0, free_mib=12 * GIB), gpu(1, free_mib=15 * GIB))
    assert lines(FleetView(models=OTHERS, replicas=(runs,), gpus=gpus), 5) == [
        ("GPU 0", 9 * GIB, "running, 2 in flight"),
        ("GPU 0", 10 * GIB, "fits: 12.0 GiB free"),
        ("GPU 1", 10 * GIB, "fits: 15.0 GiB free"),
        ("-", 10 * GIB, "does not fit: the most free is GPU 1 with 5.0 GiB"),
        ("-", 10 * GIB, "does not fit"),
    ]


def test_ram_is_shared_the_same_way() -> None:
    need = ReplicaNeed(mem_mib=2 * GIB, gpus=0)
    view = FleetView(models=(model("small", need=need),), host=HostView(ram_free_mib=3 * GIB), gpus=(gpu(0),))
    assert lines(view, 2) == [
        ("CPU", 2 * GIB, "fits: 3.0 GiB free"),
        ("-", 2 * GIB, "does not fit: replica 2 needs 2.0 GiB of RAM; 1.0 GiB is free"),
    ]


@pytest.mark.parametrize(
    ("need", "text"),
    [(ReplicaNeed(missing="weights: cannot read /x"), "weights: cannot read /x"), (ReplicaNeed(), "not known yet")],
)
def test_what_cannot_start_at_all_says_why(need: ReplicaNeed, text: str) -> None:
    assert lines(FleetView(models=(model("small", need=need),)), 1) == [("-", None, text)]


@pytest.mark.parametrize(
    ("other", "advice"),
    [
        ({}, ("Free GPU 0: big is idle and holds 8.0 GiB there.",)),
        ({"busy": 1}, ()),
        ({"state": "Loading"}, ()),
        ({"mem_mib": 2 * GIB}, ()),
    ],
    ids=["idle", "busy", "loading", "too little"],
)
def test_advice_names_what_is_idle_and_large_enough(other: dict[str, Any], advice: tuple[str, ...]) -> None:
    idle = replica("big-a", "big", **{"place": "GPU 0", "mem_mib": 8 * GIB} | other)
    gpus = (gpu(0, free_mib=3 * GIB), gpu(1, free_mib=4 * GIB))
    view = FleetView(models=OTHERS, replicas=(idle,), gpus=gpus, gpu_panel=GpuPanel(source="nvml"))
    assert preview(SMALL, Scale(replicas=1), view).advice == advice


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (Scale(), 3),
        (Scale(threshold=0, replicas=1), 1),
        (Scale(threshold=50), 5),
        (Scale(max_replicas=2), 2),
        (Scale(paused=True), 4),
        (Scale(threshold=0, replicas=10**9), 1_000),
    ],
    ids=["as it is", "autoscaler off", "threshold", "max", "held", "beyond all bounds"],
)
def test_how_many_there_would_be(change: Scale, wanted: int) -> None:
    spec = Spec(type="local", model="small", msg_backlog_threshold=100, max_replicas=5)
    view = FleetView(models=(model("small", backlog=250, desired=4),))
    assert preview(replace(SMALL, spec=spec), change, view).wanted == wanted
