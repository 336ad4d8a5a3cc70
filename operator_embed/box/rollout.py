"""Which workers of one AIModel to start and which to retire: pure, so that every rule can be tested as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SURGE = 1
"""How many workers more than asked for may run while an older spec is replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A worker that runs, or waits for a place to run."""

    name: str
    template: str
    """Hash of all that would need another process if it changed."""
    ready: bool = False
    leaving: bool = False
    waiting: bool = False
    """It has no process yet."""
    started_s: float = 0.0
    busy: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One step towards the number asked for; the next pass takes the next."""

    start: int = 0
    retire: tuple[str, ...] = ()


def plan(wanted: int, running: Sequence[Running], template: str, *, crowded: bool = False) -> Plan:
    """New workers come before old ones go.

    Where one waits for room that old ones hold (`crowded`), old ones go first: one at a time, and the next one only
    when what came in the place of the one before can answer.
    """
    staying = [r for r in running if not r.leaving]
    current = [r for r in staying if r.template == template]
    old = [r for r in staying if r.template != template]

    surplus = [r.name for r in _least_needed(current)[: max(0, len(current) - wanted)]]
    missing = max(0, wanted - len(current))
    start = min(missing, max(0, wanted + (SURGE if old else 0) - len(staying)))
    needed_old = max(0, wanted - sum(r.ready for r in current))
    serving_old = _least_needed([r for r in old if r.ready])
    leave_old = [r.name for r in old if not r.ready]
    leave_old += [r.name for r in serving_old[: max(0, len(serving_old) - needed_old)]]
    settled = len(staying) == len(running) and all(r.ready or r.waiting for r in current)
    if crowded and settled and serving_old and not leave_old and not surplus:
        leave_old = [serving_old[0].name]
    return Plan(start=start, retire=(*surplus, *leave_old))


def _least_needed(workers: Sequence[Running]) -> list[Running]:
    """Not ready before ready, idle before busy, new before old."""
    return sorted(workers, key=lambda r: (r.ready, r.busy, -r.started_s, r.name))
