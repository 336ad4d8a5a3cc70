"""What a table shows of things that happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import localtime, strftime
from typing import Any

from operator_embed.fleet.fleet import EventView
from screens.format import clock, count
from screens.saved import instant
from screens.tones import event_mark, event_tone
from screens.widgets.columns import Column, age_column

DAY_S = 86_400.0

MARK: Column[EventView] = Column("", 1, lambda e, _: event_mark(e), tone=event_tone, gap=0)
AGE: Column[EventView] = age_column(lambda e: e.at_s)
TIME: Column[EventView] = replace(AGE, title="TIME", width=12, text=lambda e, at_s: moment(e.at_s, at_s))
COUNT: Column[EventView] = Column(
    "N", 4, lambda e, _: f"x{count(e.count)}" if e.count > 1 else "", value=lambda e: e.count, right=True
)
REASON: Column[EventView] = Column("REASON", 14, lambda e, _: e.reason, tone=event_tone, gap=2)
SOURCE: Column[EventView] = Column("SOURCE", 19, lambda e, _: e.source, middle=True, since=100)
MODEL: Column[EventView] = Column("MODEL", 20, lambda e, _: model_name(e), middle=True, since=100)
SHORT_MODEL: Column[EventView] = Column("MODEL", 14, lambda e, _: model_name(e), middle=True, until=100)
MESSAGE: Column[EventView] = Column("MESSAGE", 24, lambda e, _: e.message, grow=True)

ALL_BY_AGE: Sequence[Column[EventView]] = (MARK, AGE, COUNT, REASON, MODEL, SHORT_MODEL, SOURCE, MESSAGE)
ALL_BY_TIME: Sequence[Column[EventView]] = (MARK, TIME, COUNT, REASON, MODEL, SHORT_MODEL, SOURCE, MESSAGE)
OF_MODEL: Sequence[Column[EventView]] = (MARK, AGE, COUNT, REASON, SOURCE, MESSAGE)


def model_name(event: EventView) -> str:
    """Name of the AIModel that it happened to."""
    return event.model.partition("/")[2] or "-"


def moment(at_s: float, now_s: float) -> str:
    """Time of day, with the date when it is not of the last 24 hours."""
    return clock(at_s) if now_s - at_s < DAY_S else strftime("%b %d %H:%M", localtime(at_s))


def type_of(event: EventView) -> str:
    """`Normal`, `Warning`, or `Error` where somebody got no answer because of it."""
    return "Error" if event.severe else "Warning" if event.warning else "Normal"


def event_object(event: EventView) -> dict[str, Any]:
    """An event for a program to read."""
    return {
        "lastTimestamp": instant(event.at_s),
        "type": type_of(event),
        "reason": event.reason,
        "count": event.count,
        "model": event.model,
        "source": event.source,
        "message": event.message,
    }
