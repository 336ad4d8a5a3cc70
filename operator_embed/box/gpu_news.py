"""What happens to GPUs, as events, and since when it has been so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from operator_embed.box.events import Event
from worker_embed.gpu.samples import GpuSample, Sample

CALM_S = 10.0
"""A GPU at its limit is throttled on and off: only a longer pause ends what was told."""


@dataclass(slots=True)
class GpuNews:
    """Unix times since when something has been wrong, by UUID; `take` tells what is new."""

    throttled_s: dict[str, float] = field(default_factory=dict)
    lost_s: dict[str, float] = field(default_factory=dict)
    unread_s: float | None = None
    """Since when GPUs that are there cannot be read."""
    _throttled_last_s: dict[str, float] = field(default_factory=dict)

    def take(self, sample: Sample, replicas: Mapping[str, Sequence[str]]) -> Iterator[Event]:
        """Compare a sample with the one before; `replicas` by the GPU that they run on."""
        names = {gpu.uuid: f"GPU {gpu.index}" for gpu in sample.gpus}
        for event in sample.events:
            yield _event(names.get(event.uuid, "GPU"), event.kind, event.message, replicas.get(event.uuid, ()))
        if not sample.notice:
            self.unread_s = None
        elif sample.gpus and self.unread_s is None:
            self.unread_s = sample.at
            yield Event(reason="Unreadable", message=sample.notice, source="GPU", warning=True)
        for gpu in sample.gpus:
            yield from self._take(gpu, sample, replicas.get(gpu.uuid, ()))

    def _take(self, gpu: GpuSample, sample: Sample, replicas: Sequence[str]) -> Iterator[Event]:
        name, uuid = f"GPU {gpu.index}", gpu.uuid
        if gpu.lost and uuid not in self.lost_s:
            self.lost_s[uuid] = sample.at
            yield _event(name, "Lost", gpu.lost, replicas)
        elif uuid in self.lost_s and not gpu.lost and not sample.notice:
            del self.lost_s[uuid]
            yield Event(reason="Back", message="can be read again", source=name)
        if gpu.throttle:
            self._throttled_last_s[uuid] = sample.at
            if uuid not in self.throttled_s:
                self.throttled_s[uuid] = sample.at
                yield _event(name, "Throttled", _slow(gpu), replicas, severe=False)
        elif sample.at - self._throttled_last_s.get(uuid, sample.at) > CALM_S:
            del self.throttled_s[uuid], self._throttled_last_s[uuid]


def throttle_text(reasons: str, temp_c: float | None, sm_mhz: float | None, max_sm_mhz: float | None) -> str:
    """`thermal at 84 °C: 1155 of 1410 MHz`, as far as it is known."""
    heat = "" if temp_c is None else f" at {temp_c:.0f} °C"
    most = "" if max_sm_mhz is None else f" of {max_sm_mhz:.0f}"
    clock = "" if sm_mhz is None else f": {sm_mhz:.0f}{most} MHz"
    return f"{reasons}{heat}{clock}"


def _slow(gpu: GpuSample) -> str:
    return throttle_text(", ".join(gpu.throttle), gpu.temp_c, gpu.sm_mhz, gpu.max_sm_mhz)


def _event(source: str, reason: str, message: str, replicas: Sequence[str], *, severe: bool = True) -> Event:
    if replicas:
        message += f"; {', '.join(replicas)} {'was' if len(replicas) == 1 else 'were'} on it"
    return Event(reason=reason, message=message, source=source, warning=True, severe=severe)
