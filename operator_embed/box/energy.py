"""What the GPUs take, by their own counters."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from operator_embed.box.telemetry import Rate
from worker_embed.gpu.samples import Sample

J_PER_WH = 3600.0


def _day(at_s: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(at_s))


@dataclass(slots=True)
class Energy:
    """A counter starts again with its driver, so one that shrank adds nothing."""

    day: str = ""
    """Local date of `joules`."""
    joules: float = 0.0
    counts: dict[str, float] = field(default_factory=dict)
    """Newest count in joules by UUID; empty where no GPU counts."""
    rates: dict[str, Rate] = field(default_factory=dict)

    def take(self, sample: Sample) -> None:
        """Add what was taken since the sample before."""
        if (day := _day(sample.at)) != self.day:
            self.day, self.joules = day, 0.0
        for gpu in sample.gpus:
            if gpu.energy_j is not None:
                self.joules += max(0.0, gpu.energy_j - self.counts.get(gpu.uuid, gpu.energy_j))
                self.counts[gpu.uuid] = gpu.energy_j
                self.rates.setdefault(gpu.uuid, Rate()).add(sample.at, gpu.energy_j)

    @property
    def today_wh(self) -> float | None:
        """Since midnight, or since the first reading after it; `None` where no GPU counts."""
        return self.joules / J_PER_WH if self.counts else None

    def watts(self, uuids: Iterable[str], now_s: float) -> float | None:
        """Mean of the last ten seconds of these GPUs together; `None` unless all of them are known."""
        each = [self.rates[uuid].per_s(now_s) if uuid in self.rates else None for uuid in uuids]
        known = [watts for watts in each if watts is not None]
        return sum(known) if known and len(known) == len(each) else None

    def export(self) -> str:
        """For `load` in the next leader."""
        return json.dumps([self.day, self.joules, self.counts])

    def load(self, exported: str, now_s: float) -> None:
        """Take up today's sum, as counters have gone on; raises `ValueError` and others where it is something else."""
        day, joules, counts = json.loads(exported)
        if day == _day(now_s):
            self.counts = {str(uuid): float(count) for uuid, count in counts.items()}
            self.day, self.joules = day, float(joules)
