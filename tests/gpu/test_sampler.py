"""The sampler process over real pynvml and the stand-in library, and over no library at all."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from ctypes.util import find_library

import pytest

from tests.gpu.conftest import BURNS, CHILD_BURNS, SLEEPS
from tests.gpu.fake import FakeNvml
from worker_embed.gpu.feed import SamplerFeed
from worker_embed.gpu.samples import Sample

pytestmark = pytest.mark.anyio

GPU_0 = "GPU-fa4e0000-0000-4000-8000-000000000000"
ONE_GPU = "gpus 1 81920 FAKE A100-SXM4-80GB"
TWO_GPUS = "gpus 2 81920 FAKE A100-SXM4-80GB"


class Seen:
    """A feed and what it told."""

    def __init__(self, feed: SamplerFeed) -> None:
        self.feed = feed
        self.all: list[Sample] = []
        self._samples = feed.samples()

    async def until(self, happened: Callable[[Sample], object]) -> Sample:
        """Read on until a sample for which `happened`; fails after 15 s."""
        async with asyncio.timeout(15):
            async for sample in self._samples:
                self.all.append(sample)
                if happened(sample):
                    return sample
        raise AssertionError("the feed ended")

    async def figures(self) -> Sample:
        """The next sample with figures of all GPUs."""
        return await self.until(lambda sample: sample.gpus and not sample.notice)

    async def verdict(self) -> Sample:
        """The next sample after it became clear whether there are GPUs."""
        return await self.until(lambda sample: sample.notice != "asking the NVIDIA driver")

    async def more(self, count: int) -> None:
        """Read on for some samples."""
        until = len(self.all) + count
        await self.until(lambda _: len(self.all) >= until)


@asynccontextmanager
async def sampling(env: Mapping[str, str], interval_s: float = 0.1) -> AsyncIterator[Seen]:
    feed = SamplerFeed(env, interval_s=interval_s)
    try:
        yield Seen(feed)
    finally:
        await feed.close()


async def test_every_figure_of_a_gpu_is_told(fake: FakeNvml) -> None:
    fake.write(
        "driver 580.95",
        TWO_GPUS,
        "* reserved 600",
        "1 util 94",
        "1 used 24166",
        "1 power 392.5",
        "1 temp 67",
        "1 sm 1155",
        "1 throttle 0x20",
        "1 width 8",
    )
    async with sampling(fake.env) as seen:
        sample = await seen.figures()
    idle, gpu = sample.gpus
    assert (sample.source, sample.driver, sample.notice) == ("fake", "580.95", "")
    assert (gpu.name, gpu.index, gpu.uuid[:12]) == ("FAKE A100-SXM4-80GB", 1, "GPU-fa4e0001")
    assert (gpu.util_pct, gpu.used_mib, gpu.free_mib, gpu.total_mib) == (94, 24166, 81920 - 24166 - 600, 81920)
    assert (gpu.power_w, gpu.power_limit_w, gpu.temp_c, gpu.sm_mhz, gpu.max_sm_mhz) == (392.5, 400, 67, 1155, 1410)
    assert (gpu.throttle, gpu.pcie, idle.throttle, idle.pcie) == (("thermal",), "4 x8 of x16", (), "4 x16")
    assert gpu.energy_j is not None
    assert (idle.util_pct, idle.used_mib, idle.processes) == (0, 0, ())


async def test_energy_grows_by_the_power_that_is_drawn(fake: FakeNvml) -> None:
    fake.write(ONE_GPU, "0 power 1000")
    async with sampling(fake.env) as seen:
        first = (await seen.figures()).gpus[0].energy_j or 0
        await seen.until(lambda sample: (sample.gpus[0].energy_j or 0) > first + 100)


async def test_load_of_a_real_session_moves_the_gpu(fake: FakeNvml, session: Callable[..., int]) -> None:
    """The process on the GPU is a grandchild, as with real engines: it is told by its session."""
    leader = session(CHILD_BURNS)
    fake.write(ONE_GPU, f"0 follow {leader} 100")
    async with sampling(fake.env) as seen:
        seen.feed.watch([leader])
        busy = await seen.until(lambda sample: (sample.gpus[0].util_pct or 0) > 5)
        gpu = busy.gpus[0]
        assert (gpu.power_w or 0) > 60
        assert {process.session for process in gpu.processes} == {leader}
        assert len(gpu.processes) == 2
        assert leader in {process.pid for process in gpu.processes}
        assert sum(process.used_mib or 0 for process in gpu.processes) == pytest.approx(gpu.used_mib, rel=0.1)
        burning = await seen.until(lambda sample: any(p.sm_pct for p in sample.gpus[0].processes))
        assert {p.pid for p in burning.gpus[0].processes if p.sm_pct} & {leader} == set()
        os.killpg(leader, signal.SIGSTOP)
        await seen.until(lambda sample: sample.gpus[0].util_pct == 0)


async def test_a_process_pinned_to_a_gpu_shows_on_that_gpu_only(fake: FakeNvml, session: Callable[..., int]) -> None:
    fake.write(TWO_GPUS, "* follow pinned")
    leader = session(SLEEPS, CUDA_VISIBLE_DEVICES="GPU-fa4e0001-0000-4000-8000-000000000001", **fake.env)
    async with sampling(fake.env) as seen:
        sample = await seen.until(lambda sample: sample.gpus[1].processes)
    (process,) = sample.gpus[1].processes
    assert (process.pid, process.session, process.name[:6]) == (leader, leader, "python")
    assert process.user
    assert sample.gpus[0].processes == ()


async def test_strangers_and_processes_without_figures(fake: FakeNvml) -> None:
    gone = 4_000_000
    fake.write(ONE_GPU, f"0 process {os.getpid()} -1 150", f"0 draws {gone} 400", f"0 process {gone + 1} 100 7")
    async with sampling(fake.env) as seen:
        sample = await seen.figures()
    ours, drawing, computing = sample.gpus[0].processes
    assert (ours.session, ours.used_mib) == (os.getsid(0), None)
    assert ours.sm_pct == 0, "more than 100 % is a stale entry of the driver"
    assert (drawing.session, drawing.user, drawing.used_mib) == (0, "", 400)
    assert (computing.used_mib, computing.sm_pct) == (100, 7)


async def test_what_a_gpu_does_not_support_is_unknown_and_asked_once(fake: FakeNvml) -> None:
    unsupported = ["nvmlDeviceGetPowerUsage", "nvmlDeviceGetProcessUtilization", "nvmlDeviceGetMemoryInfo_v2"]
    fake.write(
        ONE_GPU, "0 used 1000", f"0 process {os.getpid()} 1000 50", *(f"notsup {function}" for function in unsupported)
    )
    async with sampling(fake.env) as seen:
        await seen.more(6)
        sample = await seen.figures()
    gpu = sample.gpus[0]
    assert (gpu.power_w, gpu.processes[0].sm_pct) == (None, None)
    assert (gpu.used_mib, gpu.free_mib) == (1512, 81920 - 1512), "version 1 counts what the driver keeps as used"
    assert [fake.calls()[function] for function in unsupported] == [1, 1, 1]


async def test_what_an_old_driver_lacks_is_unknown(fake: FakeNvml) -> None:
    lacks = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetMemoryInfo_v2", "nvmlEventSetCreate")
    old = FakeNvml(fake.folder, ONE_GPU, "0 throttle 0x4", "0 util 12", missing=lacks)
    async with sampling(old.env) as seen:
        sample = await seen.figures()
    gpu = sample.gpus[0]
    assert (gpu.throttle, gpu.util_pct, gpu.total_mib) == (("power cap",), 12, 81920)


async def test_a_gpu_without_memory_of_its_own_shows_that_of_the_host(fake: FakeNvml) -> None:
    fake.write(ONE_GPU, "0 unified")
    async with sampling(fake.env) as seen:
        sample = await seen.figures()
    assert sample.gpus[0].total_mib == sample.host.ram_total_mib
    assert sample.gpus[0].free_mib is not None


async def test_a_lost_gpu_keeps_its_row_and_others_go_on(fake: FakeNvml) -> None:
    fake.write(TWO_GPUS, "* util 50")
    async with sampling(fake.env) as seen:
        await seen.until(lambda sample: sample.gpus[0].util_pct == 50)
        fake.write(TWO_GPUS, "* util 60", "0 lost", "xid 0 79")
        sample = await seen.until(lambda sample: sample.gpus[0].lost.startswith("Xid") and not sample.gpus[1].lost)
        assert (sample.gpus[0].lost, sample.gpus[0].util_pct) == ("Xid 79, fell off the bus", None)
        assert sample.gpus[0].name == sample.gpus[1].name
        await seen.until(lambda sample: sample.gpus[1].util_pct == 60)
        fake.write(TWO_GPUS, "* util 70", "xid 0 79")
        back = await seen.until(lambda sample: not sample.gpus[0].lost)
        assert back.gpus[0].util_pct == 70


async def test_a_gpu_that_needs_a_reset_says_so(fake: FakeNvml) -> None:
    fake.write(ONE_GPU)
    async with sampling(fake.env) as seen:
        await seen.figures()
        fake.write(ONE_GPU, "0 reset")
        sample = await seen.until(lambda sample: sample.gpus[0].lost)
    assert sample.gpus[0].lost == "needs a reset: nvidia-smi --gpu-reset"


async def test_xids_and_memory_errors_arrive_once(fake: FakeNvml) -> None:
    fake.write(TWO_GPUS, "xid 0 43")
    async with sampling(fake.env) as seen:
        await seen.figures()
        fake.write(TWO_GPUS, "xid 0 43", "xid 1 31", "ecc 0")
        await seen.until(lambda sample: any(event.kind == "ECC" for event in sample.events))
        await seen.more(3)
    events = [(event.uuid[:12], event.kind, event.message) for sample in seen.all for event in sample.events]
    assert events == [
        ("GPU-fa4e0001", "Xid 31", "memory page fault"),
        ("GPU-fa4e0000", "ECC", "double-bit memory error"),
    ], "the Xid that was there before anyone listened is not told"


async def test_a_new_process_reads_a_changed_driver(fake: FakeNvml) -> None:
    fake.write("driver 580.95", ONE_GPU, "0 util 20")
    async with sampling(fake.env) as seen:
        await seen.figures()
        before = seen.feed.pid
        fake.write("driver 590.12", ONE_GPU, "0 util 30")
        sample = await seen.until(lambda sample: sample.driver == "590.12")
        assert seen.feed.pid != before
    assert (sample.notice, sample.gpus[0].util_pct) == ("", 30)
    assert any(sample.notice.startswith("driver changed from 580.95") for sample in seen.all)


async def test_while_the_driver_does_not_fit_the_host_goes_on_and_rows_stay(fake: FakeNvml) -> None:
    fake.write(ONE_GPU, "0 util 20")
    async with sampling(fake.env) as seen:
        await seen.figures()
        fake.write("driver mismatch", ONE_GPU)
        sample = await seen.until(lambda sample: "reading again in" in sample.notice)
        assert "does not match libnvidia-ml.so.1" in sample.notice
        assert (sample.source, sample.gpus[0].uuid, sample.gpus[0].util_pct) == ("fake", GPU_0, None)
        await seen.until(lambda sample: "reading again in" in sample.notice and sample.host.cpu_pct is not None)
        fake.write("driver 590.12", ONE_GPU, "0 util 40")
        sample = await seen.until(lambda sample: not sample.notice)
        assert (sample.driver, sample.gpus[0].util_pct) == ("590.12", 40)


async def test_a_driver_that_is_not_loaded_is_told(fake: FakeNvml) -> None:
    fake.write("driver gone")
    async with sampling(fake.env) as seen:
        sample = await seen.verdict()
    assert (sample.source, sample.notice, sample.gpus) == (
        "none",
        "no NVIDIA GPU: the NVIDIA driver is not loaded",
        (),
    )


async def test_a_driver_without_gpus_is_told(fake: FakeNvml) -> None:
    fake.write("gpus 0 0 none")
    async with sampling(fake.env) as seen:
        sample = await seen.verdict()
    assert sample.notice == "no NVIDIA GPU: driver 580.95 lists none"


@pytest.mark.skipif(find_library("nvidia-ml") is not None, reason="this machine has an NVIDIA driver")
async def test_without_a_library_the_host_is_measured_and_the_reason_told(session: Callable[..., int]) -> None:
    leader = session(BURNS)
    async with sampling({}) as seen:
        seen.feed.watch([leader])
        sample = await seen.until(lambda sample: any(one.cpu_cores for one in sample.host.sessions))
        assert (sample.source, sample.notice) == ("none", "no NVIDIA GPU: libnvidia-ml.so.1 not found")
        assert (sample.host.cores, sample.host.ram_total_mib > sample.host.ram_used_mib > 0) == (os.cpu_count(), True)
        (burning,) = sample.host.sessions
        assert (burning.session, burning.rss_mib > 3) == (leader, True)
        assert sample.host.cpu_pct
        seen.feed.watch([])
        await seen.until(lambda sample: sample.host.sessions == ())


async def test_a_call_that_hangs_takes_only_the_gpus_figures(fake: FakeNvml) -> None:
    fake.write(ONE_GPU, "0 util 20")
    async with sampling(fake.env) as seen:
        await seen.figures()
        fake.write(ONE_GPU, "0 util 20", "slow nvmlDeviceGetPowerUsage 1500")
        sample = await seen.until(lambda sample: sample.notice and sample.gpus[0].util_pct is None)
        assert sample.notice.startswith("the NVIDIA driver has not answered for ")
        assert (sample.gpus[0].util_pct, sample.gpus[0].name) == (None, "FAKE A100-SXM4-80GB")
        assert sample.host.cpu_pct is not None
        fake.write(ONE_GPU, "0 util 30")
        await seen.until(lambda sample: not sample.notice and sample.gpus[0].util_pct == 30)


async def test_slow_things_are_asked_seldom(fake: FakeNvml) -> None:
    fake.write(TWO_GPUS, "* util 20")
    started_s = time.monotonic()
    async with sampling(fake.env, interval_s=0.05) as seen:
        await seen.more(41)
    passed_s, calls, gpus = time.monotonic() - started_s, fake.calls(), 2
    sweeps = calls["nvmlDeviceGetUtilizationRates"] / gpus
    assert sweeps <= passed_s / 0.05 + 1
    assert calls["nvmlDeviceGetPowerUsage"] <= (sweeps + 1) * gpus
    for half in ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetProcessUtilization"):
        assert calls[half] <= (sweeps / 2 + 1) * gpus
    for slow in ("nvmlDeviceGetCurrPcieLinkWidth", "nvmlDeviceGetGraphicsRunningProcesses_v3"):
        assert gpus < calls[slow] <= (sweeps / 10 + 1) * gpus
    for once in ("nvmlDeviceGetName", "nvmlDeviceGetUUID", "nvmlDeviceGetMaxClockInfo"):
        assert calls[once] == gpus
    assert calls["nvmlEventSetWait_v2"] <= passed_s / 2 + 1, "a wait blocks for its time"


async def test_a_killed_sampler_is_started_again(fake: FakeNvml) -> None:
    fake.write(ONE_GPU, "0 util 20")
    async with sampling(fake.env) as seen:
        for _ in range(2):
            await seen.until(lambda sample: not sample.notice)
            assert seen.feed.pid
            os.kill(seen.feed.pid, signal.SIGKILL)
        sample = await seen.until(lambda sample: "reading again" in sample.notice)
        assert sample.notice == "the GPU sampler ended (SIGKILL), reading again in 1s"
        assert sample.gpus[0].util_pct is None
        await seen.until(lambda sample: not sample.notice and sample.gpus[0].util_pct == 20)


async def test_the_sampler_dies_with_its_parent() -> None:
    code = """
import asyncio
from worker_embed.gpu.feed import SamplerFeed

async def main():
    feed = SamplerFeed({})
    async for _ in feed.samples():
        print(feed.pid, flush=True)

asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout
    sampler = os.pidfd_open(int(await parent.stdout.readline()))
    try:
        parent.kill()
        await parent.wait()
        assert select.select([sampler], [], [], 10)[0], "it outlived its parent"
    finally:
        os.close(sampler)


async def test_the_sampler_ends_when_nobody_listens(fake: FakeNvml) -> None:
    async with sampling(fake.env) as seen:
        await seen.figures()
        pid = seen.feed.pid
        assert pid
        await seen.feed.close()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        with pytest.raises(AssertionError, match="the feed ended"):
            await seen.until(lambda _: False)
