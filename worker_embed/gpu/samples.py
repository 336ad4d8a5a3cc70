"""Figures of GPUs, of the host and of process sessions, as the sampler sends them once a second."""

from __future__ import annotations

import msgspec

ASKING = "asking the NVIDIA driver"
"""The notice while nobody knows yet whether there are GPUs."""
NO_GPU = "no NVIDIA GPU"
"""How a notice begins that is a plain fact, and no trouble."""


class GpuProcess(msgspec.Struct, frozen=True, array_like=True):
    """One process on one GPU."""

    pid: int
    session: int
    """Session id from /proc, 0 when the process is gone or not visible."""
    user: str
    name: str
    used_mib: float | None
    sm_pct: float | None


class GpuSample(msgspec.Struct, frozen=True, array_like=True):
    """One GPU at one moment; `None` is unknown or not supported, never zero."""

    uuid: str
    index: int
    name: str
    util_pct: float | None
    used_mib: float | None
    total_mib: float | None
    power_w: float | None
    power_limit_w: float | None
    temp_c: float | None
    sm_mhz: float | None
    max_sm_mhz: float | None
    throttle: tuple[str, ...]
    """Reasons in force: `thermal`, `power cap`, `hw slowdown`, `power brake`."""
    pcie: str
    """`4 x16`, empty when unknown; `4 x8 of x16` when the link is narrower than it could be."""
    energy_j: float | None
    processes: tuple[GpuProcess, ...]
    lost: str = ""
    """Why the GPU cannot be read any more (`Xid 79, fell off the bus`); its figures are then None."""
    free_mib: float | None = None
    """What can still be allocated; less than total - used by what the driver keeps for itself."""


class SessionSample(msgspec.Struct, frozen=True, array_like=True):
    """CPU and memory of all processes of one session."""

    session: int
    cpu_cores: float | None
    """Cores in use since the sample before; `None` in the first."""
    rss_mib: float


class HostSample(msgspec.Struct, frozen=True, array_like=True):
    """The machine itself."""

    cpu_name: str
    cores: int
    cpu_pct: float | None
    ram_used_mib: float
    ram_total_mib: float
    sessions: tuple[SessionSample, ...]


class GpuEvent(msgspec.Struct, frozen=True, array_like=True):
    """Something that NVML reported: an Xid, an ECC error."""

    at: float
    uuid: str
    kind: str
    message: str


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One line of the sampler's output."""

    at: float
    """Unix seconds."""
    interval_s: float
    source: str
    """`nvml`, `fake` (a labelled double) or `none`."""
    driver: str
    notice: str
    """Why there are no GPU figures, in words for a user; empty when there are."""
    host: HostSample
    gpus: tuple[GpuSample, ...]
    events: tuple[GpuEvent, ...] = ()
