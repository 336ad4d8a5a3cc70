"""What the screen of one model says, as values: head, why, histories, conditions, replicas."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.geometry import Size

from operator_embed.fleet.models import ConditionView, History, ModelView
from operator_embed.fleet.queues import QueueView
from screens.format import Spans, Tone, age, count, fit, stale
from screens.queue_columns import TREND, growth
from screens.tones import TONE_OF_MARK, model_mark, model_tone, model_word
from screens.widgets.head import Fields
from screens.widgets.history import braille_line, scaled, top_of
from screens.widgets.panel import heading

ReadHistory = Callable[[str, float, int], History]
SPAN_S = 300.0
WIDE_CELLS = 120
AT_WORK = frozenset({"Backlog", "KEDA", "Static", "Paused"})
"""Reasons of ScalingActive that nobody has to look into."""


def model_head(model: ModelView | None, name: str, at_s: float, wide: bool) -> Fields:
    """Second line of the head: what the model is and how it does."""
    path: Fields = ((1, ((f"Models > {name}", ""),)),)
    if model is None:
        return (*path, (0, (("  deleted", "muted"),)))
    gap = "  " if wide else " "
    word = f"{model_mark(model)} {stale(model_word(model), model.store_stale)}".strip()
    state: Spans = ((f"{gap}{gap if wide else ' '}{word}", model_tone(model)),)
    bounds = f"min {model.min_replicas} max {model.max_replicas}" if wide and model.max_replicas is not None else ""
    says = (
        f"{model.ready}/{model.desired}{' ready' if wide else ''}",
        model.engine,
        model.model,
        bounds,
        f"generation {model.generation}" if wide else "",
        age(at_s - model.created_s),
    )
    return (*path, (0, state), *((0, ((f"{gap}{said}", ""),)) for said in says if said))


def api_line(model: ModelView | None, base_url: str) -> Spans:
    """Where it answers, when it can."""
    if model is None or not model.ready:
        return (("API   no replica is ready: requests wait until one is", "muted"),) if model else ()
    return (("API", "title"), (f"   {base_url}   model {model.model}", ""), ("   C copies a curl line", "muted"))


def why_text(model: ModelView | None) -> Spans:
    """What is so, the cause, what to do next."""
    if model is None:
        return (("It is gone. What happened stays in its events.", "muted"),)
    said = model.why or model.message
    return (("Why", "title"), (f"   {said}", "")) if said else ()


def graphs(model: ModelView | None, queue: QueueView | None, read: ReadHistory, size: Size) -> Sequence[Spans]:
    """Backlog, tokens and first token of the last five minutes, side by side; a caption where there is room."""
    if model is None or size.height < 2:
        return ()
    wide = size.width >= WIDE_CELLS
    gap = 2 if wide else 3
    width = (size.width - 2 - 2 * gap) // 3
    captioned = size.height > 4
    tall = size.height - 1 - captioned
    grows = growth(queue) if queue else TREND[model.trend].strip()
    space = "  " if wide else " "
    first = "-" if model.ttft_p95_s is None else f"{model.ttft_p95_s:.1f} s"
    tokens = count(model.tok_s) if model.generates else "-"
    titles = (
        f"BACKLOG{space}{stale(count(model.backlog), model.queue_stale)} {grows}",
        f"TOK/S{space}{tokens}",
        f"FIRST TOKEN p95{space}{first}",
    )
    samples = [read(f"model/{model.key}/{series}", SPAN_S, 2 * width) for series in ("backlog", "tok_s", "ttft")]
    tops = [top_of(series, least) for series, least in zip(samples, (1.0, 1.0, 0.0), strict=True)]
    shapes = [scaled(series, top) for series, top in zip(samples, tops, strict=True)]
    lines: list[Spans] = [_beside(titles, width, gap, "")]
    lines += [_beside([braille_line(s, width, tall, y) for s in shapes], width, gap, "history") for y in range(tall)]
    if captioned:
        units = (count, count, lambda top: f"{top:.1f} s")
        captions = [_caption(*one) for one in zip(samples, tops, units, strict=True)]
        lines.append(_beside(captions, width, gap, "muted"))
    return lines


def _caption(samples: History, top: float, unit: Callable[[float], str]) -> str:
    known = any(sample is not None for sample in samples)
    return f"0 to {unit(top)}, 5 min" if known else "nothing yet"


def _beside(texts: Sequence[str], width: int, gap: int, tone: Tone) -> Spans:
    return ((" " + (" " * gap).join(fit(text, width) for text in texts), tone),)


def condition_mark(condition: ConditionView, failed: bool) -> str:
    """As for models: what needs a person stands out."""
    match condition.type:
        case "Ready":
            return "!" if failed else " " if condition.status or condition.reason in {"Idle", "Stopped"} else "~"
        case "Progressing":
            return "~" if condition.status else " "
        case "Degraded":
            return ("!" if failed else "~") if condition.status else " "
        case "ScalingActive":
            return " " if condition.reason in AT_WORK else "~"
    return " "


def conditions(model: ModelView | None, at_s: float, size: Size) -> Sequence[Spans]:
    """One line a condition under a heading."""
    if model is None:
        return ()
    failed = model_mark(model) == "!"
    lines: list[Spans] = [heading("Conditions", "", "", size.width)]
    room = size.width - 45 - 7
    for condition in model.conditions:
        mark = condition_mark(condition, failed)
        tone = TONE_OF_MARK[mark]
        lines.append(
            (
                (f" {mark} {fit(condition.type, 14)} ", tone),
                (f"{condition.status!s:5}  ", ""),
                (f"{fit(condition.reason, 19)} ", tone),
                (f"{fit(condition.message, room)} {age(at_s - condition.since_s):>4}", ""),
            )
        )
    return lines
