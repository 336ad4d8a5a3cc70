"""One GPU as a block of lines: its figures, a graph, and the ledger of its memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from rich.cells import cell_len

from operator_embed.fleet.gpus import GpuView
from screens.box_panel import ReadHistory, graph, padded
from screens.format import Spans, Tone, age, fit, pct, span, stale
from screens.tones import TONE_OF_MARK, gpu_mark

WIDE_CELLS = 120
METRICS: Mapping[str, str] = {"util": "utilisation", "vram": "VRAM", "power": "power", "temp": "heat"}
SEEN_MIB = 64.0
"""What is used from here on is worth a cell."""
SPANS_S = (120.0, 600.0, 3_600.0)


@dataclass(frozen=True, slots=True)
class Look:
    """What the graphs show."""

    metric: str = "util"
    span_s: float = SPANS_S[0]
    zoomed: bool = False


def span_text(span_s: float) -> str:
    """`2 min`, `1 h`."""
    return f"{span_s / 60:.0f} min" if span_s < 3_600 else f"{span_s / 3_600:.0f} h"


def ledger(gpu: GpuView, width: int) -> Spans:
    """The memory as a bar: `█` ours and used, `▒` claimed but not yet used, `x` strangers, `·` free."""
    if not gpu.total_mib or gpu.used_mib is None:
        return ((fit("?", width), "muted"),)
    used = gpu.ours_mib or 0.0
    others = max(0.0, gpu.used_mib - used)
    parts = (("█", used, SEEN_MIB), ("▒", max(0.0, gpu.claimed_mib - used), inf), ("x", others, SEEN_MIB))
    cells = (char * max(round(mib / gpu.total_mib * width), mib >= seen_mib) for char, mib, seen_mib in parts)
    bar = "".join(cells)[:width]
    return ((bar, ""), ("·" * (width - len(bar)), "muted"))


def block(gpu: GpuView, read: ReadHistory, look: Look, here: bool, width: int, at_s: float) -> Sequence[Spans]:
    """All lines of one GPU, an empty one at the end where there is room."""
    wide = width >= WIDE_CELLS
    tone: Tone = "accent" if here else "history"
    title = _title_wide(gpu) if wide else _title(gpu, width, at_s)
    if look.zoomed:
        return (title, *_zoomed(gpu, read, look, tone, width))
    if not wide:
        line = _graph(gpu, read, look, 28, 1)[0]
        return (title, (("    ", ""), (line, tone), ("  ", ""), *ledger(gpu, 28), (f"  {_free(gpu)} GiB free", "")))
    lines = _graph(gpu, read, look, 56, 3)
    notes: Sequence[Spans] = (ledger(gpu, 57), memory_sums(gpu), _news(gpu, at_s))
    return (title, *((("    ", ""), (g, tone), ("  ", ""), *note) for g, note in zip(lines, notes, strict=True)), ())


def _graph(gpu: GpuView, read: ReadHistory, look: Look, width: int, height: int) -> tuple[str, ...]:
    return graph(read(f"gpu/{gpu.key}/{look.metric}", look.span_s, 2 * width), width, height)


def _zoomed(gpu: GpuView, read: ReadHistory, look: Look, tone: Tone, width: int) -> Sequence[Spans]:
    """All four metrics, as wide as there is room."""
    lines: list[Spans] = []
    room = width - 5
    for metric, word in METRICS.items():
        chart = graph(read(f"gpu/{gpu.key}/{metric}", look.span_s, 2 * room), room, 3)
        top = {"temp": "100 °C", "power": "limit"}.get(metric, "100 %")
        lines += [((f"    {word}  0 to {top}, {span_text(look.span_s)}", "muted"),)]
        lines += [(("    ", ""), (line, tone)) for line in chart]
    return (*lines, (("    ", ""), *ledger(gpu, room)), (("    ", ""), *memory_sums(gpu)), ())


def _link(gpu: GpuView) -> tuple[str, str]:
    """Generation and lanes now, and what the lanes could be when that is more."""
    link, _, could = gpu.pcie.partition(" of ")
    return link, could


def _figures(gpu: GpuView) -> tuple[str, str, str, str]:
    """Utilisation, temperature, power, clock."""
    limit = "?" if gpu.power_limit_w is None else f"{gpu.power_limit_w:.0f}"
    return (
        f"{stale(pct(gpu.util_pct), gpu.stale):>2} %",
        f"{stale(pct(gpu.temp_c), gpu.stale)} °C",
        f"{stale(pct(gpu.power_w), gpu.stale)}/{limit} W",
        f"{stale(pct(gpu.sm_mhz), gpu.stale)} MHz",
    )


def _names(gpu: GpuView) -> str:
    return f"{gpu.models[0]}" + (f" +{len(gpu.models) - 1}" if len(gpu.models) > 1 else "") if gpu.models else ""


def _title_wide(gpu: GpuView) -> Spans:
    link, could = _link(gpu)
    if gpu.lost:
        return ((f" {gpu.index}  {gpu.key[:12]}   ", ""), (f"! lost  {gpu.lost}", "error"))
    pcie = (f"PCIe {link}" if link else "PCIe ?") + (" ~" if could else "")
    return (("   ".join((f" {gpu.index}  {gpu.key[:12]}", *_figures(gpu), pcie, _names(gpu))), ""),)


def _title(gpu: GpuView, width: int, at_s: float) -> Spans:
    if gpu.lost:
        return ((f" {gpu.index}  ", ""), (fit(f"! lost  {gpu.lost}", width - 6), "error"))
    link, could = _link(gpu)
    lanes = (link.rpartition(" ")[2] or "?") + (" ~" if could else "")
    util, heat, power, clock = _figures(gpu)
    text = f" {gpu.index}  {util}  {heat}  {power}  {clock}  {lanes}"
    news = f"~ {gpu.throttle} {_since(gpu, at_s)}".rstrip() if gpu.throttle else ""
    room = width - cell_len(text) - 3 - (len(news) + 2 if news else 1)
    left: Spans = ((f"{text}   {fit(_names(gpu), max(0, room))}", ""),)
    return (*padded(left, width - 1 - len(news)), (news, TONE_OF_MARK[gpu_mark(gpu)])) if news else left


def _since(gpu: GpuView, at_s: float) -> str:
    return "" if gpu.throttled_since_s is None else age(at_s - gpu.throttled_since_s)


def _free_mib(gpu: GpuView) -> float | None:
    if gpu.free_mib is not None or gpu.total_mib is None or gpu.used_mib is None:
        return gpu.free_mib
    ours = gpu.ours_mib or 0.0
    return max(0.0, gpu.total_mib - max(gpu.claimed_mib, ours) - max(0.0, gpu.used_mib - ours))


def _tenths(mib: float | None) -> str:
    return "?" if mib is None else f"{mib / 1024:.1f}"


def _free(gpu: GpuView) -> str:
    return _tenths(_free_mib(gpu))


def memory_sums(gpu: GpuView) -> Spans:
    """`used 73.2  claimed 73.6  others 0.4  free 5.0 of 80.0 GiB`."""
    others = None if gpu.used_mib is None else max(0.0, gpu.used_mib - (gpu.ours_mib or 0.0))
    return (
        (f"used {_tenths(gpu.ours_mib)}  claimed {_tenths(gpu.claimed_mib)}  others {_tenths(others)}  ", ""),
        (f"free {_free(gpu)} of {_tenths(gpu.total_mib)} GiB", ""),
    )


def _news(gpu: GpuView, at_s: float) -> Spans:
    """Throttle and link, only when they are news."""
    link, could = _link(gpu)
    lines: list[tuple[str, Tone]] = []
    if gpu.throttle:
        since = "" if gpu.throttled_since_s is None else f" {span(at_s - gpu.throttled_since_s)}"
        share = f", {pct(100 * gpu.throttled_share)} % of 1 h" if gpu.throttled_share else ""
        lines.append((f"throttle ~ {gpu.throttle}{since}{share}", "warning"))
    if could:
        lines.append((f"{'   ' if lines else ''}link {link.rpartition(' ')[2]} of {could}: slow lane", ""))
    return tuple(lines)
