"""The panel that shows what the models run on: GPUs, or CPU and memory with the reason why there are none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import zip_longest

from rich.cells import cell_len
from textual.geometry import Size

from operator_embed.fleet.fleet import FleetView
from operator_embed.fleet.gpus import GpuView
from operator_embed.fleet.models import History
from screens.format import Spans, Tone, age, fit, gib, mean, pct, stale
from screens.tones import TONE_OF_MARK, gpu_mark
from screens.widgets.history import braille, scaled
from screens.widgets.panel import heading

ReadHistory = Callable[[str, float, int], History]
"""`Fleet.history`: series, span in seconds, number of samples."""

WIDE_CELLS = 120
TALL_LINES = 7
SIDE_BY_SIDE = 4
WITH_GRAPHS = 8
NAMED_LINES = 4
"""Graphs this high have the models that run there below them."""
BLOCKS = " ▁▂▃▄▅▆▇█"


def box_lines(view: FleetView, read: ReadHistory, size: Size) -> Sequence[Spans]:
    """The whole panel, heading included, in `size`."""
    span_s = 120.0 if size.width >= WIDE_CELLS else 60.0
    head = _heading(view, size.width, f"{span_s / 60:.0f} min")
    body = _gpus(view, read, span_s, size) if view.gpus else _host(view, read, span_s, size)
    return (head, *body)[: size.height]


def gpu_names(gpus: Sequence[GpuView], short: bool) -> str:
    """`4 x NVIDIA A100-SXM4-80GB`; `short` leaves out who made them."""
    counted = Counter(gpu.name.removeprefix("NVIDIA ") if short else gpu.name for gpu in gpus)
    return ", ".join(f"{number} x {name}" for name, number in counted.items())


def graph(samples: History, width: int, height: int, top: float = 100.0) -> tuple[str, ...]:
    """An area chart of `height` lines, from 0 to `top`."""
    return braille(scaled(samples, top), width, height)


def _heading(view: FleetView, width: int, span: str) -> Spans:
    panel = view.gpu_panel
    if not view.gpus:
        return heading("CPU", panel.notice, span, width, "warning" if panel.warning else "")
    if panel.notice:
        return heading("GPUs", f"~ {panel.notice}" if panel.warning else panel.notice, span, width, "warning")
    return heading("GPUs", gpu_names(view.gpus, width < WIDE_CELLS), span, width)


def _gpus(view: FleetView, read: ReadHistory, span_s: float, size: Size) -> Sequence[Spans]:
    gpus = view.gpus
    if len(gpus) > WITH_GRAPHS or len({gpu.node for gpu in gpus}) > 1:
        return _nodes(gpus)
    if size.height < TALL_LINES:
        across = min(len(gpus), 2) if len(gpus) <= SIDE_BY_SIDE else -(-len(gpus) // 2)
        slots = [_flat(gpu, read, span_s, size.width // across, view.at_s) for gpu in gpus]
        return _grid(slots, across, size.width)
    across = len(gpus) if len(gpus) <= SIDE_BY_SIDE else -(-len(gpus) // 2)
    lines = 4 if len(gpus) <= SIDE_BY_SIDE else 2
    slots = [_block(gpu, read, span_s, size.width // across, lines, view.at_s) for gpu in gpus]
    return _grid(slots, across, size.width)


def _grid(slots: Sequence[Sequence[Spans]], across: int, width: int) -> Sequence[Spans]:
    """Slots of lines side by side, `across` in a row."""
    lines: list[Spans] = []
    for first in range(0, len(slots), across):
        rows = zip_longest(*slots[first : first + across], fillvalue=())
        lines += [tuple(span for part in parts for span in padded(part, width // across)) for parts in rows]
    return lines


def padded(line: Spans, width: int) -> Spans:
    """A line in exactly `width` cells, or longer when it is."""
    cells = sum(cell_len(text) for text, _ in line)
    return (*line, (" " * (width - cells), "")) if cells < width else line


def _figures(gpu: GpuView) -> tuple[str, str, str]:
    """Utilisation, memory, temperature."""
    total = "?" if gpu.total_mib is None else f"{gpu.total_mib / 1024:.0f}"
    return (
        f"{stale(pct(gpu.util_pct), gpu.stale):>3} %",
        f"{stale(gib(gpu.used_mib), gpu.stale)}/{total}",
        f"{stale(pct(gpu.temp_c), gpu.stale)} °C",
    )


def _flat(gpu: GpuView, read: ReadHistory, span_s: float, width: int, at_s: float) -> Sequence[Spans]:
    """One line: figures, a mark when there is news, a graph."""
    mark = gpu_mark(gpu)
    tone = TONE_OF_MARK[mark]
    if gpu.lost:
        return (((f" {gpu.index} ", ""), (fit(f" ! lost  {gpu.lost}", width - 5), tone)),)
    util, memory, heat = _figures(gpu)
    text = f" {gpu.index} {util} {memory}" + (f" {heat}" if width >= 38 else "")
    start = max(25, cell_len(text) + 2) if width >= 38 else cell_len(text) + 2
    room = width - 1 - start
    if room < 4:
        return (((fit(text, width - 3), ""), (mark, tone)),)
    gap = start - cell_len(text) - 1
    line = graph(read(f"gpu/{gpu.key}/util", span_s, 2 * room), room, 1)[0]
    return (((text, ""), (mark, tone), (" " * gap, ""), (line, "history")),)


def _block(gpu: GpuView, read: ReadHistory, span_s: float, width: int, lines: int, at_s: float) -> Sequence[Spans]:
    """Figures above a graph, the models on it below."""
    mark = gpu_mark(gpu)
    tone: Tone = TONE_OF_MARK[mark]
    util, memory, heat = _figures(gpu)
    texts = [f" {gpu.index} {util}", f"{memory} GiB", heat]
    while len(texts) > 1 and sum(map(len, texts)) + 2 * (len(texts) - 1) > width - 1:
        texts.pop()
    named = lines >= NAMED_LINES
    head: Spans = (("  ".join(texts), ""), (f" {mark}" if mark == "?" or (mark == "~" and not named) else "", tone))
    if gpu.lost:
        head = ((f" {gpu.index} ", ""), (fit(f" ! lost  {gpu.lost}", width - 4), tone))
    room = width - 2
    graphs = graph(read(f"gpu/{gpu.key}/util", span_s, 2 * room), room, lines)
    if not named:
        return (head, *(((f" {line}", "history"),) for line in graphs))
    names = (
        gpu.models[0].split(" ")[0] + (f" +{len(gpu.models) - 1}" if len(gpu.models) > 1 else "") if gpu.models else ""
    )
    since = "" if gpu.throttled_since_s is None else f" {age(at_s - gpu.throttled_since_s)}"
    news = f"  ~ throttled{since}" if gpu.throttle else ""
    label = f" {fit(names, min(cell_len(names), room - len(news)))}"
    return (head, *(((f" {line}", "history"),) for line in graphs), ((label, ""), (news, "warning")))


def _nodes(gpus: Sequence[GpuView]) -> Sequence[Spans]:
    """A line a node, one block a GPU."""
    by_node: dict[str, list[GpuView]] = {}
    for gpu in gpus:
        by_node.setdefault(gpu.node, []).append(gpu)
    lines: list[Spans] = []
    for node, here in by_node.items():
        blocks = "".join(_cell(gpu) for gpu in here)
        used = sum(gpu.used_mib or 0.0 for gpu in here) / 1024
        total = sum(gpu.total_mib or 0.0 for gpu in here) / 1024
        util = pct(mean(tuple(gpu.util_pct for gpu in here)))
        figures = f"  {util:>3} %   {used:.0f}/{total:.0f} GiB"
        marks = Counter(gpu_mark(gpu) for gpu in here)
        trouble: Spans = tuple((f"   {m} {marks[m]}", TONE_OF_MARK[m]) for m in "!~?" if marks[m])
        lines.append(((f" {node}  " if node else " ", ""), (blocks, "history"), (figures, ""), *trouble))
    return lines


def _cell(gpu: GpuView) -> str:
    return "?" if gpu.util_pct is None else BLOCKS[1 + round(min(gpu.util_pct, 100.0) / 100 * 7)]


def _host(view: FleetView, read: ReadHistory, span_s: float, size: Size) -> Sequence[Spans]:
    """CPU and memory side by side, and below them what the models take of both."""
    host, half, silent = view.host, size.width // 2, view.gpu_panel.stale
    cpu = stale(pct(host.cpu_pct), silent)
    cores = f"{host.cores} cores" if host.cores else ""
    ram = f"{stale(gib(host.ram_used_mib), silent)}/{gib(host.ram_total_mib)} GiB"
    models = "   ".join(
        f"{name}  {'?' if used is None else f'{used:.1f}'} cores, {gib(rss)} GiB" for name, used, rss in host.sessions
    )
    below: Spans = ((f" {fit(models, size.width - 2)}", ""),)
    if size.height < TALL_LINES:
        room = max(4, half - 20)
        ram_room = max(4, size.width - 62 - 1)
        cpu_graph = graph(read("host/cpu", span_s, 2 * room), room, 1)[0]
        ram_graph = graph(read("host/ram", span_s, 2 * ram_room), ram_room, 1)[0]
        text = f" {cpu:>3} %  {fit(cores, 11)} "
        memory = f"RAM {ram}"
        pad = " " * max(2, half + 20 - len(text) - room - len(memory))
        return (((text, ""), (cpu_graph, "history"), (f"{pad}{memory}  ", ""), (ram_graph, "history")), below)
    room = half - 4
    name = ", ".join(part for part in (host.cpu_name, cores) if part)
    cpu_graphs = graph(read("host/cpu", span_s, 2 * room), room, 4)
    ram_graphs = graph(read("host/ram", span_s, 2 * room), room, 4)
    text = f" {cpu:>3} %  {name}"
    graphs: list[Spans] = [((f" {a}   {b}", "history"),) for a, b in zip(cpu_graphs, ram_graphs, strict=True)]
    return (((fit(text, half), ""), (f"RAM  {ram}", "")), *graphs, below)
