"""What the main screen shows of each model, and of all of them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from operator_embed.fleet.fleet import FailureView, FleetView
from operator_embed.fleet.models import ModelView
from screens.format import Spans, Tone, age, count, gib, gib_sum, mean, pct, plural, rate, stale, watts
from screens.tones import TONE_OF_MARK, event_mark, event_tone, model_mark, model_tone, model_word
from screens.widgets.columns import Column, age_column
from screens.widgets.history import shape

if TYPE_CHECKING:
    from screens.widgets.head import Fields

READY_CELLS = 5
OLD_S = 10.0
"""A request that waits longer than this is news."""
TREND = {1: "▲", -1: "▼", 0: " "}


def waits(model: ModelView) -> Tone:
    """The tone follows the oldest request, not the backlog: a busy model always has one."""
    return "warning" if (model.oldest_s or 0.0) > OLD_S else ""


def quiet(text: str) -> Tone:
    """Zeros, and what does not apply, step back."""
    return "muted" if text in {"0", "-"} else ""


def _oldest(model: ModelView) -> str:
    if model.oldest_s is None:
        return "?" if model.backlog is None else "-"
    return stale(age(model.oldest_s), model.queue_stale)


def _trend(model: ModelView) -> str:
    return "?" if model.queue_stale and model.backlog is not None else TREND[model.trend]


def _ready(model: ModelView) -> str:
    """Two numbers of two digits fill the column: there the mark of the row alone says that they are old."""
    numbers = f"{model.ready}/{model.desired}"
    return stale(numbers, model.store_stale and len(numbers) < READY_CELLS)


def _unheard(model: ModelView) -> bool:
    """With all of its sources silent, nobody tells its rates either."""
    return model.queue_stale and model.store_stale


def _req_s(model: ModelView) -> str:
    return stale(rate(model.req_s), _unheard(model))


def _tok_s(model: ModelView) -> str:
    return stale(count(model.tok_s), _unheard(model)) if model.generates else "-"


def _busy_is_old(model: ModelView) -> bool:
    return model.store_stale or model.busy_stale


def _busy_gpu(model: ModelView) -> str:
    return stale(pct(model.busy_pct), _busy_is_old(model)) if model.on_gpu else "-"


def _vram(model: ModelView) -> str:
    return stale(gib(model.vram_mib), _busy_is_old(model)) if model.on_gpu else "-"


def _busy_cpu(model: ModelView) -> str:
    if model.busy_pct is None:
        return "?" if model.ready and model.type == "local" else "-"
    return stale(pct(model.busy_pct), _busy_is_old(model))


def _kv(model: ModelView) -> str:
    return "-" if model.kv_pct is None else stale(pct(model.kv_pct), _unheard(model))


def _failure_tail(model: ModelView, at_s: float) -> str:
    if not model.failure:
        return ""
    times = f" x{count(model.failure_count)}" if model.failure_count > 1 else ""
    return f"{times} {age(at_s - model.failure_s)}"


def _bounds(model: ModelView) -> str:
    return "-" if model.max_replicas is None else f"{model.min_replicas}-{model.max_replicas}"


def _flight(model: ModelView) -> str:
    return stale(f"{count(model.in_flight)}/{model.slots}", model.queue_stale)


def _first(model: ModelView) -> str:
    return "-" if model.ttft_p95_s is None else stale(f"{model.ttft_p95_s:.1f}s", _unheard(model))


CONTEXT: Column[ModelView] = Column("CONTEXT", 10, lambda m, _: m.context, middle=True, drop=1)
LAST_FAILURE: Column[ModelView] = Column(
    "LAST FAILURE", 23, lambda m, _: m.failure, tail=_failure_tail, least=16, gap=2, drop=9, since=120, ticks=True,
    tone=lambda m: model_tone(m) if model_mark(m) in "!~" else "muted",
)  # fmt: skip
FULL_CELLS = 200
"""Here all columns fit, and the reasons of failures in full."""
AGE: Column[ModelView] = age_column(lambda m: m.created_s)
NAMESPACE: Column[ModelView] = Column("NAMESPACE", 10, lambda m, _: m.namespace, middle=True, drop=1)


@cache
def columns(*, on_gpus: bool, contexts: bool = False, namespaces: bool = False) -> Sequence[Column[ModelView]]:
    """With the use of GPUs or of the CPU, and with where a model is when there are several of either."""
    busy, busy_text = ("GPU%", _busy_gpu) if on_gpus else ("CPU%", _busy_cpu)
    return (
        Column("", 1, lambda m, _: model_mark(m), tone=model_tone, gap=0),
        *((CONTEXT,) if contexts else ()),
        *((NAMESPACE,) if namespaces else ()),
        Column("NAME", 20, lambda m, _: m.name, middle=True, grow=True),
        Column("ENGINE", 7, lambda m, _: m.engine, drop=8, since=120),
        Column("TYPE", 6, lambda m, _: m.type, drop=20, since=160),
        Column("MODEL", 24, lambda m, _: m.model, middle=True, drop=16, since=160),
        Column("READY", READY_CELLS, lambda m, _: _ready(m),
               value=lambda m: m.ready, right=True),
        Column("STATE", 9, lambda m, _: stale(model_word(m), m.store_stale), tone=model_tone),
        Column("MIN-MAX", 7, lambda m, _: _bounds(m), right=True, drop=17, since=160),
        Column("BACKLOG", 7, lambda m, _: count(m.backlog), value=lambda m: m.backlog, right=True,
               tone=lambda m: quiet(count(m.backlog))),
        Column("", 1, lambda m, _: _trend(m), gap=0, tone=lambda m: "muted" if m.queue_stale else waits(m)),
        Column("2 MIN", 8, lambda m, _: shape(() if m.queue_stale else m.backlog_2min, 8),
               tone=lambda m: "history", value=lambda m: m.backlog, drop=7, since=100),
        Column("FLIGHT", 6, lambda m, _: _flight(m), value=lambda m: m.in_flight, right=True, drop=11, since=160),
        Column("OLDEST", 6, lambda m, _: _oldest(m), value=lambda m: m.oldest_s, right=True, seconds=True, drop=2,
               tone=lambda m: waits(m) or quiet(_oldest(m))),
        Column("REQ/S", 5, lambda m, _: _req_s(m), value=lambda m: m.req_s, right=True, drop=5,
               tone=lambda m: quiet(_req_s(m))),
        Column("TOK/S", 6, lambda m, _: _tok_s(m), value=lambda m: m.tok_s, right=True, drop=3,
               tone=lambda m: quiet(_tok_s(m))),
        Column("1ST p95", 7, lambda m, _: _first(m), value=lambda m: m.ttft_p95_s, right=True,
               drop=10, since=160),
        Column(busy, 4, lambda m, _: busy_text(m), value=lambda m: m.busy_pct, right=True, drop=4,
               tone=lambda m: quiet(busy_text(m))),
        Column("VRAM", 6, lambda m, _: _vram(m), value=lambda m: m.vram_mib,
               right=True, drop=12, since=160),
        Column("KV %", 4, lambda m, _: _kv(m), value=lambda m: m.kv_pct, right=True, drop=11, since=160,
               tone=lambda m: quiet(_kv(m))),
        Column("RESTARTS", 8, lambda m, _: count(m.restarts), value=lambda m: m.restarts, right=True,
               drop=13, since=160),
        replace(AGE, drop=6),
        replace(LAST_FAILURE, until=FULL_CELLS),
        replace(LAST_FAILURE, width=27, since=FULL_CELLS),
    )  # fmt: skip


ON_GPUS = columns(on_gpus=True)


def columns_for(view: FleetView) -> Sequence[Column[ModelView]]:
    """What tells the models of a view apart, and what they use."""
    contexts, namespaces = ({getattr(m, name) for m in view.models} for name in ("context", "namespace"))
    return columns(on_gpus=bool(view.gpus), contexts=len(contexts) > 1, namespaces=len(namespaces) > 1)


FIELDS: Mapping[str, Callable[[ModelView], float | str | None]] = {
    "desired": lambda m: m.desired,
    "queued": lambda m: m.queued,
    "flight": lambda m: m.in_flight,
    "type": lambda m: m.type,
    "model": lambda m: m.model,
    "context": lambda m: m.context,
    "namespace": lambda m: m.namespace,
    "degraded": lambda m: m.degraded,
}

FAILURES: Sequence[Column[FailureView]] = (
    Column("", 1, lambda f, _: event_mark(f), tone=event_tone, gap=0),
    age_column(lambda f: f.since_s),
    Column("COUNT", 3, lambda f, _: f"x{count(f.count)}" if f.count > 1 else "", right=True, gap=2),
    Column("SUBJECT", 20, lambda f, _: f.subject, middle=True, gap=2, since=120),
    Column("REASON", 17, lambda f, _: f.reason, since=120, until=160, tone=event_tone),
    Column("REASON", 27, lambda f, _: f.reason, since=160, tone=event_tone),
    Column("MESSAGE", 20, lambda f, _: f.message, grow=True, since=120),
    Column("SUBJECT", 16, lambda f, _: f.subject, middle=True, until=120),
    Column("WHY", 20, lambda f, _: f"{f.reason}  {f.message}", grow=True, until=120),
)  # fmt: skip


def totals(view: FleetView, wide: bool) -> Fields:
    """The second line of the head: all models, and what they run on; a topic that two models share counts once."""
    models = view.models
    head = (1, _marks(models, "   " if wide else "  "))
    if not models:
        return (head,)
    backlog = (32 if wide else 28, _backlog(models, wide))
    req_s, tok_s = _sum([m.req_s for m in models]), _sum([m.tok_s for m in models])
    short = req_s is not None and req_s >= 10 and not wide
    silent = req_s is not None and any(m.req_s is None or _unheard(m) for m in models)
    rates: Fields = (
        (59 if wide else 48, ((f"{stale(count(req_s) if short else rate(req_s), silent)} req/s", ""),)),
        (71 if wide else 58, ((f"{stale(count(tok_s), silent)} tok/s", ""),)),
    )
    return (head, backlog, *rates, *(_gpus(view, wide) if view.gpus else _host(view, wide)))


def _marks(models: Sequence[ModelView], gap: str) -> Spans:
    marks = Counter(map(model_mark, models))
    counted: Spans = tuple((f"{gap}{mark} {marks[mark]}", TONE_OF_MARK[mark]) for mark in "!~?z" if marks[mark])
    return ((plural(len(models), "model"), ""), *counted)


def _backlog(models: Sequence[ModelView], wide: bool) -> Spans:
    by_topic = {model.topic: model for model in models}.values()
    total = _sum([model.backlog for model in by_topic])
    if any(model.queue_stale for model in by_topic):
        return ((f"backlog {stale(count(total), True)}", ""),)
    trend = sum(model.trend * (model.backlog or 0) for model in by_topic)
    oldest_s = max((m.oldest_s for m in by_topic if m.oldest_s is not None), default=None)
    tone: Tone = "warning" if (oldest_s or 0.0) > OLD_S else ""
    arrow = f" {TREND[(trend > 0) - (trend < 0)]}".rstrip()
    oldest = "" if oldest_s is None else f" {'oldest ' if wide else ''}{age(oldest_s)}"
    return ((f"backlog {count(total)}", ""), (arrow + oldest, tone))


def _gpus(view: FleetView, wide: bool) -> Fields:
    silent = view.gpu_panel.stale or any(gpu.stale for gpu in view.gpus)
    util = stale(pct(mean(tuple(gpu.util_pct for gpu in view.gpus))), silent)
    if not wide:
        return ((71, ((f"GPU {util}{'' if silent else ' '}%", ""),)),)
    used, total, power = (
        _sum([getattr(gpu, name) for gpu in view.gpus]) for name in ("used_mib", "total_mib", "power_w")
    )
    figure, unit = watts(power).split(" ")
    return (
        (83, ((f"GPU {util} %", ""),)),
        (93, ((f"VRAM {stale(gib_sum(used), silent)}/{gib_sum(total)} GiB", ""),)),
        (111, ((f"{stale(figure, silent)} {unit}", ""),)),
    )


def _host(view: FleetView, wide: bool) -> Fields:
    silent = view.gpu_panel.stale
    cpu = f"CPU {stale(pct(view.host.cpu_pct), silent)}{'' if silent and not wide else ' '}%"
    if not wide:
        return ((71, ((cpu, ""),)),)
    ram = f"RAM {stale(gib(view.host.ram_used_mib), silent)}/{gib(view.host.ram_total_mib)} GiB"
    return ((83, ((cpu, ""),)), (93, ((ram, ""),)))


def _sum(values: Sequence[float | None]) -> float | None:
    """Of what is known; `None` when nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
