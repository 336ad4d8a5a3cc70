"""How long to wait before a process that died is started again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Doubles with every crash in a row; a child that was Ready for `steady_s` breaks the row and costs no wait."""

    first_s: float = 1.0
    most_s: float = 300.0
    steady_s: float = 10.0

    def delay_s(self, crashes: int) -> float:
        """The wait after `crashes` crashes in a row, the newest one included."""
        # Beyond 2**1023 a float overflows, which a crash loop reaches in four days.
        return min(self.most_s, self.first_s * 2.0 ** min(crashes - 1, 64)) if crashes else 0.0
