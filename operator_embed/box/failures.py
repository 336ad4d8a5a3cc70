"""What is wrong now, one line a cause; a line leaves when its cause is gone."""

from __future__ import annotations

from collections.abc import Sequence

from operator_embed.box.chronicle import last_cause
from operator_embed.box.facts import Facts
from operator_embed.box.gpu_news import throttle_text
from operator_embed.fleet.fleet import FailureView
from operator_embed.fleet.gpus import GpuView
from operator_embed.fleet.models import ModelView, State
from operator_embed.fleet.queues import QueueView
from operator_embed.fleet.text import safe_text
from worker_embed.process.spec import Phase


def failures(
    facts: Facts, models: Sequence[ModelView], queues: Sequence[QueueView], gpus: Sequence[GpuView], now_s: float
) -> list[FailureView]:
    """Ranked: those that keep requests from an answer, then by requests queued behind them, then newest."""
    found: list[tuple[int, FailureView]] = []
    if facts.store_down_s is not None:
        message = f"what is asked and what happens is not kept: {facts.store_trouble}"
        found.append((1 << 31, _failure("store", "NotWritable", message, facts.store_down_s, severe=True)))
    if facts.queue_full_s is not None:
        message = f"the disk of {facts.store_text} is full, new requests get 503; make room there"
        found.append((1 << 30, _failure("queue", "DiskFull", message, facts.queue_full_s, severe=True)))
    if facts.queue_down_s is not None:
        message = _silent(facts, "nats-server")
        message = message or "nats does not answer and is being restarted; running requests go on, new ones get 503"
        server = facts.processes.get("nats-server")
        if server is not None and server.phase is Phase.BACKOFF:
            message = f"nats cannot run, new requests get 503: {_last_words(facts, 'nats-server') or server.exit}"
        found.append((1 << 30, _failure("queue", "Unreachable", message, facts.queue_down_s, severe=True)))
    if facts.api_down_s is not None:
        message = _silent(facts, "gateway") or _last_words(facts, "gateway")
        message = message or "does not answer and is being restarted; clients are refused"
        found.append((1 << 29, _failure("API", "Unreachable", message, facts.api_down_s, severe=True)))
    for model in models:
        found += [(model.queued or 0, failure) for failure in _of_model(model, facts)]
    for queue in queues:
        if queue.dead:
            who = (
                "1 request gave up after all its"
                if queue.dead == 1
                else f"{queue.dead} requests gave up after all their"
            )
            last = facts.telemetry.last_dead.get(queue.key)
            cause = f": {last_cause(last)}" if last else ""
            text = f"{who} attempts{cause}; press 4 to see them"
            event = facts.news.newest.get((queue.model, "DeadLetter"))
            failure = _failure(
                queue.name,
                "DeadLetters",
                text,
                event.at_s if event else now_s,
                count=queue.dead,
                severe=True,
                model=queue.model,
            )
            found.append((queue.queued or 0, failure))
    for gpu in gpus:
        if gpu.lost:
            since_s = facts.gpu_news.lost_s.get(gpu.key, now_s)
            found.append((0, _failure(f"GPU {gpu.index}", "Lost", gpu.lost, since_s, severe=True)))
        elif gpu.throttle and gpu.throttled_since_s is not None:
            text = throttle_text(gpu.throttle, gpu.temp_c, gpu.sm_mhz, gpu.max_sm_mhz)
            if gpu.throttled_share:
                text += f", {100 * gpu.throttled_share:.0f} % of the last hour"
            found.append((0, _failure(f"GPU {gpu.index}", "Throttled", text, gpu.throttled_since_s, severe=False)))
    if facts.gpu_news.unread_s is not None and (sample := facts.telemetry.sample):
        found.append((0, _failure("GPU", "Unreadable", sample.notice, facts.gpu_news.unread_s, severe=False)))
    found.sort(key=lambda pair: (not pair[1].severe, -pair[0], -pair[1].since_s))
    return [failure for _, failure in found]


def _silent(facts: Facts, process: str) -> str:
    """What becomes of a child process that runs and does not answer; empty while it does."""
    state = facts.processes.get(process)
    if state is None or state.silent_s is None:
        return ""
    return "runs and does not answer, as if it was frozen; requests wait, and it is started again if that goes on"


def _last_words(facts: Facts, process: str) -> str:
    """What a child process said before it ended: why it could not start, if that is the trouble."""
    state = facts.processes.get(process)
    return next((line for line in reversed(state.stderr_tail) if line.strip()), "") if state else ""


def _of_model(model: ModelView, facts: Facts) -> list[FailureView]:
    degraded = next((c for c in model.conditions if c.type == "Degraded" and c.status), None)
    if degraded is None:
        return []
    event = facts.news.newest.get((model.key, degraded.reason))
    severe = model.state is State.FAILED
    since_s = event.at_s if event else degraded.since_s
    count = event.count if event else 1
    return [
        _failure(model.name, degraded.reason, degraded.message, since_s, count=count, severe=severe, model=model.key)
    ]


def _failure(
    subject: str, reason: str, message: str, since_s: float, *, count: int = 1, severe: bool, model: str = ""
) -> FailureView:
    return FailureView(
        key=f"{model or subject}/{reason}",
        version=0,
        severe=severe,
        since_s=since_s,
        count=count,
        subject=safe_text(subject),
        reason=reason,
        message=safe_text(message),
        model=model,
    )
