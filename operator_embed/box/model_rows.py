"""AIModels and replicas of a box as rows of the view."""

from __future__ import annotations

from collections.abc import Sequence

from operator_embed.aimodel import PAUSED, AIModel, Engine
from operator_embed.autoscaler import bounds
from operator_embed.box.facts import Facts
from operator_embed.box.needs import Missing, engine_of
from operator_embed.box.telemetry import SILENT_S, UNKNOWN_S, trend
from operator_embed.box.why import why
from operator_embed.fleet.models import ConditionView, ModelView, ReplicaNeed, ReplicaView, State
from operator_embed.fleet.text import safe_text
from operator_embed.reconcile import Observed, Phase, Replica
from worker_embed.gpu.placement import Need
from worker_embed.gpu.samples import GpuSample, Sample

UNUSED_GPU = (
    "The xllamacpp that is installed computes on the CPU only: the GPU is held and not used. "
    "Next: remove gpus, or install a wheel for CUDA."
)


def model_row(model: AIModel, facts: Facts, now_s: float) -> ModelView:
    """One AIModel; figures that nobody knows are `None`, never zero."""
    telemetry, key = facts.telemetry, model.key
    observed = facts.observed.get(key, Observed())
    names = [r.name for r in observed.replicas]
    beats = [beat for name in names if (beat := facts.beat(name))]
    runs = any(facts.session(name) is not None for name in names)
    lying = facts.backlog(model.topic) if now_s - telemetry.backlog_s < UNKNOWN_S else None
    decision = facts.decisions.get(key)
    limits = bounds(model)
    degraded = model.status.condition("Degraded")
    traffic = telemetry.traffic.get(model.topic)
    failure = facts.news.faults.get(key)
    gpus = {uuid for name in names if name in facts.holds for uuid in facts.holds[name].gpus}
    series = f"model/{key}/backlog"
    unused = UNUSED_GPU if gpus and facts.llama and engine_of(model) == Engine.LLAMA and not facts.llama.gpus else ""
    return ModelView(
        key=key,
        version=0,
        name=model.name,
        namespace=model.namespace,
        type=model.spec.type,
        model=safe_text(model.spec.model),
        engine=engine_of(model),
        topic=model.topic,
        generation=model.generation,
        ready=observed.ready,
        desired=decision.desired if decision else model.status.desired,
        replicas=1 if model.spec.replicas is None else model.spec.replicas,
        min_replicas=limits[0] if limits else None,
        max_replicas=limits[1] if limits else None,
        threshold=model.spec.msg_backlog_threshold,
        paused=model.annotation(PAUSED) is not None,
        state=State(model.status.state or "Pending"),
        degraded=degraded.reason if degraded and degraded.status else "",
        progress=_progress(model, observed, facts),
        message=safe_text(model.status.message),
        backlog=lying.total if lying else None,
        queued=lying.queued + lying.delayed if lying else None,
        in_flight=lying.in_flight if lying else None,
        slots=sum(beat.slots for beat in beats),
        trend=trend(telemetry.rings, series, now_s),
        backlog_2min=_shape(telemetry.rings.read(series, 120, 16, now_s)),
        oldest_s=round(lying.oldest_age_s) if lying and lying.oldest_age_s is not None else None,
        req_s=_sum([telemetry.workers[b.id].done.per_s(now_s) for b in beats], runs),
        tok_s=_sum([telemetry.workers[b.id].tokens.per_s(now_s) for b in beats], runs),
        ttft_p95_s=traffic.ttft_p95_s if traffic else None,
        busy_pct=_busy(names, gpus, facts, now_s),
        on_gpu=bool(gpus),
        vram_mib=telemetry.memory_mib(_sessions_of(names, facts), on_gpu=True) if gpus else None,
        need=_need(facts.needs.get(key)),
        restarts=sum(facts.processes[name].restarts for name in names if name in facts.processes),
        created_s=model.created_s,
        failure=failure.reason if failure else "",
        failure_count=failure.count if failure else 0,
        failure_s=failure.at_s if failure else 0.0,
        queue_stale=facts.queue_down_s is not None or now_s - telemetry.backlog_s > SILENT_S,
        conditions=tuple(
            ConditionView(
                type=c.type, status=c.status, reason=c.reason, message=safe_text(c.message), since_s=c.since_s
            )
            for c in model.status.conditions
        ),
        why=safe_text(" ".join(filter(None, (why(model, observed, decision, lying, traffic, now_s), unused)))),
    )


