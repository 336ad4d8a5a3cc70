"""Queues of a box as rows of the view."""

from __future__ import annotations

from operator_embed.aimodel import AIModel
from operator_embed.autoscaler import DEFAULT_COOLDOWN_S, Decision, bounds
from operator_embed.box.facts import Facts
from operator_embed.box.telemetry import SILENT_S, trend
from operator_embed.fleet.queues import QueueView
from operator_embed.reconcile import Observed, Phase
from worker_embed.queue.port import Backlog


def queue_row(model: AIModel, facts: Facts, now_s: float) -> QueueView:
    """The queue of one AIModel; of several that share a topic the one that scales on it stands for it."""
    telemetry, topic = facts.telemetry, model.topic
    lying = facts.backlog(topic, now_s)
    observed = facts.observed.get(model.key, Observed())
    traffic = telemetry.traffic.get(topic)
    arrived = traffic.arrived.per_s(now_s) if traffic else 0.0
    served = traffic.answered.per_s(now_s) if traffic else 0.0
    decision = facts.decisions.get(model.key)
    beats = [beat for r in observed.replicas if (beat := facts.beat(r.name))]
    return QueueView(
        key=topic,
        version=0,
        model=model.key,
        name=model.name,
        queued=lying.queued if lying else None,
        in_flight=lying.in_flight if lying else None,
        delayed=lying.delayed if lying else 0,
        slots=sum(beat.slots for beat in beats),
        oldest_s=round(lying.oldest_age_s) if lying and lying.oldest_age_s is not None else None,
        in_s=None if arrived is None else round(arrived, 1),
        out_s=None if served is None else round(served, 1),
        drain=drain(lying, observed, arrived, served),
        ready=observed.ready,
        desired=decision.desired if decision else model.status.desired,
        dead=telemetry.dead.get(topic, 0),
        trend=trend(telemetry.rings, f"queue/{topic}/queued", now_s),
        backlog_5min=telemetry.rings.read(f"queue/{topic}/queued", 300, 16, now_s),
        autoscaler=_short(model, decision),
        explain=_long(model, decision),
        decisions=facts.news.decisions.get(model.key, ()),
        stale=facts.queue_down_s is not None or now_s - telemetry.backlog_s > SILENT_S,
    )


def drain(lying: Backlog | None, observed: Observed, arrived: float | None, served: float | None) -> str:
    """When the queue will be empty if all goes on like this: queued / (out - in), or why it will not be."""
    if lying is None or not lying.queued:
        return ""
    if any(r.phase is Phase.PAUSED for r in observed.replicas):
        return "paused"
    if not observed.ready and any(r.phase in (Phase.STARTING, Phase.LOADING) for r in observed.replicas):
        return "loads"
    if served is None or arrived is None:
        return ""
    gain = served - arrived
    if gain <= 0:
        return "grows" if arrived else "busy" if lying.in_flight else "stuck"
    seconds = int(lying.queued / gain)
    if seconds < 60:
        return f"~{seconds}s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f"~{minutes}m{rest:02d}s" if rest else f"~{minutes}m"
    return f"~{minutes // 60}h{minutes % 60:02d}m"


def _short(model: AIModel, decision: Decision | None) -> str:
    limits = bounds(model)
    if decision is None:
        return ""
    if limits is None or not decision.active:
        return f"off: {decision.message}"
    low, high = limits
    wants = decision.wants or 0
    return f"wants {low} (min)" if wants < low else f"wants {wants}" + (f", max {high}" if wants > high else "")


def _long(model: AIModel, decision: Decision | None) -> str:
    limits = bounds(model)
    if decision is None:
        return ""
    if limits is None:
        return f"No autoscaler: msgBacklogThreshold is unset; {decision.message}."
    if not decision.active:
        return f"The autoscaler is off: {decision.message}."
    cooldown_s = DEFAULT_COOLDOWN_S if model.spec.cooldown_seconds is None else model.spec.cooldown_seconds
    kept = f"kept to {limits[0]}..{limits[1]}. Up at once, down after {cooldown_s} s below."
    return f"{decision.message}, {kept}"
