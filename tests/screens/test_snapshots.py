"""Pictures of the main screen, GPUs, Replicas and help; each also asserts a text that must be on it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from textual.pilot import Pilot

from console.app import Console
from operator_embed.fleet.fleet import ContextView, FleetView
from operator_embed.fleet.gpus import GpuPanel
from operator_embed.fleet.models import ModelView, State
from tests.fleet import NOW_S, failure, model, shows, source
from tests.screens import example
from tests.screens.example import BUSY

SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])


def box(headline: str, tone: str = "") -> ContextView:
    return ContextView(name="gpu-01", headline=headline, tone=tone)


def unknown(row: ModelView) -> ModelView:
    """As it is known from the store alone."""
    return replace(
        row, backlog=None, queued=None, in_flight=None, oldest_s=None, trend=0, backlog_2min=(), req_s=None, tok_s=None,
        busy_pct=None,
    )  # fmt: skip


def well(row: ModelView) -> bool:
    return row.state in (State.RUNNING, State.IDLE, State.STOPPED) and not row.degraded


QUEUE_DOWN = (
    failure("queue", "Unreachable", "nats refused, restart 4 in 6s; running requests go on, new get 503", count=3,
            since_s=NOW_S - 14),
    *example.FAILURES,
)  # fmt: skip
STARTING = (source("store"), source("queue", "..", "starting"), source("API", "..", "starting"))
STATES: dict[str, tuple[FleetView, str]] = {
    "loading": (
        FleetView(
            context=box("loading: queue", "warning"), models=tuple(map(unknown, example.MODELS[:4])), sources=STARTING,
            gpu_panel=GpuPanel(notice="reading"), at_s=NOW_S,
        ),
        "loading: queue",
    ),
    "empty": (
        FleetView(
            context=box("live"), sources=example.SOURCES, gpu_panel=example.NO_GPU,
            host=replace(example.HOST, cpu_pct=8.0, ram_used_mib=3_174.0, sessions=()), at_s=NOW_S,
        ),
        "No models yet.",
    ),
    "ok": (
        FleetView(
            context=box("live"), models=tuple(filter(well, example.MODELS)), gpus=example.GPUS[:2],
            gpu_panel=example.PANEL, at_s=NOW_S,
        ),
        "Failures  none now",
    ),
    "degraded": (BUSY, "Failures  5 now"),
    "error": (
        FleetView(
            context=box("QUEUE DOWN 14s", "error"), at_s=NOW_S, gpus=example.GPUS, gpu_panel=example.PANEL,
            failures=QUEUE_DOWN,
            models=tuple(replace(m, queue_stale=True, trend=0, req_s=0.0) for m in example.MODELS[-6:]),
        ),
        "QUEUE DOWN 14s",
    ),
    "no-leader": (
        FleetView(
            context=box("NO LEADER", "error"), host=example.HOST, gpu_panel=replace(example.NO_GPU, stale=True),
            models=tuple(replace(m, queue_stale=True, store_stale=True) for m in example.MODELS[:3]), at_s=NOW_S,
        ),
        "NO LEADER",
    ),
}  # fmt: skip


def picture(snap: Callable[..., bool], view: FleetView, size: tuple[int, int], *keys: str, text: str) -> bool:
    """Whether the screen that `keys` lead to looks as it did, with `text` on it."""

    async def look(pilot: Pilot[Any]) -> None:
        await pilot.press(*keys)
        await shows(pilot, text)

    run_before: Callable[[Pilot[Any]], Awaitable[None]] = look
    return snap(Console(example.fleet(view)), terminal_size=size, run_before=run_before)


@SIZES
@pytest.mark.parametrize("state", STATES)
def test_models(snap_compare: Callable[..., bool], state: str, size: tuple[int, int]) -> None:
    view, text = STATES[state]
    assert picture(snap_compare, view, size, text=text)


@SIZES
def test_gpus(snap_compare: Callable[..., bool], size: tuple[int, int]) -> None:
    assert picture(snap_compare, BUSY, size, "3", "j", "j", text="qwen3-32b-x7k2q")


@SIZES
def test_gpus_at_their_worst(snap_compare: Callable[..., bool], size: tuple[int, int]) -> None:
    lost = replace(example.GPUS[1], lost="Xid 79, fell off the bus", util_pct=None, used_mib=None, power_w=None)
    silent = replace(example.GPUS[3], stale=True)
    worst = FleetView(
        context=box("live"), models=(model("qwen3-32b"),), gpus=(example.GPUS[0], lost, example.GPUS[2], silent),
        gpu_processes=example.PROCESSES, events=example.EVENTS, at_s=NOW_S,
        gpu_panel=GpuPanel(source="nvml", notice="driver changed 580.95 to 590.12, reading again in 4s", warning=True),
    )  # fmt: skip
    assert picture(snap_compare, worst, size, "3", text="! lost  Xid 79, fell off the bus")


@SIZES
def test_gpus_without_one(snap_compare: Callable[..., bool], size: tuple[int, int]) -> None:
    view, _ = STATES["no-leader"]
    assert picture(snap_compare, view, size, "3", text="Models run on the CPU.")


@SIZES
def test_replicas(snap_compare: Callable[..., bool], size: tuple[int, int]) -> None:
    assert picture(snap_compare, BUSY, size, "2", text="qwen3-32b-m4tq6")


@SIZES
def test_help(snap_compare: Callable[..., bool], size: tuple[int, int]) -> None:
    assert picture(snap_compare, BUSY, size, "question_mark", text="Keys of this screen")


def test_command_line(snap_compare: Callable[..., bool]) -> None:
    assert picture(snap_compare, BUSY, (80, 24), "colon", "g", "o", text="everywhere.go_gpus")
