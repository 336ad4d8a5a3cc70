"""A fleet that is loaded after the first paint: what a box needs costs more to import than a screen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from operator_embed.fleet.fleet import ContextView, Fleet, FleetError, FleetView
from operator_embed.fleet.gpus import Gpus
from operator_embed.fleet.logs import Logs
from operator_embed.fleet.models import History, Models
from operator_embed.fleet.queues import Queues
from operator_embed.fleet.requests import Requests


class LateFleet:
    """Shows nothing and has nothing to act on until it is given its fleet; from then on it is that fleet."""

    read_only = False

    def __init__(self, context: ContextView) -> None:
        self._view = FleetView(context=context)
        self._fleet: Fleet | None = None
        self._there = asyncio.Event()

    def become(self, fleet: Fleet) -> None:
        """Show `fleet`."""
        self._fleet = fleet
        self._there.set()

    @property
    def _real(self) -> Fleet:
        """What intents go to."""
        if self._fleet is None:
            raise FleetError("the box is still being loaded; try again")
        return self._fleet

    @property
    def models(self) -> Models:
        return self._real.models

    @property
    def gpus(self) -> Gpus:
        return self._real.gpus

    @property
    def queues(self) -> Queues:
        return self._real.queues

    @property
    def logs(self) -> Logs:
        return self._real.logs

    @property
    def requests(self) -> Requests:
        return self._real.requests

    def view(self) -> FleetView:
        """The newest view."""
        return self._fleet.view() if self._fleet else self._view

    def history(self, series: str, span_s: float, points: int, end_s: float | None = None) -> History:
        """All gaps until there is a fleet."""
        return self._fleet.history(series, span_s, points, end_s) if self._fleet else (None,) * points

    async def changes(self) -> AsyncIterator[None]:
        """As the fleet's, once it is there."""
        await self._there.wait()
        async for _ in self._real.changes():
            yield

    async def refresh(self) -> None:
        """Read all sources again, once there are any."""
        await self._there.wait()
        await self._real.refresh()
