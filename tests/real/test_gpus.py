"""A box with GPUs, on a stand-in for NVML that follows real processes: where replicas go, and what becomes of them."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from operator_embed.fleet.fleet import FleetView
from operator_embed.fleet.gpus import GpuView
from operator_embed.fleet.models import ReplicaView, Scale
from tests.gpu.fake import COMPILER, FakeNvml
from tests.real.box import Box, find, manifest, replicas_of, running_box
from tests.real.clients import Asked, Clients
from worker_embed.gpu.placement import gib
from worker_embed.process import proc

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.realmodel,
    pytest.mark.skipif(not COMPILER, reason="no C compiler to build the stand-in for libnvidia-ml"),
]

WEIGHTS = Path("assets/models/smollm2-135m-instruct-q4_1.gguf").absolute()
KEY = "default/smol"
SMALL: dict[str, Any] = {"engine": "llama", "source": str(WEIGHTS), "contextLength": 512, "parallel": 1}
BOX = ("driver 580.95", "gpus 3 4096 FAKE A100-PCIE-4GB", "* reserved 0", "* follow pinned")
GPU_1_IS_TIGHT = ("1 process 1 1800 0", "2 process 1 3500 0")
ALL_FULL = ("0 process 1 3000 0", "1 process 1 3000 0", "2 process 1 3500 0")


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeNvml]:
    with tempfile.TemporaryDirectory(prefix="upl-nvml-") as folder:
        yield FakeNvml(Path(folder), *BOX, *GPU_1_IS_TIGHT)


@pytest.fixture(scope="module")
async def box(fake: FakeNvml) -> AsyncIterator[Box]:
    async with running_box(**fake.env) as made:
        await made.apply(manifest("smol", gpus=1, **SMALL))
        yield made


def gpu(view: FleetView, index: int) -> GpuView:
    return next(row for row in view.gpus if row.index == index)


def on(view: FleetView, replica: ReplicaView) -> GpuView:
    return gpu(view, int(replica.place.removeprefix("GPU ")))


def waiting(view: FleetView) -> Sequence[ReplicaView]:
    return [row for row in replicas_of(view, KEY) if row.reason == "NothingFits"]


def events(view: FleetView, reason: str) -> Sequence[str]:
    return [f"{event.source}: {event.message}" for event in view.events if event.reason == reason]


def failures(view: FleetView, reason: str) -> Sequence[str]:
    return [f"{'!' if f.severe else '~'} {f.subject}: {f.message}" for f in view.failures if f.reason == reason]


@contextlib.asynccontextmanager
async def load(clients: Clients, count: int = 1) -> AsyncIterator[None]:
    """That many clients at once, each with one question after the other."""

    async def client() -> None:
        while True:
            await clients.put(Asked(stream=True), "smol", "Tell a story", max_tokens=400)

    asking = [asyncio.create_task(client()) for _ in range(count)]
    yield
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)


async def test_a_replica_is_pinned_to_the_tightest_gpu_that_holds_it(box: Box) -> None:
    (replica,) = await box.running(KEY)
    assert replica.place == "GPU 1"
    view = await box.until(lambda view: abs((gpu(view, 1).used_mib or 0) - 1800 - (gpu(view, 1).ours_mib or 0)) < 1)
    pinned = gpu(view, 1)
    for pid in (box.pids()[replica.key], box.engine_pid(replica.key)):
        environ = proc.environ(pid)
        assert (environ["CUDA_VISIBLE_DEVICES"], environ["CUDA_DEVICE_ORDER"]) == (pinned.key, "PCI_BUS_ID")
    assert pinned.models == ("smol",)
    assert "computes on the CPU only: the GPU is held and not used" in box.model(KEY).why
    assert view.context.headline == "FAKE GPU"
    assert (view.gpu_panel.source, view.gpu_panel.driver) == ("fake", "580.95")
    assert pinned.claimed_mib >= (pinned.ours_mib or 0) > 50
    assert pinned.free_mib == pytest.approx(4096 - 1024 - 1800 - pinned.claimed_mib, abs=1)
    assert gpu(view, 2).free_mib == 0, "a stranger has the rest"
    assert any(row.replica == replica.key and row.gpus == "1" for row in view.gpu_processes)
    assert any(row.pid == 1 and not row.ours for row in view.gpu_processes)


async def test_load_moves_the_bar_and_what_was_measured_is_the_next_claim(box: Box, clients: Clients) -> None:
    async with load(clients):
        await box.until(lambda view: (gpu(view, 1).util_pct or 0) > 30 and (box.model(KEY).busy_pct or 0) > 30)
        view = await box.until(lambda view: (replicas_of(view, KEY)[0].tok_per_j or 0) > 0)
        assert (view.gpu_panel.tok_per_j or 0) > 0
        await box.until(lambda view: (view.gpu_panel.energy_wh_today or 0) > 0)
    view = await box.until(lambda view: (gpu(view, 1).util_pct or 0) < 5 and box.model(KEY).backlog == 0)
    assert max(h or 0 for h in box.fleet.history(f"gpu/{gpu(view, 1).key}/util", 60, 60)) > 30
    need = box.model(KEY).need
    assert not need.estimated
    assert need.mem_mib == pytest.approx(replicas_of(view, KEY)[0].mem_mib, abs=40)
    preview = await box.fleet.models.preview(KEY, Scale(replicas=2))
    assert [(line.place, line.fits, line.estimated) for line in preview.lines] == [("GPU 1", True, False)] * 2


async def test_a_replica_that_fits_nowhere_says_why_and_starts_once_it_does(box: Box, fake: FakeNvml) -> None:
    fake.write(*BOX, *ALL_FULL)
    await box.until(lambda view: (gpu(view, 0).free_mib or 0) < 100)
    (first,) = await box.running(KEY)
    await box.fleet.models.scale(KEY, Scale(replicas=2))
    view = await box.until(lambda view: waiting(view) and box.model(KEY).degraded == "NothingFits")
    (second,), need = waiting(view), box.model(KEY).need.mem_mib or 0
    reason = f"replica 2 needs {gib(need)} on one GPU; most free is GPU 0: {gib(gpu(view, 0).free_mib or 0)}"
    assert (second.state, second.message, second.place) == ("Pending", reason, "")
    assert box.model(KEY).state == "Running"
    assert f"NothingFits: {reason}. Next: free memory" in box.model(KEY).why
    assert failures(view, "NothingFits") == [f"~ smol: {reason}"]
    assert second.mem_mib == need
    preview = await box.fleet.models.preview(KEY, Scale(replicas=2))
    assert preview.lines[1].text == f"does not fit: the most free is GPU 0 with {gib(gpu(view, 0).free_mib or 0)}"
    assert preview.advice == (), "nothing idle is there to make room"
    fake.write(*BOX, "1 process 1 3000 0", "2 process 1 3500 0")
    replicas = await box.running(KEY, 2)
    assert {(row.key, row.place) for row in replicas} == {(first.key, "GPU 1"), (second.key, "GPU 0")}
    assert box.model(KEY).degraded == ""
    await box.fleet.models.scale(KEY, Scale(replicas=1))
    await box.running(KEY)


async def test_the_autoscaler_is_bound_by_the_gpus(box: Box, fake: FakeNvml, clients: Clients) -> None:
    await box.running(KEY)
    fake.write(*BOX, *ALL_FULL)
    await box.until(lambda view: (gpu(view, 0).free_mib or 0) < 100)
    await box.apply(manifest("smol", gpus=1, msgBacklogThreshold=1, maxReplicas=4, cooldownSeconds=0, **SMALL))

    def scaling(view: FleetView) -> str:
        active = [c for c in box.model(KEY).conditions if c.type == "ScalingActive"]
        return f"{active[0].reason}: {active[0].message}" if active else ""

    async with load(clients, 3):
        view = await box.until(lambda view: scaling(view) == "BoundByGPU: backlog 3 / 1 = 3, 1 fits")
        assert (box.model(KEY).desired, len(waiting(view))) == (2, 1), "one waits for room, not two"
    await box.until(lambda view: scaling(view).startswith("Backlog: backlog 0") and box.model(KEY).desired == 1)
    await box.apply(manifest("smol", gpus=1, **SMALL))
    await box.running(KEY)


async def test_a_lost_gpu_gives_its_replica_to_another_one(box: Box, fake: FakeNvml, clients: Clients) -> None:
    (before,) = await box.running(KEY)
    fake.write(*BOX)
    index = on(box.fleet.view(), before).index
    asking = asyncio.create_task(clients.ask("smol", "Tell a story", max_tokens=100))
    await box.until(lambda view: replicas_of(view, KEY)[0].busy)
    fake.write(*BOX, f"{index} lost", f"xid {index} 79")
    await box.until(lambda view: any(r.key == before.key and r.reason == "GPULost" for r in replicas_of(view, KEY)))
    view = await box.until(lambda view: "Xid 79" in gpu(view, index).lost)
    assert gpu(view, index).util_pct is None
    assert failures(view, "Lost") == [f"! GPU {index}: Xid 79, fell off the bus"]
    (after,) = await box.running(KEY)
    assert after.place != before.place
    assert (await asking).done, "this GPU only says that it is lost"
    view = box.fleet.view()
    assert f"GPU {index}: fell off the bus; {before.key} was on it" in events(view, "Xid 79")
    assert any(text.startswith(f"launcher: GPU {index} is lost: ") for text in events(view, "GPULost"))
    fake.write(*BOX)


async def test_a_throttled_gpu_is_a_failure_while_it_lasts(box: Box, fake: FakeNvml) -> None:
    fake.write(*BOX, "0 throttle 0x20", "0 temp 84", "0 sm 1155")
    view = await box.until(lambda view: failures(view, "Throttled") and gpu(view, 0).temp_c == 84)
    assert failures(view, "Throttled")[0].startswith("~ GPU 0: thermal at 84 °C: 1155 of 1410 MHz")
    throttled = gpu(view, 0)
    assert throttled.throttle == "thermal"
    assert throttled.throttled_since_s is not None
    assert view.at_s - 30 < throttled.throttled_since_s <= view.at_s
    fake.write(*BOX)
    await box.until(lambda view: not failures(view, "Throttled"))
    assert len(events(box.fleet.view(), "Throttled")) == 1


async def test_a_changed_driver_stops_no_model_and_is_read_again(box: Box, fake: FakeNvml, clients: Clients) -> None:
    fake.write(*BOX, "driver mismatch")
    view = await box.until(lambda view: "does not match" in view.gpu_panel.notice)
    assert view.gpu_panel.warning
    assert [row.util_pct for row in view.gpus] == [None] * 3
    assert failures(view, "Unreadable")
    await box.running(KEY)
    assert (await clients.ask("smol", max_tokens=2)).done
    fake.write(*BOX, "driver 590.12")
    view = await box.until(lambda view: not view.gpu_panel.notice and gpu(view, 0).util_pct is not None)
    assert view.gpu_panel.driver == "590.12"
    await box.until(lambda view: not failures(view, "Unreadable") and not failures(view, "Lost"))


async def test_what_cannot_use_a_gpu_claims_none(box: Box) -> None:
    """The wheel of PyPI computes on the CPU only: a model that says nothing about GPUs is not placed on one."""
    await box.apply(manifest("plain", **SMALL))
    (replica,) = await box.running("default/plain")
    assert replica.place == "CPU"
    assert proc.environ(box.pids()[replica.key])["CUDA_VISIBLE_DEVICES"] == ""
    view = box.fleet.view()
    assert all("plain" not in row.models for row in view.gpus)
    assert next(source.text for source in view.sources if source.key == "llama").endswith(", CPU only")
    await box.fleet.models.delete("default/plain")
    await box.until(lambda view: find(view, "default/plain") is None)


async def test_a_box_without_the_library_says_so() -> None:
    with tempfile.TemporaryDirectory() as empty:
        async with running_box(LD_LIBRARY_PATH=empty) as box:
            await box.apply(manifest("smol", gpus=1, **SMALL))
            view = await box.until(lambda view: waiting(view))
            notice = "no NVIDIA GPU: libnvidia-ml.so.1 not found"
            assert (view.gpu_panel.notice, view.gpu_panel.warning, view.gpus) == (notice, False, ())
            assert waiting(view)[0].message == f"replica 1 needs 1 GPU; {notice}"
            assert view.host.cores > 0
