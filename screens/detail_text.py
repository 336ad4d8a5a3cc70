"""What the detail pane says of a row: what does not fit into its line, and what belongs to it in other tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import localtime, strftime

from rich.cells import cell_len
from textual.geometry import Size

from operator_embed.fleet.fleet import EventView, FailureView, FleetView
from operator_embed.fleet.gpus import GpuProcessView, GpuView
from operator_embed.fleet.models import ModelView, ReplicaView
from screens.format import Spans, age, count, fit, gib, pct, rate, span, stale
from screens.gpu_blocks import memory_sums
from screens.model_text import conditions
from screens.queue_columns import paragraph
from screens.tones import (
    TONE_OF_MARK,
    event_mark,
    event_tone,
    gpu_mark,
    model_mark,
    model_tone,
    model_word,
    replica_mark,
    replica_tone,
    replica_word,
)
from screens.widgets.panel import heading

CLOSES = "v closes"
Fact = tuple[str, str]
"""What it is called, and the figure; an empty figure is not said."""


def facts(said: Sequence[Fact], width: int) -> Sequence[Spans]:
    """`type local   engine vllm   topic model-qwen3-32b`: as many on a line as fit into `width` cells."""
    lines: list[Spans] = []
    room = 0
    for name, figure in said:
        if not figure:
            continue
        figure = fit(figure, min(cell_len(figure), width - cell_len(name) - 3))
        cells = cell_len(name) + 1 + cell_len(figure)
        pair: Spans = ((f"{name} ", "muted"), (figure, ""))
        if cells + 3 <= room:
            lines[-1] = (*lines[-1], ("   ", ""), *pair)
            room -= cells + 3
        else:
            lines.append(((" ", ""), *pair))
            room = width - 2 - cells
    return lines


def moment(at_s: float, now_s: float) -> str:
    """When, and how long ago: `Nov 14 22:10:03, 3m12s ago`."""
    return f"{strftime('%b %d %H:%M:%S', localtime(at_s))}, {span(now_s - at_s)} ago"


def model_detail(view: FleetView, model: ModelView, size: Size) -> Sequence[Spans]:
    """Why it is as it is, what it is, its replicas and conditions."""
    width = size.width
    bounds = "" if model.max_replicas is None else f"{model.min_replicas} to {model.max_replicas}"
    first = "" if model.ttft_p95_s is None else f"{model.ttft_p95_s:.1f} s"
    said = (
        ("model", model.model),
        ("type", model.type),
        ("engine", model.engine),
        ("topic", model.topic),
        ("generation", str(model.generation)),
        ("replicas", bounds),
        ("queued", count(model.queued)),
        ("in flight", f"{count(model.in_flight)}/{model.slots}"),
        ("1st p95", first),
        ("VRAM", f"{gib(model.vram_mib)} GiB" if model.on_gpu else ""),
        ("restarts", count(model.restarts)),
        ("age", age(view.at_s - model.created_s)),
    )
    why = model.why or model.message
    word = stale(model_word(model), model.store_stale)
    return (
        heading(model.name, f"{model_mark(model)} {word}".strip(), CLOSES, width, model_tone(model)),
        *(paragraph(why, width) if why else ()),
        *facts(said, width),
        *(_replica_line(replica, width) for replica in view.replicas if replica.model == model.key),
        *conditions(model, view.at_s, size)[1:],
    )


def _replica_line(replica: ReplicaView, width: int) -> Spans:
    tone = replica_tone(replica)
    where = f"{replica.place or '-':8}{_pid(replica.pid)}"
    said = replica.message or (f"{gib(replica.mem_mib)} GiB" if replica.mem_mib is not None else "")
    return (
        (f" {replica_mark(replica)} {fit(replica.key, 25)} {fit(replica_word(replica), 9)}", tone),
        (f"{where}  {fit(said, max(8, width - 58))}", ""),
    )


def _pid(pid: int | None) -> str:
    return f"pid {pid:<8}" if pid else " " * 12


def replica_detail(view: FleetView, replica: ReplicaView, size: Size) -> Sequence[Spans]:
    """Why it is in its state, all its figures, what happened to it."""
    known = [
        ("model", replica.model.partition("/")[2]),
        ("on", replica.place),
        ("pid", str(replica.pid or "")),
        ("holds", f"{gib(replica.mem_mib)} GiB" if replica.mem_mib is not None else ""),
        ("CPU", f"{replica.cpu_cores:.1f} cores" if replica.cpu_cores is not None else ""),
        ("in flight", f"{replica.busy}/{replica.slots}" if replica.busy is not None else ""),
        ("req/s", rate(replica.req_s) if replica.req_s is not None else ""),
        ("tok/s", count(replica.tok_s) if replica.tok_s is not None else ""),
        ("KV", f"{pct(replica.kv_pct)} %" if replica.kv_pct is not None else ""),
        ("1st p95", f"{replica.ttft_p95_s:.1f} s" if replica.ttft_p95_s is not None else ""),
        ("tok/J", rate(replica.tok_per_j) if replica.tok_per_j is not None else ""),
        ("restarts", count(replica.restarts)),
        ("since", moment(replica.started_s, view.at_s) if replica.started_s is not None else ""),
        ("next try in", span(replica.next_try_s - view.at_s) if replica.next_try_s is not None else ""),
    ]
    why = "  ".join(filter(None, (replica.reason, replica.message)))
    happened = [event for event in view.events if event.source == replica.key]
    word = f"{replica_mark(replica)} {stale(replica_word(replica), replica.stale)}".strip()
    return (
        heading(replica.key, word, CLOSES, size.width, replica_tone(replica)),
        *(paragraph(why, size.width) if why else ()),
        *facts(known, size.width),
        *(_event_line(event, view.at_s, size.width) for event in happened),
    )


def _event_line(event: EventView, at_s: float, width: int) -> Spans:
    times = f"x{count(event.count)}" if event.count > 1 else ""
    return (
        (f" {event_mark(event)} {age(at_s - event.at_s):>4} {times:>4}  ", event_tone(event)),
        (fit(f"{event.reason}  {event.message}", max(8, width - 16)), ""),
    )


def gpu_detail(view: FleetView, gpu: GpuView, size: Size) -> Sequence[Spans]:
    """What it is in full, what is wrong with it, what runs on it."""
    limit = "" if gpu.power_limit_w is None else f" of {gpu.power_limit_w:.0f}"
    top = "" if gpu.max_sm_mhz is None else f" of {gpu.max_sm_mhz:.0f}"
    said = (
        ("UUID", gpu.key),
        ("node", gpu.node),
        ("driver", view.gpu_panel.driver),
        ("PCIe", gpu.pcie),
        ("power", f"{pct(gpu.power_w)}{limit} W"),
        ("clock", f"{pct(gpu.sm_mhz)}{top} MHz"),
        ("throttled", f"{pct(100 * gpu.throttled_share)} % of 1 h" if gpu.throttled_share else ""),
    )
    mark = gpu_mark(gpu).strip()
    word = f"{mark} lost  {gpu.lost}" if gpu.lost else f"{mark} {gpu.throttle}".strip()
    here = [process for process in view.gpu_processes if str(gpu.index) in process.gpus.split(",")]
    return (
        heading(f"GPU {gpu.index}", f"{gpu.name}  {word}".rstrip(), CLOSES, size.width, TONE_OF_MARK[mark or " "]),
        ((" ", ""), *memory_sums(gpu)),
        *facts(said, size.width),
        *(((f" {process.pid:>8}  {_owner(process)}  {gib(process.used_mib)} GiB", ""),) for process in here),
    )


def _owner(process: GpuProcessView) -> str:
    return f"{process.replica}  {process.model}" if process.replica else f"{process.name} of {process.user}"


def process_detail(view: FleetView, process: GpuProcessView, size: Size) -> Sequence[Spans]:
    """Whose it is and what it takes."""
    replica = next((r for r in view.replicas if process.replica and r.key == process.replica), None)
    below = replica_detail(view, replica, size)[1:] if replica else ()
    since = "" if replica or process.started_s is None else moment(process.started_s, view.at_s)
    said = (
        ("process", process.name),
        ("of", process.user),
        ("GPU", process.gpus),
        ("VRAM", f"{gib(process.used_mib)} GiB"),
        ("SM", f"{pct(process.sm_pct)} %"),
        ("since", since),
    )
    head = heading(f"Process {process.pid}", process.replica or "not ours", CLOSES, size.width)
    return (head, *facts(said, size.width), *below)


def event_detail(view: FleetView, event: EventView, size: Size) -> Sequence[Spans]:
    """All of its message, and when and where it was."""
    said = (
        ("source", event.source),
        ("model", event.model.partition("/")[2]),
        ("times", count(event.count)),
        ("last" if event.count > 1 else "at", moment(event.at_s, view.at_s)),
    )
    words = {"!": "somebody got no answer", "~": "less than what was asked for"}
    return _told(event.reason, words, event, said, size)


def failure_detail(view: FleetView, failure: FailureView, size: Size) -> Sequence[Spans]:
    """All of its message, and how often it was."""
    said = (
        ("subject", failure.subject),
        ("times", count(failure.count)),
        ("last" if failure.count > 1 else "since", moment(failure.since_s, view.at_s)),
    )
    words = {"!": "requests get no answer", "~": "less than what was asked for"}
    return _told(f"{failure.subject}  {failure.reason}", words, failure, said, size)


def _told(
    title: str, words: Mapping[str, str], of: EventView | FailureView, said: Sequence[Fact], size: Size
) -> Sequence[Spans]:
    mark = event_mark(of)
    return (
        heading(title, f"{mark} {words.get(mark, '')}".strip(), CLOSES, size.width, event_tone(of)),
        *(paragraph(of.message, size.width) if of.message else ()),
        *facts(said, size.width),
    )
