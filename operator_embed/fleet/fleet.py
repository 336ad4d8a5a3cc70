"""The one thing that a screen reads: a context, as a console sees it and can act on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from operator_embed.fleet.gpus import GpuPanel, GpuProcessView, Gpus, GpuView, HostView
from operator_embed.fleet.logs import Logs
from operator_embed.fleet.models import History, Models, ModelView, ReplicaView
from operator_embed.fleet.queues import Queues, QueueView
from operator_embed.fleet.requests import Requests


class FleetError(Exception):
    """An intent was refused; the text is one line for the user: what, where, what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureView:
    """One cause of trouble that is there now."""

    key: str
    """What and why together: the same cause has the same key while it lasts."""
    version: int
    severe: bool
    """True (`!`): requests get no answer because of it. False (`~`): less than what was asked for."""
    since_s: float
    """Unix time of the newest occurrence."""
    count: int
    subject: str
    """Model name, `GPU 2`, `queue`."""
    reason: str
    message: str
    model: str = ""
    """Key of the AIModel it opens, if any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventView:
    """Something that happened, kept for seven days; the same thing again raises its count."""

    key: str
    version: int
    at_s: float
    """Unix time of the newest."""
    count: int
    severe: bool
    warning: bool
    reason: str
    source: str
    """`autoscaler`, `launcher`, `you`, a replica, `GPU 2`."""
    model: str
    """Key of the AIModel, or empty."""
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceView:
    """One part of the box that works or does not."""

    key: str
    """`store`, `queue`, `API`, `llama`, `GPU`."""
    version: int
    status: str
    """`ok`, `..` while it starts, `-` not there by choice, `!` broken."""
    text: str
    since_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextView:
    """Which fleet this is, and who leads it."""

    name: str = ""
    """Host name of a box, context name of a cluster."""
    kind: str = "box"
    headline: str = ""
    """Last part of the header: `live`, `serve leads`, `loading: queue`, `FAKE GPU`, `QUEUE DOWN 14s`, `API DOWN 3s`,
    `NO LEADER`, `LEADER SILENT`, `OTHER VERSION`, `STORE DOWN`."""
    tone: str = ""
    """`error`, `warning` or empty, for the headline."""
    leader_pid: int | None = None
    """`None` when nobody leads."""
    leader_is_serve: bool = False
    api_url: str = ""
    queue: str = ""
    """`nats on 127.0.0.1:41873, 48 MiB of 1 GiB`."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FleetView:
    """Everything a screen needs at one moment; rows that did not change are the same objects as before."""

    context: ContextView = ContextView()
    models: tuple[ModelView, ...] = ()
    replicas: tuple[ReplicaView, ...] = ()
    queues: tuple[QueueView, ...] = ()
    gpus: tuple[GpuView, ...] = ()
    gpu_processes: tuple[GpuProcessView, ...] = ()
    gpu_panel: GpuPanel = GpuPanel()
    host: HostView = HostView()
    failures: tuple[FailureView, ...] = ()
    """Worst first."""
    events: tuple[EventView, ...] = ()
    """Newest first, at most 1,000."""
    sources: tuple[SourceView, ...] = ()
    at_s: float = 0.0
    """Unix time at which the view was taken: the only clock a screen has."""


class Fleet(Protocol):
    """One context, as a console sees it."""

    @property
    def models(self) -> Models: ...

    @property
    def gpus(self) -> Gpus: ...

    @property
    def queues(self) -> Queues: ...

    @property
    def logs(self) -> Logs: ...

    @property
    def requests(self) -> Requests: ...

    @property
    def read_only(self) -> bool: ...

    def view(self) -> FleetView:
        """The newest view: in memory, at any time, on the loop's thread."""

    def history(self, series: str, span_s: float, points: int, end_s: float | None = None) -> History:
        """`points` samples of the last `span_s` seconds, oldest first, each the mean of its part; in memory.

        They end at Unix time `end_s`, by default at that of the newest view.

        Series: `gpu/<uuid>/util|vram|power|temp`, `host/cpu|ram` (0..100), `model/<key>/backlog|tok_s|ttft`,
        `queue/<topic>/queued|in|out`. An unknown one is all gaps.
        """

    def changes(self) -> AsyncIterator[None]:
        """Yields when `view` has become newer, at most four times a second; ends with the context."""

    async def refresh(self) -> None:
        """Read all sources again now."""
