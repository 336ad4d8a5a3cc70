"""All GPUs of the machine, each figure as often as it is worth its cost."""

from __future__ import annotations

import pwd
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import msgspec

from worker_embed.gpu.host import MIB, PROC, session_of
from worker_embed.gpu.nvml import DriverChanged, GpuLost, Nvml
from worker_embed.gpu.samples import GpuProcess, GpuSample

EVERY_2, EVERY_10 = 2, 10
"""Sweeps between two askings: a list of processes takes 4.5 ms in the driver, the rest of a sweep 0.1 ms a GPU."""
STALE_SWEEPS = 3
ALL_LOST_SWEEPS = 30

SENSOR_GPU, CLOCK_SM = 0, 1
MEMORY_V2 = 0x02000028
SW_POWER_CAP, HW_SLOWDOWN, SW_THERMAL, HW_THERMAL, POWER_BRAKE = 0x4, 0x8, 0x20, 0x40, 0x80
COMPUTING = ("nvmlDeviceGetComputeRunningProcesses_v3",)
OTHERS = ("nvmlDeviceGetGraphicsRunningProcesses_v3", "nvmlDeviceGetMPSComputeRunningProcesses_v3")


def throttle_names(reasons: int) -> tuple[str, ...]:
    """What slows the clocks down, of NVML's bit mask; idling and chosen clocks are no such thing."""
    names = []
    if reasons & (SW_THERMAL | HW_THERMAL):
        names.append("thermal")
    if reasons & SW_POWER_CAP:
        names.append("power cap")
    if reasons & POWER_BRAKE:
        names.append("power brake")
    if reasons & HW_SLOWDOWN and not reasons & (HW_THERMAL | POWER_BRAKE):
        names.append("hw slowdown")
    return tuple(names)


def blank(row: GpuSample, lost: str = "") -> GpuSample:
    """The same GPU with nothing known but what it is."""
    return GpuSample(
        uuid=row.uuid,
        index=row.index,
        name=row.name,
        util_pct=None,
        used_mib=None,
        total_mib=row.total_mib,
        power_w=None,
        power_limit_w=row.power_limit_w,
        temp_c=None,
        sm_mhz=None,
        max_sm_mhz=row.max_sm_mhz,
        throttle=(),
        pcie="",
        energy_j=None,
        processes=(),
        lost=lost or row.lost,
    )


@cache
def user_name(uid: int) -> str:
    """Name of a user, or the number when nobody has it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@dataclass(slots=True)
class Gpu:
    """One GPU between two sweeps."""

    handle: Any
    row: GpuSample
    read_s: float = 0.0
    """Monotonic time of the newest figures."""
    newest_use: int = 0
    """Driver's time stamp (us) of the newest process utilization seen."""
    power_limit_w: float | None = None
    temp_c: float | None = None
    energy_j: float | None = None
    pcie: str = ""
    others: dict[int, float | None] = field(default_factory=dict)
    """MiB by pid of those that draw or go through MPS."""
    processes: tuple[GpuProcess, ...] = ()
    sweeps: int = 0


