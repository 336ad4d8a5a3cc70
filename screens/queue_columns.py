"""What a table shows of queues and of dead letters, and what is said of one queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from textual.geometry import Size

from operator_embed.fleet.models import History
from operator_embed.fleet.queues import DeadLetterView, QueueView
from screens.format import Spans, Tone, age, count, fit, rate, stale
from screens.tones import TONE_OF_MARK
from screens.widgets.columns import Column, age_column
from screens.widgets.history import braille_line, scaled, shape, top_of
from screens.widgets.panel import heading
from screens.widgets.text_lines import folds

ReadHistory = Callable[[str, float, int], History]
SPAN_S = 300.0
OLD_S = 10.0
"""A request that waits longer than this is news."""
TREND = {1: "▲", -1: "▼", 0: " "}
WIDE_CELLS = 120
TALL_LINES = 12
GRAPH_LINES = 4
ID_CHARACTERS = 8


def queue_mark(queue: QueueView) -> str:
    """`!` nobody answers what waits, `~` it waits too long, `?` source silent."""
    if queue.stale:
        return "?"
    if not queue.queued or ((queue.oldest_s or 0.0) <= OLD_S and queue.drain != "loads"):
        return " "
    return "~" if queue.ready or queue.drain == "loads" else "!"


def queue_tone(queue: QueueView) -> Tone:
    """Tone of a queue's mark."""
    return TONE_OF_MARK[queue_mark(queue)]


def quiet(text: str) -> Tone:
    """Zeros, and what does not apply, step back."""
    return "muted" if text in {"0", "-"} else ""


def _figure(value: int | None, queue: QueueView) -> str:
    return stale(count(value), queue.stale)


def _oldest(queue: QueueView) -> str:
    return ("?" if queue.queued is None else "-") if queue.oldest_s is None else stale(age(queue.oldest_s), queue.stale)


QUEUES: Sequence[Column[QueueView]] = (
    Column("", 1, lambda q, _: queue_mark(q), tone=queue_tone, gap=0),
    Column("MODEL", 19, lambda q, _: q.name, middle=True, grow=True),
    Column("QUEUED", 6, lambda q, _: _figure(q.queued, q), value=lambda q: q.queued, right=True,
           tone=lambda q: quiet(count(q.queued))),
    Column("FLIGHT", 7, lambda q, _: _figure(q.in_flight, q), value=lambda q: q.in_flight, right=True, least=6,
           tone=lambda q: quiet(count(q.in_flight))),
    Column("5 MIN", 8, lambda q, _: shape(() if q.stale else q.backlog_5min, 8), value=lambda q: q.queued,
           tone=lambda q: "history", gap=2, since=100),
    Column("OLDEST", 8, lambda q, _: _oldest(q), value=lambda q: q.oldest_s, right=True, seconds=True,
           tone=lambda q: queue_tone(q) or quiet(_oldest(q))),
    Column("IN/S", 6, lambda q, _: rate(q.in_s), value=lambda q: q.in_s, right=True, least=5, drop=3,
           tone=lambda q: quiet(rate(q.in_s))),
    Column("OUT/S", 6, lambda q, _: rate(q.out_s), value=lambda q: q.out_s, right=True, least=5, drop=2,
           tone=lambda q: quiet(rate(q.out_s))),
    Column("DRAIN", 7, lambda q, _: q.drain or "-", right=True, least=6, drop=1, tone=lambda q: quiet(q.drain or "-")),
    Column("READY", 6, lambda q, _: f"{q.ready}/{q.desired}", value=lambda q: q.ready, right=True, least=5),
    Column("DEAD", 5, lambda q, _: count(q.dead), value=lambda q: q.dead, right=True, least=4,
           tone=lambda q: "warning" if q.dead else "muted"),
    Column("AUTOSCALER", 22, lambda q, _: q.autoscaler, gap=3, since=110),
)  # fmt: skip
QUEUE_FIELDS: Mapping[str, Callable[[QueueView], float | str | None]] = {
    "desired": lambda q: q.desired,
    "slots": lambda q: q.slots,
}

