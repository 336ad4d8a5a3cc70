"""Figures of a box, kept in memory: what workers and API nodes say, what the queue holds, what the sampler saw."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from worker_embed.gpu.rings import Rings
from worker_embed.gpu.samples import Sample, SessionSample
from worker_embed.queue.port import Backlog, DeadLetter
from worker_embed.report import Beat, WorkerBeat

RATE_WINDOW_S = 10.0
SILENT_S = 3.0
"""A source silent for three of its periods is stale."""
FORGOTTEN_S = 10.0
"""A worker that was silent for so long, frozen perhaps, is not shown as busy or idle any more."""
UNKNOWN_S = 300.0
"""A figure older than this is unknown."""


@dataclass(slots=True)
class Rate:
    """A growing count as a rate: the mean of the last ten seconds."""

    seen: deque[tuple[float, float]] = field(default_factory=deque)

    def add(self, at_s: float, count: float) -> None:
        """Note the count; a larger one before belongs to another life of its source, a later one to another clock."""
        if self.seen and (count < self.seen[-1][1] or at_s < self.seen[-1][0]):
            self.seen.clear()
        self.seen.append((at_s, count))
        while len(self.seen) > 2 and self.seen[1][0] <= at_s - RATE_WINDOW_S:
            self.seen.popleft()

    def per_s(self, now_s: float) -> float | None:
        """`None` before two counts were seen or when the source is silent."""
        if len(self.seen) < 2 or now_s - self.seen[-1][0] > SILENT_S:
            return None
        (first_s, first), (last_s, last) = self.seen[0], self.seen[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else None


@dataclass(slots=True)
class WorkerFigures:
    """The newest beat of one worker, and its rates."""

    beat: WorkerBeat
    tokens: Rate = field(default_factory=Rate)
    done: Rate = field(default_factory=Rate)


@dataclass(slots=True)
class TopicTraffic:
    """One topic's traffic at the API node of this box."""

    arrived: Rate = field(default_factory=Rate)
    answered: Rate = field(default_factory=Rate)
    ttft_p95_s: float | None = None


def trend(rings: Rings, series: str, now_s: float) -> int:
    """1 when the mean of the last 10 s lies above that of the 20 s before by more than 10 % and 2, -1 when below."""
    late, early = rings.mean(series, now_s - 9, now_s + 1), rings.mean(series, now_s - 29, now_s - 9)
    if late is None or early is None or abs(late - early) <= max(2.0, early / 10):
        return 0
    return 1 if late > early else -1


