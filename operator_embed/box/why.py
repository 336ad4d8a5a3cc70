"""The paragraph on top of a model's screen: what is so, the cause, what to do next."""

from __future__ import annotations

from operator_embed.aimodel import AIModel
from operator_embed.autoscaler import Decision, bounds
from operator_embed.box.model_figures import Figures
from operator_embed.reconcile import Phase

ADVICE = {
    "AuthenticationError": "Next: give it a valid key (apiKeyFrom) and apply.",
    "ConfigurationError": "Next: press e and correct the spec.",
    "APIQuotaExceededError": "Next: raise the quota upstream, or point baseURL elsewhere.",
    "MessageQueueConnectionError": "Next: see the queue's line under Failures; :doctor says more.",
    "CrashLoopBackOff": "Next: press l for its last lines, then e to correct the spec.",
    "WeightsMissing": "Next: put the file there, or press e and set source.",
    "EngineMissing": "Next: install the engine, or press e and choose another.",
    "NothingFits": "Next: free memory on a GPU, or press e and ask for less (contextLength, parallel).",
    "StartStalled": "Next: press l to see what it waits for.",
    "GPULost": "Next: the GPU needs a reset or a reboot; other GPUs are used meanwhile.",
    "NameConflict": "Next: rename one of the two.",
}


def why(model: AIModel, figures: Figures) -> str:
    """Three sentences at the most, each with the numbers that it rests on."""
    if model.deleted_s is not None:
        leaving = len(figures.observed.replicas)
        who = "1 replica drains" if leaving == 1 else f"{leaving} replicas drain"
        return f"It is being deleted: {who} for up to 30 s before the end."
    return " ".join(filter(None, (_load(figures), _scale(model, figures.decision), _fault(model))))


def _load(figures: Figures) -> str:
    lying, observed = figures.lying, figures.observed
    if lying is None:
        return "The queue does not answer, so nobody knows what waits."
    loading = [r for r in observed.replicas if r.phase in (Phase.STARTING, Phase.LOADING)]
    if not lying.queued:
        runs = _run(lying.in_flight) if lying.in_flight else "nothing runs"
        who = "1 replica" if observed.ready == 1 else f"{observed.ready} replicas"
        return f"Nothing waits, {runs}; {who} can answer."
    waiting = "1 request is queued" if lying.queued == 1 else f"{lying.queued} requests are queued"
    if lying.oldest_age_s is not None:
        waiting += f", the oldest for {lying.oldest_age_s:.0f} s"
    if not observed.ready:
        return f"{waiting}; no replica can answer yet{', one loads' if loading else ''}."
    answered, arrived = figures.answered_s, figures.arrived_s
    pace = f": {answered:.1f} a second are answered, {arrived:.1f} arrive" if answered and arrived is not None else ""
    return f"{waiting}, {_run(lying.in_flight)}{pace}."


def _run(in_flight: int) -> str:
    return "1 runs" if in_flight == 1 else f"{in_flight} run"


def _scale(model: AIModel, decision: Decision | None) -> str:
    limits = bounds(model)
    if decision is None or limits is None:
        return ""
    if decision.wants is None:
        return f"The autoscaler is off: {decision.message}."
    return f"The autoscaler wants {decision.wants} ({decision.message}) and may have {limits[0]} to {limits[1]}."


def _fault(model: AIModel) -> str:
    degraded = model.status.condition("Degraded")
    if degraded is None or not degraded.status:
        return ""
    advice = ADVICE.get(degraded.reason, "Next: press l for its logs.")
    return f"{degraded.reason}: {degraded.message}. {advice}"