def replica_row(model: AIModel, replica: Replica, facts: Facts, now_s: float) -> ReplicaView:
    """One replica, with the figures of its process session."""
    telemetry = facts.telemetry
    state = facts.processes.get(replica.name)
    figures = telemetry.workers.get(replica.name)
    hold = facts.holds.get(replica.name)
    runs = state is not None and state.pid is not None
    session = telemetry.sessions.get(state.pid or 0) if state else None
    need = facts.needs.get(model.key)
    expected_mib = hold.claimed_mib if hold else need.mem_mib if isinstance(need, Need) else None
    mem = telemetry.memory_mib(_sessions_of([replica.name], facts), on_gpu=bool(hold and hold.gpus))
    traffic = telemetry.traffic.get(model.topic)
    alone = len(facts.observed[model.key].replicas) == 1
    return ReplicaView(
        key=replica.name,
        version=0,
        model=model.key,
        state=replica.phase,
        reason=replica.reason,
        message=safe_text(replica.message),
        place=_place(hold.gpus, telemetry.sample) if hold and runs else "",
        pid=state.pid if state else None,
        mem_mib=mem if runs else expected_mib,
        busy=figures.beat.busy if figures and runs else None,
        slots=figures.beat.slots if figures and runs else None,
        req_s=figures.done.per_s(now_s) if figures and runs else None,
        tok_s=figures.tokens.per_s(now_s) if figures and runs else None,
        cpu_cores=session.cpu_cores if session else None,
        kv_pct=figures.beat.kv_pct if figures and runs else None,
        ttft_p95_s=traffic.ttft_p95_s if traffic and runs and alone else None,
        tok_per_j=facts.tok_per_j(replica.name, now_s),
        restarts=state.restarts if state else 0,
        started_s=state.started_s if state else replica.since_s,
        next_try_s=state.next_try_s if state else None,
    )


def _progress(model: AIModel, observed: Observed, facts: Facts) -> str:
    if model.deleted_s is not None:
        return "Draining"
    progressing = model.status.condition("Progressing")
    if progressing and progressing.status and progressing.reason == "Updating":
        return "Updating"
    if observed.ready == 0:
        loading = [facts.beat(r.name) for r in observed.replicas if r.phase is Phase.LOADING]
        percents = [beat.load_pct for beat in loading if beat and beat.load_pct is not None]
        if percents:
            return f"Load {max(percents):.0f}%"
    return ""


def _shape(samples: tuple[float | None, ...]) -> tuple[float | None, ...]:
    """Each row to its own maximum; empty when nothing waited."""
    highest = max((s for s in samples if s is not None), default=0.0)
    if not highest:
        return ()
    return tuple(None if s is None else round(s / highest, 2) for s in samples)


def _sum(rates: list[float | None], expected: bool) -> float | None:
    """Together, to a tenth; zero for a model without processes, `None` while those it has are silent."""
    heard = [rate for rate in rates if rate is not None]
    return round(sum(heard), 1) if heard or not expected else None


def _busy(names: list[str], gpus: set[str], facts: Facts, now_s: float) -> float | None:
    sample = facts.telemetry.sample
    if gpus:
        sessions = _sessions_of(names, facts)
        each = [_gpu_busy(gpu, sessions, facts, now_s) for gpu in (sample.gpus if sample else ()) if gpu.uuid in gpus]
        known = [busy for busy in each if busy is not None]
        return round(sum(known) / len(known)) if known else None
    if sample is None or not names:
        return None
    seen = [facts.telemetry.sessions.get(session) for session in _sessions_of(names, facts)]
    cores = [session.cpu_cores for session in seen if session and session.cpu_cores is not None]
    return round(100 * sum(cores) / sample.host.cores) if cores and sample.host.cores else None


def _gpu_busy(gpu: GpuSample, sessions: set[int], facts: Facts, now_s: float) -> float | None:
    """Use of a GPU in the last five seconds; of a shared one the part of its SM time that is theirs."""
    shares = [p.sm_pct for p in gpu.processes if p.session in sessions]
    if len(shares) < len(gpu.processes) and (known := [share for share in shares if share is not None]):
        return sum(known)
    return facts.telemetry.rings.read(f"gpu/{gpu.uuid}/util", 5, 1, now_s)[0]


def _need(need: Need | Missing | None) -> ReplicaNeed:
    if isinstance(need, Missing):
        return ReplicaNeed(missing=safe_text(need.message))
    return ReplicaNeed(mem_mib=need.mem_mib, estimated=need.estimated, gpus=need.gpus) if need else ReplicaNeed()


def _sessions_of(names: Sequence[str], facts: Facts) -> set[int]:
    return {session for name in names if (session := facts.session(name)) is not None}


def _place(gpus: tuple[str, ...], sample: Sample | None) -> str:
    if not gpus:
        return "CPU"
    index = {gpu.uuid: str(gpu.index) for gpu in sample.gpus} if sample else {}
    return "GPU " + ",".join(index.get(uuid, "?") for uuid in gpus)