@dataclass(slots=True)
class Telemetry:
    """All figures; whoever measures writes here, and only the view reads."""

    rings: Rings
    workers: dict[str, WorkerFigures] = field(default_factory=dict)
    traffic: dict[str, TopicTraffic] = field(default_factory=dict)
    backlog: dict[str, Backlog] = field(default_factory=dict)
    backlog_s: float = 0.0
    """Unix time of the queue's last answer."""
    dead: dict[str, int] = field(default_factory=dict)
    """Requests that were given up, by topic."""
    last_dead: dict[str, DeadLetter] = field(default_factory=dict)
    """The newest of them, without its body."""
    sample: Sample | None = None
    sessions: dict[int, SessionSample] = field(default_factory=dict)
    """CPU and memory of the sample's process sessions by their ids."""
    _on_gpus: dict[int, list[float]] = field(default_factory=dict)
    """MiB that each session holds, a GPU at a time, where that is known."""

    def see(self, sample: Sample) -> None:
        """Take in what the sampler saw."""
        self.sample = sample
        self.sessions = {session.session: session for session in sample.host.sessions}
        self._on_gpus = {}
        for process in (process for gpu in sample.gpus for process in gpu.processes):
            if process.used_mib is not None:
                self._on_gpus.setdefault(process.session, []).append(process.used_mib)

    def hear(self, beat: Beat) -> None:
        """Take in one datagram."""
        if isinstance(beat, WorkerBeat):
            figures = self.workers.get(beat.id) or self.workers.setdefault(beat.id, WorkerFigures(beat))
            figures.beat = beat
            figures.tokens.add(beat.at_s, beat.tokens)
            figures.done.add(beat.at_s, beat.done)
            return
        # A node that was started again names a topic when it has traffic.
        self.traffic = {count.topic: self.traffic.get(count.topic) or TopicTraffic() for count in beat.models}
        for count in beat.models:
            traffic = self.traffic[count.topic]
            traffic.arrived.add(beat.at_s, count.requests)
            traffic.answered.add(beat.at_s, count.answered)
            traffic.ttft_p95_s = count.ttft_p95_s

    def forget(self, replica: str) -> None:
        """Drop the figures of a worker that is gone."""
        self.workers.pop(replica, None)

    def tick(
        self, now_s: float, topics: Mapping[str, str], replicas: Mapping[str, Sequence[str]]
    ) -> dict[str, float | None]:
        """One second of history, also returned; the topic and the replicas of each AIModel are found by its key."""
        for name in [name for name, worker in self.workers.items() if now_s - worker.beat.at_s > FORGOTTEN_S]:
            self.forget(name)
        values: dict[str, float | None] = {}
        known = now_s - self.backlog_s <= SILENT_S
        for key, topic in topics.items():
            lying = self.backlog.get(topic) if known else None
            traffic = self.traffic.get(topic)
            values[f"model/{key}/backlog"] = None if lying is None else lying.total
            values[f"model/{key}/ttft"] = traffic.ttft_p95_s if traffic else None
            values[f"model/{key}/tok_s"] = self.tokens_per_s(now_s, replicas.get(key, ()))
            values[f"queue/{topic}/queued"] = None if lying is None else lying.queued + lying.delayed
            values[f"queue/{topic}/in"] = traffic.arrived.per_s(now_s) if traffic else 0.0
            values[f"queue/{topic}/out"] = traffic.answered.per_s(now_s) if traffic else 0.0
        if (sample := self.sample) and now_s - sample.at <= SILENT_S:
            host = sample.host
            values["host/cpu"] = host.cpu_pct
            values["host/ram"] = 100 * host.ram_used_mib / host.ram_total_mib if host.ram_total_mib else None
            for gpu in sample.gpus:
                values[f"gpu/{gpu.uuid}/util"] = gpu.util_pct
                values[f"gpu/{gpu.uuid}/vram"] = _percent(gpu.used_mib, gpu.total_mib)
                values[f"gpu/{gpu.uuid}/power"] = _percent(gpu.power_w, gpu.power_limit_w)
                values[f"gpu/{gpu.uuid}/temp"] = gpu.temp_c
                values[f"gpu/{gpu.uuid}/throttled"] = None if gpu.util_pct is None else float(bool(gpu.throttle))
        self.rings.add(now_s, values)
        return values

    def tokens_per_s(self, now_s: float, replicas: Sequence[str]) -> float | None:
        """Generated by these replicas together; `None` when none of them is heard."""
        rates = [self.workers[name].tokens.per_s(now_s) for name in replicas if name in self.workers]
        heard = [rate for rate in rates if rate is not None]
        return sum(heard) if heard else None

    def memory_mib(self, sessions: Collection[int], *, on_gpu: bool) -> float | None:
        """What these process sessions hold together, on GPUs or in RAM; `None` when nobody knows."""
        if on_gpu:
            known = [mib for session in sessions for mib in self._on_gpus.get(session, ())]
        else:
            known = [self.sessions[session].rss_mib for session in sessions if session in self.sessions]
        return sum(known) if known else None

    def throttled_share(self, uuid: str, now_s: float) -> float:
        """Part of the last hour in which a GPU was slowed down."""
        parts = self.rings.read(f"gpu/{uuid}/throttled", 3600, 360, now_s)
        return sum(part or 0.0 for part in parts) / len(parts)


def _percent(part: float | None, whole: float | None) -> float | None:
    return 100 * part / whole if part is not None and whole else None
