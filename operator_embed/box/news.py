"""The newest events, looked up by what the rows of a view ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from operator_embed.fleet.fleet import EventView
from operator_embed.fleet.queues import ScaleDecision

SCALED = "Scaled"
"""Reason of an event that tells a new number of replicas, as `1 to 2: why`."""
DECISIONS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Looked through once when it changes, not once a row."""

    events: tuple[EventView, ...] = ()
    """Newest first."""
    faults: Mapping[str, EventView] = field(default_factory=dict)
    """The newest warning by key of its AIModel."""
    newest: Mapping[tuple[str, str], EventView] = field(default_factory=dict)
    """By key of the AIModel and reason."""
    decisions: Mapping[str, tuple[ScaleDecision, ...]] = field(default_factory=dict)
    """The last scale decisions by key of the AIModel, newest first."""

    @classmethod
    def of(cls, events: Sequence[EventView]) -> News:
        """From events, newest first."""
        faults: dict[str, EventView] = {}
        newest: dict[tuple[str, str], EventView] = {}
        decisions: dict[str, tuple[ScaleDecision, ...]] = {}
        for event in events:
            newest.setdefault((event.model, event.reason), event)
            if event.warning or event.severe:
                faults.setdefault(event.model, event)
            if event.reason == SCALED and len(before := decisions.get(event.model, ())) < DECISIONS:
                decisions[event.model] = (*before, _decision(event))
        return cls(events=tuple(events), faults=faults, newest=newest, decisions=decisions)


def _decision(event: EventView) -> ScaleDecision:
    text, _, why = event.message.partition(": ")
    return ScaleDecision(at_s=event.at_s, text=text, why=why)
