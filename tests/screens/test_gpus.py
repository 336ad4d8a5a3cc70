"""The GPUs view."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.app import Console
from screens.gpu_blocks import ledger
from tests.fleet import NOW_S, StillFleet, gpu, gpu_process, model, painted, replica, shows, until
from tests.screens import example

pytestmark = pytest.mark.anyio


def bar(width: int = 20, **mib: float) -> str:
    return "".join(text for text, _ in ledger(gpu(0, **mib), width))


def test_the_ledger_shows_ours_claimed_strangers_and_free() -> None:
    assert bar(used_mib=32_768.0, ours_mib=24_576.0, claimed_mib=40_960.0) == "██████▒▒▒▒xx········"
    assert bar(used_mib=200.0, ours_mib=0.0) == "x" + "·" * 19
    assert bar(used_mib=0.0) == "·" * 20
    assert bar(used_mib=81_920.0, ours_mib=81_920.0, claimed_mib=90_000.0) == "█" * 20
    assert "?" in "".join(text for text, _ in ledger(gpu(0, used_mib=None), 20))


async def test_news_are_said_and_quiet_gpus_say_nothing() -> None:
    app = Console(example.fleet())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("3")
        await shows(pilot, "throttle ~ thermal 3m12s, 5 % of 1 h")
        await shows(pilot, "link x8 of x16: slow lane")
        assert sum("throttle ~" in text for text in painted(app)) == 1
        await shows(pilot, "used 73.2  claimed 73.6  others 0.4  free 5.0 of 80.0 GiB")


async def test_metric_span_and_zoom() -> None:
    app = Console(example.fleet())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("3", "m")
        await shows(pilot, "m metric: VRAM   < > span 2 min")
        await pilot.press("greater_than_sign", "greater_than_sign", "greater_than_sign")
        await shows(pilot, "span 1 h")
        await pilot.press("less_than_sign")
        await shows(pilot, "span 10 min")
        await pilot.press("j", "enter")
        await shows(pilot, "heat  0 to 100 °C, 10 min")
        assert not any("GPU-8c1f2a44" in text for text in painted(app))
        await pilot.press("enter")
        await shows(pilot, "GPU-8c1f2a44")


async def test_blocks_scroll_with_the_cursor_and_panels_stay() -> None:
    many = tuple(gpu(index, key=f"GPU-{index:02}-of-many", util_pct=1.0) for index in range(16))
    app = Console(StillFleet(model("m"), gpus=many, gpu_processes=example.PROCESSES))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await shows(pilot, " 0   1 %")
        await pilot.press(*"j" * 15)
        await shows(pilot, " 15   1 %")
        await shows(pilot, "llama33-70b-c6h2w")
        await pilot.press(*"k" * 15)
        await shows(pilot, " 0   1 %")


async def test_kill_asks_and_names_the_process() -> None:
    fleet = example.fleet()
    async with Console(fleet).run_test(size=(120, 40)) as pilot:
        await pilot.press("3", "j", "j", "K")
        await shows(pilot, "Kill qwen3-32b-x7k2q")
        await pilot.press("n")
        await pilot.press("tab", "G", "K")
        await shows(pilot, "SIGKILL to process 3122: Xorg, of root.")
        await pilot.press("y")
        await until(pilot, lambda: fleet.gpus.asked)
    assert fleet.gpus.asked == [("kill", 3_122)]


async def test_a_refused_kill_is_a_toast() -> None:
    fleet = example.fleet()
    fleet.gpus.refusals["kill"] = "3122 belongs to root: not ours to kill"
    async with Console(fleet).run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.press("3", "tab", "G", "K", "y")
        await shows(pilot, "3122 belongs to root: not ours to kill")


async def test_logs_of_the_replica_on_the_selected_gpu() -> None:
    async with Console(example.fleet()).run_test(size=(120, 40)) as pilot:
        await pilot.press("3", "j", "j", "l")
        await shows(pilot, "qwen3-32b-x7k2q")
        await until(pilot, lambda: type(pilot.app.screen).__name__ == "LogsScreen")


async def test_without_a_gpu_it_says_why_and_shows_what_runs_instead() -> None:
    fleet = StillFleet(model("smollm2"), gpu_panel=example.NO_GPU, host=example.HOST)
    app = Console(fleet)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3", "m", "j", "enter", "K", "l", "c")
        await shows(pilot, "no NVIDIA GPU: libnvidia-ml.so.1 not found")
        assert not any("Processes" in text or "GPU events" in text for text in painted(pilot.app))
        await shows(pilot, "Models run on the CPU.")
        await shows(pilot, "RAM  21.4/64.0 GiB")
        await shows(pilot, "smollm2  11.2 cores, 0.4 GiB")


async def test_a_lost_gpu_keeps_its_place_and_its_figures_are_unknown() -> None:
    lost = replace(gpu(1, lost="Xid 79, fell off the bus"), util_pct=None, used_mib=None, power_w=None)
    app = Console(StillFleet(model("m"), gpus=(gpu(0), lost)))
    for size in ((80, 24), (120, 40)):
        async with app.run_test(size=size) as pilot:
            await pilot.press("3")
            await shows(pilot, "! lost  Xid 79, fell off the bus")
        app = Console(StillFleet(model("m"), gpus=(gpu(0), lost)))


async def test_a_stale_panel_says_so_at_every_figure() -> None:
    silent = gpu(0, util_pct=74.0, used_mib=40_960.0, stale=True)
    async with Console(StillFleet(model("m"), gpus=(silent,))).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "GPU 74? %")
        await pilot.press("3")
        await shows(pilot, "74? %   40? °C   60?/400 W")


async def test_processes_on_shared_gpus_sort_and_filter() -> None:
    rows = (gpu_process(1, replica="a-x", used_mib=10.0), gpu_process(2, replica="b-y", used_mib=99_999.0))
    fleet = StillFleet(model("m"), gpus=(gpu(0),), gpu_processes=rows, replicas=(replica("a-x", "m"),), at_s=NOW_S)
    app = Console(fleet)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("3", "tab", "o", "i")
        await shows(pilot, "GiB ↓")
        order = [text for text in painted(app) if "-x " in text or "-y " in text]
        assert "b-y" in order[0]
