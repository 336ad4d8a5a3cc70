"""All that the leader of a box knows at one moment: what the view is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from operator_embed.aimodel import AIModel
from operator_embed.autoscaler import Decision
from operator_embed.box.energy import Energy
from operator_embed.box.gpu_news import GpuNews
from operator_embed.box.needs import Missing
from operator_embed.box.news import News
from operator_embed.box.telemetry import UNKNOWN_S, Telemetry
from operator_embed.fleet.fleet import SourceView
from operator_embed.reconcile import Observed
from worker_embed.engines.llama_build import LlamaBuild
from worker_embed.gpu.placement import Claim, Need
from worker_embed.process.spec import ProcessState
from worker_embed.queue.port import Backlog
from worker_embed.report import WorkerBeat


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """What one replica was given."""

    gpus: tuple[str, ...] = ()
    """UUIDs; none on the CPU."""
    each_mib: float = 0.0
    """Claimed on each of them, or of RAM."""

    @property
    def claimed_mib(self) -> float:
        """Claimed altogether."""
        return self.each_mib * max(1, len(self.gpus))


def claims(holds: Mapping[str, Hold], processes: Mapping[str, ProcessState]) -> list[Claim]:
    """Memory that was promised to worker processes."""
    return [
        Claim(session=processes[name].pid or 0, uuids=hold.gpus, each_mib=hold.each_mib)
        for name, hold in holds.items()
        if name in processes
    ]


@dataclass(slots=True, kw_only=True)
class Facts:
    """Written by the engine, read by the view."""

    telemetry: Telemetry
    name: str
    """Of the box."""
    api_url: str
    api_is_open: bool = False
    """Whether clients on other machines may reach it."""
    store_text: str
    """The folder."""
    store_trouble: str = ""
    """Why nothing can be stored; empty when something can."""
    store_down_s: float | None = None
    """Unix time since when."""
    queue_text: str = ""
    queue_down_s: float | None = None
    """Unix time at which the queue was lost."""
    queue_full_s: float | None = None
    """Unix time since when its disk takes nothing."""
    api_down_s: float | None = None
    pid: int = 0
    serve: bool = False
    models: Sequence[AIModel] = ()
    observed: dict[str, Observed] = field(default_factory=dict)
    decisions: dict[str, Decision] = field(default_factory=dict)
    holds: Mapping[str, Hold] = field(default_factory=dict)
    """By replica."""
    processes: Mapping[str, ProcessState] = field(default_factory=dict)
    news: News = field(default_factory=News)
    sources: tuple[SourceView, ...] = ()
    gpu_news: GpuNews = field(default_factory=GpuNews)
    energy: Energy = field(default_factory=Energy)
    needs: dict[str, Need | Missing | None] = field(default_factory=dict)
    """What one more replica takes, by key; `None` while that cannot be told."""
    llama: LlamaBuild | None = None
    """`None` until it was asked."""

    def beat(self, replica: str) -> WorkerBeat | None:
        """The newest figures of one worker."""
        figures = self.telemetry.workers.get(replica)
        return figures.beat if figures else None

    def replicas(self, key: str) -> list[str]:
        """Names of an AIModel's replicas."""
        return [r.name for r in self.observed[key].replicas] if key in self.observed else []

    def backlog(self, topic: str, now_s: float) -> Backlog | None:
        """What lies on a topic, as last heard; `None` when the queue was never asked or is silent for too long."""
        return self.telemetry.backlog.get(topic) if now_s - self.telemetry.backlog_s < UNKNOWN_S else None

    def session(self, replica: str) -> int | None:
        """Session id of a worker: the pid of its shell."""
        state = self.processes.get(replica)
        return state.pid if state else None

    def on_gpus(self) -> dict[str, list[str]]:
        """Replicas by the UUID of each GPU that they were given."""
        found: dict[str, list[str]] = {}
        for name, hold in self.holds.items():
            for uuid in hold.gpus:
                found.setdefault(uuid, []).append(name)
        return found

    def tok_per_j(self, replica: str, now_s: float) -> float | None:
        """Tokens of a replica for each joule of its GPUs; `None` where it shares them, or generates nothing now."""
        hold = self.holds.get(replica)
        if (
            hold is None
            or not hold.gpus
            or any(set(h.gpus) & set(hold.gpus) for h in self.holds.values() if h is not hold)
        ):
            return None
        return ratio(self.telemetry.tokens_per_s(now_s, [replica]), self.energy.watts(hold.gpus, now_s))


def ratio(part: float | None, whole: float | None) -> float | None:
    """To two digits; `None` where one of them is unknown or zero."""
    return float(f"{part / whole:.2g}") if part and whole else None
