"""GPUs, their processes and the host as a screen shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuView:
    """One GPU; `None` is unknown."""

    key: str
    """UUID."""
    version: int
    index: int
    name: str
    node: str = ""
    util_pct: float | None = None
    used_mib: float | None = None
    """By everybody."""
    ours_mib: float | None = None
    """Used by our replicas."""
    claimed_mib: float = 0.0
    """What our replicas may take, at least what they use."""
    total_mib: float | None = None
    free_mib: float | None = None
    """What a new replica may take: neither used nor claimed, less a margin."""
    power_w: float | None = None
    power_limit_w: float | None = None
    temp_c: float | None = None
    sm_mhz: float | None = None
    max_sm_mhz: float | None = None
    pcie: str = ""
    """`4 x16`, `4 x8 of x16` when the link is narrower than it could be; empty when unknown."""
    throttle: str = ""
    """Reasons in force; empty when none is."""
    throttled_since_s: float | None = None
    throttled_share: float = 0.0
    """Of the last hour."""
    lost: str = ""
    models: tuple[str, ...] = ()
    """Names of the models on it: `llama33-70b 1/2` for one of several GPUs, `smollm2 x2` for several replicas."""
    stale: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuProcessView:
    """One process on GPUs."""

    key: str
    """`pid`."""
    version: int
    gpus: str
    """`0,1`."""
    pid: int
    user: str
    name: str
    ours: bool
    replica: str = ""
    model: str = ""
    used_mib: float | None = None
    sm_pct: float | None = None
    req_s: float | None = None
    tok_s: float | None = None
    kv_pct: float | None = None
    tok_per_j: float | None = None
    started_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """The machine itself."""

    cpu_name: str = ""
    cores: int = 0
    cpu_pct: float | None = None
    ram_used_mib: float | None = None
    ram_total_mib: float | None = None
    ram_free_mib: float | None = None
    """What a new replica may take: neither used nor claimed, less a margin."""
    sessions: tuple[tuple[str, float | None, float], ...] = ()
    """Per model with a local worker: name, CPU cores in use, resident MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuPanel:
    """What is true of all GPUs together."""

    source: str = ""
    """`nvml`, `fake`, `dcgm`, or empty without GPUs."""
    driver: str = ""
    notice: str = ""
    """Why there are no figures, in words; empty when there are."""
    warning: bool = False
    """The notice is trouble (`driver changed`), not a plain fact (`no NVIDIA GPU`)."""
    stale: bool = False
    energy_wh_today: float | None = None
    tok_per_j: float | None = None


class Gpus(Protocol):
    """What can be done to what runs on GPUs."""

    async def kill(self, pid: int) -> None:
        """SIGKILL a process of ours or of the user; raises `FleetError` when it may not."""