class GpuReader:
    """Reads every GPU that NVML lists; one that is lost keeps its row and is tried again now and then."""

    def __init__(self, nvml: Nvml, ram_mib: Callable[[], tuple[float, float]]) -> None:
        self._nvml = nvml
        self._ram_mib = ram_mib
        """Used and total: the memory of GPUs that have none of their own."""
        found = (self._identify(index) for index in range(nvml.ask("nvmlDeviceGetCount") or 0))
        self.gpus = [gpu for gpu in found if gpu]
        self._lost_sweeps = 0

    def rows(self, now_s: float, interval_s: float) -> tuple[GpuSample, ...]:
        """The newest figures of each GPU; those that are older than three sweeps are not told any more."""
        oldest_s = now_s - STALE_SWEEPS * interval_s
        return tuple(gpu.row if gpu.read_s >= oldest_s else blank(gpu.row) for gpu in self.gpus)

    def sweep(self, clock: Callable[[], float]) -> None:
        """Read what is due of every GPU; raises `DriverChanged`, also when all have been lost for a while."""
        for gpu in self.gpus:
            if not gpu.row.lost or gpu.sweeps % EVERY_10 == 0:
                try:
                    gpu.row = self._read(gpu)
                except GpuLost as lost:
                    gpu.row = blank(gpu.row, str(lost))
                gpu.read_s = clock()
            gpu.sweeps += 1
        all_lost = bool(self.gpus) and all(gpu.row.lost for gpu in self.gpus)
        self._lost_sweeps = self._lost_sweeps + 1 if all_lost else 0
        if self._lost_sweeps > ALL_LOST_SWEEPS:
            raise DriverChanged("all GPUs are lost")

    def _identify(self, index: int) -> Gpu | None:
        try:
            handle = self._nvml.ask("nvmlDeviceGetHandleByIndex", index, of=index)
            uuid = self._nvml.ask("nvmlDeviceGetUUID", handle, of=index) if handle else None
            if not uuid:
                return None
            name = self._nvml.ask("nvmlDeviceGetName", handle, of=index)
            max_sm_mhz = self._nvml.ask("nvmlDeviceGetMaxClockInfo", handle, CLOCK_SM, of=index)
        except GpuLost:
            return None
        unread = GpuSample(
            uuid, index, name or "NVIDIA GPU", None, None, None, None, None, None, None, max_sm_mhz, (), "", None, ()
        )
        return Gpu(handle, unread)

    def _read(self, gpu: Gpu) -> GpuSample:
        if gpu.sweeps % EVERY_10 == 0:
            gpu.power_limit_w = thousandth(self._ask(gpu, "nvmlDeviceGetEnforcedPowerLimit"))
            gpu.pcie = self._link(gpu)
            gpu.others = self._listed(gpu, OTHERS)
        if gpu.sweeps % EVERY_2 == 0:
            gpu.temp_c = self._ask(gpu, "nvmlDeviceGetTemperature", SENSOR_GPU)
            gpu.energy_j = thousandth(self._ask(gpu, "nvmlDeviceGetTotalEnergyConsumption"))
            gpu.processes = self._processes(gpu)
        use = self._ask(gpu, "nvmlDeviceGetUtilizationRates")
        reasons = self._ask(gpu, "nvmlDeviceGetCurrentClocksEventReasons")
        if reasons is None:
            reasons = self._ask(gpu, "nvmlDeviceGetCurrentClocksThrottleReasons")
        used_mib, free_mib, total_mib = self._memory(gpu)
        return msgspec.structs.replace(
            gpu.row,
            util_pct=use and float(use.gpu),
            used_mib=used_mib,
            free_mib=free_mib,
            total_mib=total_mib,
            power_w=thousandth(self._ask(gpu, "nvmlDeviceGetPowerUsage")),
            power_limit_w=gpu.power_limit_w,
            temp_c=gpu.temp_c,
            sm_mhz=self._ask(gpu, "nvmlDeviceGetClockInfo", CLOCK_SM),
            throttle=throttle_names(reasons or 0),
            pcie=gpu.pcie,
            energy_j=gpu.energy_j,
            processes=gpu.processes,
            lost="",
        )

    def _ask(self, gpu: Gpu, function: str, *args: Any, known_as: str = "") -> Any:
        return self._nvml.ask(function, gpu.handle, *args, of=gpu.row.index, known_as=known_as)

    def _memory(self, gpu: Gpu) -> tuple[float | None, float | None, float | None]:
        """Used, free, total. Version 2 tells what the driver keeps apart from what is used."""
        function, function_v2 = "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetMemoryInfo_v2"
        memory = self._ask(gpu, function, MEMORY_V2, known_as=function_v2) or self._ask(gpu, function)
        if memory and memory.total:
            return memory.used / MIB, memory.free / MIB, memory.total / MIB
        if memory or not self._nvml.knows(function, gpu.row.index):
            used_mib, total_mib = self._ram_mib()
            return used_mib, total_mib - used_mib, total_mib
        return None, None, gpu.row.total_mib

    def _link(self, gpu: Gpu) -> str:
        """Generation that card and board agree on, as an idle GPU lowers the current one to save power."""
        generation = self._ask(gpu, "nvmlDeviceGetMaxPcieLinkGeneration")
        width = self._ask(gpu, "nvmlDeviceGetCurrPcieLinkWidth")
        full_width = self._ask(gpu, "nvmlDeviceGetMaxPcieLinkWidth")
        if not generation or not width:
            return ""
        return f"{generation} x{width}" + (f" of x{full_width}" if full_width and width < full_width else "")

    def _processes(self, gpu: Gpu) -> tuple[GpuProcess, ...]:
        used = gpu.others | self._listed(gpu, COMPUTING)
        busy = self._busy(gpu)
        return tuple(
            GpuProcess(pid, session_of(pid), *who(pid), used[pid], None if busy is None else busy.get(pid, 0.0))
            for pid in sorted(used)
        )

    def _listed(self, gpu: Gpu, lists: tuple[str, ...]) -> dict[int, float | None]:
        """MiB by pid; a process that is in two lists has the same memory in both."""
        found = (process for function in lists for process in self._ask(gpu, function) or ())
        return {one.pid: None if one.usedGpuMemory is None else one.usedGpuMemory / MIB for one in found}

    def _busy(self, gpu: Gpu) -> dict[int, float] | None:
        """Share of SM time by pid since the last asking; `None` where the GPU does not count it."""
        function = "nvmlDeviceGetProcessUtilization"
        samples = self._ask(gpu, function, gpu.newest_use)
        if samples is None and not self._nvml.knows(function, gpu.row.index):
            return None
        busy: dict[int, float] = {}
        for sample in sorted(samples or (), key=lambda sample: int(sample.timeStamp)):
            if sample.smUtil <= 100:  # the driver also hands out stale entries with impossible figures
                busy[sample.pid] = float(sample.smUtil)
                gpu.newest_use = max(gpu.newest_use, sample.timeStamp)
        return busy


def thousandth(value: int | None) -> float | None:
    """NVML tells milliwatts and millijoules."""
    return None if value is None else value / 1000


def who(pid: int) -> tuple[str, str]:
    """User and name of a process; empty when it is gone or not visible."""
    try:
        folder = PROC / str(pid)
        return user_name(folder.stat().st_uid), (folder / "comm").read_text(errors="replace").rstrip("\n")
    except OSError:
        return "", ""
