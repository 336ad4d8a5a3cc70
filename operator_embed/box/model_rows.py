"""AIModels and replicas of a box as rows of the view."""

from __future__ import annotations

from operator_embed.aimodel import PAUSED, AIModel
from operator_embed.autoscaler import bounds
from operator_embed.box.facts import Facts
from operator_embed.box.model_figures import Figures, sessions_of
from operator_embed.box.needs import Missing, engine_of
from operator_embed.box.why import why
from operator_embed.fleet.models import ConditionView, ModelView, ReplicaNeed, ReplicaView, State
from operator_embed.fleet.text import safe_text
from operator_embed.reconcile import Replica
from worker_embed.gpu.placement import Need
from worker_embed.gpu.samples import Sample

UNUSED_GPU = (
    "The xllamacpp that is installed computes on the CPU only: the GPU is held and not used. "
    "Next: remove gpus, or install a wheel for CUDA."
)


def model_row(model: AIModel, figures: Figures) -> ModelView:
    """One AIModel."""
    lying, decision, failure = figures.lying, figures.decision, figures.failure
    limits = bounds(model)
    degraded = model.status.condition("Degraded")
    given_up = figures.dead if failure and failure.reason == "DeadLetter" else 0
    return ModelView(
        key=model.key,
        version=0,
        name=model.name,
        namespace=model.namespace,
        type=model.spec.type,
        model=safe_text(model.spec.model),
        engine=engine_of(model),
        topic=model.topic,
        generation=model.generation,
        ready=figures.observed.ready,
        desired=decision.desired if decision else model.status.desired,
        replicas=1 if model.spec.replicas is None else model.spec.replicas,
        min_replicas=limits[0] if limits else None,
        max_replicas=limits[1] if limits else None,
        threshold=model.spec.msg_backlog_threshold,
        paused=limits is not None and model.annotation(PAUSED) is not None,
        state=State(model.status.state or "Pending"),
        degraded=degraded.reason if degraded and degraded.status else "",
        progress=_progress(model, figures),
        message=safe_text(model.status.message),
        backlog=lying.total if lying else None,
        queued=lying.queued + lying.delayed if lying else None,
        in_flight=lying.in_flight if lying else None,
        slots=figures.slots,
        trend=figures.trend,
        backlog_2min=figures.backlog_2min,
        oldest_s=round(lying.oldest_age_s) if lying and lying.oldest_age_s is not None else None,
        req_s=figures.req_s,
        tok_s=figures.tok_s,
        ttft_p95_s=figures.ttft_p95_s,
        kv_pct=figures.kv_pct,
        busy_pct=figures.busy_pct,
        busy_stale=figures.busy_stale,
        on_gpu=figures.on_gpu,
        vram_mib=figures.vram_mib,
        need=_need(figures.need),
        restarts=figures.restarts,
        created_s=model.created_s,
        failure="DeadLetters" if given_up else failure.reason if failure else "",
        failure_count=given_up or (failure.count if failure else 0),
        failure_s=failure.at_s if failure else 0.0,
        dead=figures.dead,
        queue_stale=figures.stale,
        conditions=tuple(
            ConditionView(
                type=c.type, status=c.status, reason=c.reason, message=safe_text(c.message), since_s=c.since_s
            )
            for c in model.status.conditions
        ),
        why=safe_text(" ".join(filter(None, (why(model, figures), UNUSED_GPU if figures.gpu_unused else "")))),
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
    mem = telemetry.memory_mib(sessions_of([replica.name], facts), on_gpu=bool(hold and hold.gpus))
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


def _progress(model: AIModel, figures: Figures) -> str:
    if model.deleted_s is not None:
        return "Draining"
    progressing = model.status.condition("Progressing")
    if progressing and progressing.status and progressing.reason == "Updating":
        return "Updating"
    if figures.observed.ready == 0 and figures.load_pct is not None:
        return f"Load {figures.load_pct:.0f}%"
    return ""


def _need(need: Need | Missing | None) -> ReplicaNeed:
    if isinstance(need, Missing):
        return ReplicaNeed(missing=safe_text(need.message))
    return ReplicaNeed(mem_mib=need.mem_mib, estimated=need.estimated, gpus=need.gpus) if need else ReplicaNeed()


def _place(gpus: tuple[str, ...], sample: Sample | None) -> str:
    if not gpus:
        return "CPU"
    index = {gpu.uuid: str(gpu.index) for gpu in sample.gpus} if sample else {}
    return "GPU " + ",".join(index.get(uuid, "?") for uuid in gpus)
