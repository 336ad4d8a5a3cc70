"""What a console has seen in the last hour, so that it can go back to it."""

from __future__ import annotations

from collections import deque

from operator_embed.fleet.fleet import FleetView

STEPS_S = ((1.0, 120.0), (5.0, 600.0), (30.0, 3_600.0))
"""How far apart views are kept, and how much time each tier spans."""
MOST_ROWS = 30_000
TABLES = ("models", "replicas", "queues", "gpus", "gpu_processes", "failures", "events", "sources")


class Past:
    """Views as they were seen, the older the farther apart: at most 363, one keystroke each, of 72 minutes.

    A view holds its rows by reference, and a row that stayed as it was is one object in all of them. Measured, an hour
    of a box with 18 models and 4 GPUs takes 0.4 MB while nothing happens and 15 MB when every row changes every
    second. Whatever the fleet, `most_rows` different rows are kept, which are 50 MB: the oldest views go first.
    """

    def __init__(self, most_rows: int = MOST_ROWS) -> None:
        self._most_rows = most_rows
        self._rows = 0
        self._tiers: tuple[deque[tuple[FleetView, int]], ...] = tuple(deque() for _ in STEPS_S)
        """Views, each with how many rows it alone brought: the newest tier first, in each the oldest view first."""

    def add(self, view: FleetView) -> None:
        """Keep the newest view, unless one of the same second is kept; where the clock was set back, start anew.

        A view without a moment is of a fleet that was not looked at yet.
        """
        if not view.at_s:
            return
        newest = self._tiers[0][-1][0] if self._tiers[0] else view
        if view.at_s < newest.at_s - STEPS_S[0][1]:
            self._forget_all()
        for tier, (apart_s, until_s) in zip(self._tiers, STEPS_S, strict=True):
            if tier and view.at_s - tier[-1][0].at_s < apart_s:
                break
            own = new_rows(tier[-1][0] if tier else newest, view)
            tier.append((view, own))
            self._rows += own
            if view.at_s - tier[0][0].at_s <= until_s:
                break
            view, own = tier.popleft()
            self._rows -= own
        while self._rows > self._most_rows and len(self._tiers[0]) > 1:
            oldest = next(tier for tier in reversed(self._tiers) if tier)
            self._rows -= oldest.popleft()[1]

    def before(self, at_s: float) -> FleetView | None:
        """The newest that is older than a Unix time."""
        return next((view for tier in self._tiers for view, _ in reversed(tier) if view.at_s < at_s), None)

    def after(self, at_s: float) -> FleetView | None:
        """The oldest that is newer than a Unix time."""
        return next((view for tier in reversed(self._tiers) for view, _ in tier if view.at_s > at_s), None)

    def _forget_all(self) -> None:
        self._rows = 0
        for tier in self._tiers:
            tier.clear()


def new_rows(old: FleetView, new: FleetView) -> int:
    """How many rows of `new` are not those of `old`; tables that stayed the same are not looked through."""
    pairs = [(getattr(old, name), getattr(new, name)) for name in TABLES]
    return sum(len({*map(id, rows)} - {*map(id, before)}) for before, rows in pairs if rows is not before)
