"""The most memory that replicas were seen to take: a better claim for the next of its kind than any estimate."""

from __future__ import annotations

from dataclasses import dataclass, field

KEPT = 256
STEP_MIB = 16.0
"""Less than this is no news."""


def kind(template: str, gpus: int) -> str:
    """Replicas of one kind take the same: started alike, on as many GPUs (0: in RAM)."""
    return f"{template}/{gpus}"


@dataclass(slots=True)
class Footprints:
    """Grows while replicas run; the oldest kinds are forgotten first."""

    peak_mib: dict[str, float] = field(default_factory=dict)
    """By kind, over all its GPUs."""

    def load(self, peaks: dict[str, float]) -> None:
        """Take up what was seen before; raises `ValueError` and others where it is something else."""
        self.peak_mib.update({str(kind): float(mib) for kind, mib in peaks.items()})

    def saw(self, kind: str, mib: float) -> bool:
        """Take in what a ready replica uses now; whether that was news."""
        if mib < self.peak_mib.get(kind, 0.0) + STEP_MIB:
            return False
        self.peak_mib.pop(kind, None)
        self.peak_mib[kind] = mib
        if len(self.peak_mib) > KEPT:
            del self.peak_mib[next(iter(self.peak_mib))]
        return True