LETTER_AGE: Column[DeadLetterView] = age_column(lambda d: d.died_s)
LETTERS: Sequence[Column[DeadLetterView]] = (
    replace(LETTER_AGE, width=5),
    Column("REQUEST", 9, lambda d, _: d.request_id[:ID_CHARACTERS], gap=2),
    Column("TRIES", 5, lambda d, _: count(d.attempts), value=lambda d: d.attempts, right=True),
    Column("REASON", 16, lambda d, _: d.reason, gap=2, tone=lambda d: "warning"),
    Column("LAST REPLICA", 18, lambda d, _: d.replica or "-", gap=2, middle=True, since=100),
    Column("IN", 6, lambda d, _: count(d.body_bytes), value=lambda d: d.body_bytes, right=True, since=100),
    Column("ERROR", 20, lambda d, _: d.error, gap=2, grow=True),
)  # fmt: skip


def paragraph(text: str, width: int) -> Sequence[Spans]:
    """Text in lines of at most `width` cells."""
    return [((f" {text[start:end].rstrip()}", ""),) for start, end in folds(text, max(8, width - 2))]


def growth(queue: QueueView) -> str:
    """`▲ 3.1/s`: how fast it grows or shrinks."""
    if not queue.trend or queue.in_s is None or queue.out_s is None:
        return TREND[queue.trend].strip()
    pace = f" {rate(abs(queue.in_s - queue.out_s))}/s" if queue.in_s != queue.out_s else ""
    return TREND[queue.trend] + pace


def balance(queue: QueueView, wide: bool) -> str:
    """What comes in against what goes out."""
    if queue.in_s is None or queue.out_s is None:
        return ""
    short = queue.in_s - queue.out_s
    end = f"   short by {rate(short)}/s" if queue.queued and short > 0 else ""
    if wide:
        return f"IN  {rate(queue.in_s)}/s   OUT  {rate(queue.out_s)}/s{end}"
    return f"in {rate(queue.in_s)}/s   out {rate(queue.out_s)}/s{end}"


def about_queue(queue: QueueView, read: ReadHistory, at_s: float, size: Size) -> Sequence[Spans]:
    """Graphs, the autoscaler's sentence and what it did, in `size`."""
    lines = _tall(queue, read, at_s, size) if size.height >= TALL_LINES else _short(queue, read, size)
    return lines[: size.height]


def _short(queue: QueueView, read: ReadHistory, size: Size) -> list[Spans]:
    width = size.width // 2
    queued = read(f"queue/{queue.key}/queued", SPAN_S, 2 * (width - 2))
    graph = scaled(queued, top_of(queued))
    head = heading(queue.name, f"{_figure(queue.queued, queue)} {growth(queue)}", "5 min", size.width)
    said = (balance(queue, wide=False), queue.autoscaler)
    return [
        head,
        *(((f" {braille_line(graph, width - 2, 2, y)}  ", "history"), (said[y], "")) for y in range(2)),
        *paragraph(queue.explain, size.width),
    ]


def _tall(queue: QueueView, read: ReadHistory, at_s: float, size: Size) -> list[Spans]:
    half = size.width // 2
    width = half - 4
    queued = read(f"queue/{queue.key}/queued", SPAN_S, 2 * width)
    arrivals = read(f"queue/{queue.key}/in", SPAN_S, 2 * width)
    most_queued, most_in = top_of(queued), top_of(arrivals, 0.0)
    left, right = scaled(queued, most_queued), scaled(arrivals, most_in)
    lines: list[Spans] = [
        heading(queue.name, "", "5 min", size.width),
        (
            (fit(f" QUEUED  {_figure(queue.queued, queue)} {growth(queue)}", half + 1), ""),
            (balance(queue, wide=True), ""),
        ),
    ]
    for y in range(GRAPH_LINES):
        graphs = (braille_line(samples, width, GRAPH_LINES, y) for samples in (left, right))
        lines.append(((f" {'    '.join(fit(graph, width) for graph in graphs)}", "history"),))
    served = f"arrivals, 0 to {rate(most_in)}/s;  served now {rate(queue.out_s)}/s"
    lines.append(((fit(f" 0 to {count(most_queued)}", half + 1), "muted"), (served, "muted")))
    lines += paragraph(f"Autoscaler   {queue.explain or queue.autoscaler}", size.width)
    lines += [(), heading("Scale decisions", "" if queue.decisions else "none yet", "", size.width)]
    lines += [((f" {age(at_s - made.at_s):>6}  {fit(made.text, 9)}  {made.why}", ""),) for made in queue.decisions]
    return lines
