"""What moves in the row of an AIModel, gathered from all that a leader knows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from operator_embed.aimodel import AIModel, Engine
from operator_embed.autoscaler import Decision
from operator_embed.box.facts import Facts
from operator_embed.box.needs import Missing, engine_of
from operator_embed.box.telemetry import SILENT_S, UNKNOWN_S, trend
from operator_embed.fleet.fleet import EventView
from operator_embed.fleet.models import History
from operator_embed.reconcile import Observed, Phase
from worker_embed.gpu.placement import Need
from worker_embed.gpu.samples import GpuSample
from worker_embed.queue.port import Backlog
from worker_embed.report import WorkerBeat


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Everything but the AIModel itself that its row is made from: equal figures make an equal row.

    What nobody knows is `None`, never zero.
    """

    observed: Observed
    decision: Decision | None
    failure: EventView | None
    """What is wrong now, else what was last."""
    dead: int
    """Requests that were given up."""
    need: Need | Missing | None
    lying: Backlog | None
    stale: bool
    """The queue has not answered for a while."""
    trend: int
    backlog_2min: History
    arrived_s: float | None
    answered_s: float | None
    ttft_p95_s: float | None
    slots: int
    req_s: float | None
    tok_s: float | None
    load_pct: float | None
    restarts: int
    kv_pct: float | None
    busy_pct: float | None
    busy_stale: bool
    on_gpu: bool
    gpu_unused: bool
    """It holds a GPU that its engine cannot use."""
    vram_mib: float | None


def figures_of(model: AIModel, facts: Facts, now_s: float) -> Figures:
    """As of Unix time `now_s`."""
    telemetry, key = facts.telemetry, model.key
    observed = facts.observed.get(key, Observed())
    names = [r.name for r in observed.replicas]
    beats = [beat for name in names if (beat := facts.beat(name))]
    runs = any(facts.session(name) is not None for name in names)
    traffic = telemetry.traffic.get(model.topic)
    gpus = {uuid for name in names if name in facts.holds for uuid in facts.holds[name].gpus}
    series = f"model/{key}/backlog"
    loading = [facts.beat(r.name) for r in observed.replicas if r.phase is Phase.LOADING]
    return Figures(
        observed=observed,
        decision=facts.decisions.get(key),
        failure=_failure(model, facts),
        dead=telemetry.dead.get(model.topic, 0),
        need=facts.needs.get(key),
        lying=facts.backlog(model.topic, now_s),
        stale=facts.queue_down_s is not None or now_s - telemetry.backlog_s > SILENT_S,
        trend=trend(telemetry.rings, series, now_s),
        backlog_2min=_shape(telemetry.rings.read(series, 120, 16, now_s)),
        arrived_s=traffic.arrived.per_s(now_s) if traffic else None,
        answered_s=traffic.answered.per_s(now_s) if traffic else None,
        ttft_p95_s=traffic.ttft_p95_s if traffic else None,
        slots=sum(beat.slots for beat in beats),
        req_s=_sum([telemetry.workers[b.id].done.per_s(now_s) for b in beats], runs),
        tok_s=_sum([telemetry.workers[b.id].tokens.per_s(now_s) for b in beats], runs),
        load_pct=max((beat.load_pct for beat in loading if beat and beat.load_pct is not None), default=None),
        restarts=sum(facts.processes[name].restarts for name in names if name in facts.processes),
        kv_pct=_kv(beats),
        busy_pct=_busy(names, gpus, facts, now_s),
        busy_stale=(sample := telemetry.sample) is not None and now_s - sample.at > SILENT_S,
        on_gpu=bool(gpus),
        gpu_unused=bool(gpus and facts.llama and not facts.llama.gpus) and engine_of(model) == Engine.LLAMA,
        vram_mib=telemetry.memory_mib(sessions_of(names, facts), on_gpu=True) if gpus else None,
    )


def _failure(model: AIModel, facts: Facts) -> EventView | None:
    """The one that the line under Failures is about, so that both have one name and one count."""
    degraded = model.status.condition("Degraded")
    now = facts.news.newest.get((model.key, degraded.reason)) if degraded and degraded.status else None
    return now or facts.news.faults.get(model.key)


def sessions_of(names: Sequence[str], facts: Facts) -> set[int]:
    """Sessions of those replicas that run."""
    return {session for name in names if (session := facts.session(name)) is not None}


def _shape(samples: History) -> History:
    """Each row to its own maximum; empty when nothing waited."""
    highest = max((s for s in samples if s is not None), default=0.0)
    if not highest:
        return ()
    return tuple(None if s is None else round(s / highest, 2) for s in samples)


def _sum(rates: Sequence[float | None], expected: bool) -> float | None:
    """Together, to a tenth; zero for a model without processes, `None` while those it has are silent."""
    heard = [rate for rate in rates if rate is not None]
    return round(sum(heard), 1) if heard or not expected else None


def _kv(beats: Sequence[WorkerBeat]) -> float | None:
    """Of the replicas whose engine tells, in whole percent."""
    told = [beat.kv_pct for beat in beats if beat.kv_pct is not None]
    return round(sum(told) / len(told)) if told else None


def _busy(names: Sequence[str], gpus: Collection[str], facts: Facts, now_s: float) -> float | None:
    """Of the GPUs or of the CPU, as it was seen last."""
    sample = facts.telemetry.sample
    if sample is None or not names or now_s - sample.at > UNKNOWN_S:
        return None
    sessions = sessions_of(names, facts)
    if gpus:
        seen_s = min(now_s, sample.at)
        each = [_gpu_busy(gpu, sessions, facts, seen_s) for gpu in sample.gpus if gpu.uuid in gpus]
        known = [busy for busy in each if busy is not None]
        return round(sum(known) / len(known)) if known else None
    seen = [facts.telemetry.sessions.get(session) for session in sessions]
    cores = [session.cpu_cores for session in seen if session and session.cpu_cores is not None]
    return round(100 * sum(cores) / sample.host.cores) if cores and sample.host.cores else None


def _gpu_busy(gpu: GpuSample, sessions: Collection[int], facts: Facts, seen_s: float) -> float | None:
    """Use of a GPU in the five seconds before `seen_s`; of a shared one the part of its SM time that is theirs."""
    shares = [p.sm_pct for p in gpu.processes if p.session in sessions]
    if len(shares) < len(gpu.processes) and (known := [share for share in shares if share is not None]):
        return sum(known)
    return facts.telemetry.rings.read(f"gpu/{gpu.uuid}/util", 5, 1, seen_s)[0]
