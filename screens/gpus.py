"""GPUs: a block each with its history and the ledger of its memory, the processes on them, what happened to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar

from textual import getters, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.geometry import Size
from textual.reactive import reactive
from textual.widgets import Static

from operator_embed.fleet.fleet import EventView, FleetView
from operator_embed.fleet.gpus import GpuProcessView, GpuView
from screens.actions import Hint, Scope, bindings
from screens.base import FleetScreen
from screens.box_panel import ReadHistory, box_lines, gpu_names
from screens.detail_text import event_detail, gpu_detail, process_detail
from screens.format import Spans, count, gib, gib_sum, mean, pct, rate, stale, watt_hours, watts
from screens.gpu_blocks import METRICS, SPANS_S, Look, block, span_text
from screens.saved import row_object
from screens.tones import event_mark, event_tone
from screens.widgets.blocks import Blocks
from screens.widgets.columns import Column, age_column, figure_column
from screens.widgets.head import Fields
from screens.widgets.hints import Hints
from screens.widgets.lines import Lines
from screens.widgets.panel import Heading
from screens.widgets.table import Table


def _owner(process: GpuProcessView) -> str:
    return process.replica or f"{process.name} ({process.user})"


GPU: Column[GpuProcessView] = Column("GPU", 5, lambda p, _: p.gpus, gap=2)
GIB: Column[GpuProcessView] = Column("GiB", 5, lambda p, _: gib(p.used_mib), value=lambda p: p.used_mib, right=True)
SM: Column[GpuProcessView] = Column("SM %", 4, lambda p, _: pct(p.sm_pct), value=lambda p: p.sm_pct, right=True)
REQ: Column[GpuProcessView] = figure_column("REQ/S", 5, lambda p: p.req_s, rate)
TOK: Column[GpuProcessView] = figure_column("TOK/S", 5, lambda p: p.tok_s, count)
KV: Column[GpuProcessView] = figure_column("KV %", 4, lambda p: p.kv_pct, pct)
TOK_J: Column[GpuProcessView] = figure_column("TOK/J", 5, lambda p: p.tok_per_j, rate)
AGE: Column[GpuProcessView] = age_column(lambda p: p.started_s)
WIDE: Sequence[Column[GpuProcessView]] = (
    GPU,
    Column("PID", 6, lambda p, _: str(p.pid), value=lambda p: float(p.pid), right=True),
    Column("OWNER", 6, lambda p, _: p.user, gap=2),
    Column("REPLICA", 24, lambda p, _: p.replica or "-", middle=True),
    Column("MODEL", 17, lambda p, _: p.model or p.name, middle=True),
    GIB, *(replace(column, gap=3) for column in (SM, REQ, TOK, KV, TOK_J, AGE)),
)  # fmt: skip
NARROW: Sequence[Column[GpuProcessView]] = (
    GPU,
    Column("PID", 5, lambda p, _: str(p.pid), value=lambda p: float(p.pid), right=True),
    Column("REPLICA", 24, lambda p, _: _owner(p), middle=True, gap=2),
    GIB, SM, replace(REQ, gap=3), replace(TOK, gap=2), replace(TOK_J, gap=2, drop=2), replace(AGE, gap=2, drop=1),
)  # fmt: skip
PROCESSES = (*(replace(c, since=120) for c in WIDE), *(replace(c, until=120) for c in NARROW))
EVENTS: Sequence[Column[EventView]] = (
    Column("", 1, lambda e, _: event_mark(e), tone=event_tone, gap=0),
    age_column(lambda e: e.at_s),
    Column("SOURCE", 9, lambda e, _: e.source, gap=7, since=120),
    Column("REASON", 13, lambda e, _: e.reason, since=120, tone=event_tone),
    Column("MESSAGE", 20, lambda e, _: e.message, grow=True, since=120),
    Column("WHAT", 20, lambda e, _: f"{e.source}  {e.reason}  {e.message}", grow=True, gap=2, until=120),
)  # fmt: skip


def no_gpu_lines(view: FleetView, read: ReadHistory, size: Size) -> Sequence[Spans]:
    """Why there is no GPU, and what the models run on instead."""
    notice = view.gpu_panel.notice or "no GPU"
    said: Sequence[Spans] = (
        ((f"   {notice}", "warning" if view.gpu_panel.warning else ""),),
        (("   Models run on the CPU.", ""),),
        (),
    )
    return (*said, *box_lines(view, read, Size(size.width, size.height - len(said))))


class GpusScreen(FleetScreen):
    """A block a GPU; panels below stay while blocks scroll."""

    CSS_PATH = "gpus.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("gpu")
    SCOPES: ClassVar[tuple[Scope, ...]] = ("gpu",)
    HINTS: ClassVar[Sequence[Hint]] = (
        Hint("gpu.zoom"),
        Hint("gpu.metric", wide="metric: util VRAM power heat"),
        Hint("gpu.shorter", "span", keys="< >"),
        Hint("gpu.logs", wide="logs of the replica"),
        Hint("gpu.kill", wide="kill process"),
        Hint("gpu.copy"),
        Hint("everywhere.allow_changes"),
        Hint("everywhere.help"),
    )

    NO_GPU_HINTS: ClassVar[Sequence[Hint]] = (
        Hint("everywhere.command_line"), Hint("everywhere.help"), Hint("everywhere.leave")
    )  # fmt: skip

    look: reactive[Look] = reactive(Look())
    blocks = getters.query_one("#blocks", Blocks)
    processes = getters.query_one("#processes", Table)

    def body(self) -> ComposeResult:
        yield Static(classes="space")
        yield Blocks(id="blocks", detail=self.block_detail)
        yield Lines(id="host")
        yield Heading(id="processes-head")
        yield Table(
            PROCESSES,
            id="processes",
            noun="process",
            copies=lambda p: p.replica or str(p.pid),
            detail=lambda process, size: process_detail(self.view, process, size),
        )
        yield Static(classes="space")
        yield Table(EVENTS, id="events", noun="event", detail=lambda event, size: event_detail(self.view, event, size))

    async def as_objects(self) -> object:
        """GPUs and what runs on them."""
        gpus, processes = self.view.gpus, self.processes.rows
        return {"gpus": [*map(row_object, gpus)], "processes": [*map(row_object, processes)]}

    def totals(self, wide: bool) -> Fields:
        gpus, panel = self.view.gpus, self.view.gpu_panel
        if not gpus:
            return ((1, (("no GPUs", ""),)),)
        silent = panel.stale or any(gpu.stale for gpu in gpus)
        used, total, claimed = (
            gib_sum(sum(getattr(gpu, name) or 0.0 for gpu in gpus)) for name in ("used_mib", "total_mib", "claimed_mib")
        )
        power_w = sum(known) if (known := [gpu.power_w for gpu in gpus if gpu.power_w is not None]) else None
        figure, unit = watts(power_w).split(" ")
        util = f"{stale(pct(mean(tuple(gpu.util_pct for gpu in gpus))), silent)} %"
        memory = f"{stale(used, silent)}/{total} GiB, claimed {claimed}"
        energy = panel.energy_wh_today
        parts = (
            (gpu_names(gpus, True), True),
            (f"driver {panel.driver}", wide and bool(panel.driver)),
            (f"GPU {util}" if wide else util, True),
            (f"VRAM {memory}" if wide else memory, True),
            (f"{stale(figure, silent)} {unit}", True),
            (f"{rate(panel.tok_per_j)} tok/J", panel.tok_per_j is not None),
            (f"{watt_hours(energy or 0.0)} today", wide and energy is not None),
        )
        notice: Spans = ((f"   ~ {panel.notice}", "warning"),) if panel.notice and panel.warning else ()
        return ((1, (("   ".join(text for text, said in parts if said), ""), *notice)),)

    def draw(self) -> None:
        view = self.view
        events = [event for event in view.events if event.source.startswith("GPU")]
        self.set_class(not view.gpus, "-no-gpu")
        self.set_class(not view.gpus and not events, "-no-news")
        self.set_class(self.look.zoomed, "-zoomed")
        self.query_one(Hints).offer(self.HINTS if view.gpus else self.NO_GPU_HINTS)
        by_key = {gpu.key: gpu for gpu in view.gpus}
        shown = [self.blocks.cursor] if self.look.zoomed and self.blocks.cursor in by_key else list(by_key)
        self.blocks.show(shown, partial(self._block, by_key))
        self.query_one("#host", Lines).show(partial(no_gpu_lines, view, self.history))
        other = "" if self.look.metric == "util" else f": {METRICS[self.look.metric]}"
        keys = f"m metric{other}   < > span {span_text(self.look.span_s)}"
        self.query_one("#processes-head", Heading).say("Processes", "" if view.gpu_processes else "none", keys)
        self.processes.show(view.gpu_processes, view.at_s)
        self.query_one("#events", Table).head = ("GPU events", "" if events else "none", "Xid, ECC, throttle, lost")
        self.query_one("#events", Table).show(events, view.at_s)

    def _block(self, by_key: dict[str, GpuView], key: str, here: bool, width: int) -> Sequence[Spans]:
        return block(by_key[key], self.history, self.look, here, width, self.view.at_s)

    def block_detail(self, key: str, size: Size) -> Sequence[Spans]:
        """Of the GPU with this UUID, while there is one."""
        gpu = next((gpu for gpu in self.view.gpus if gpu.key == key), None)
        return gpu_detail(self.view, gpu, size) if gpu else ()

    def watch_look(self) -> None:
        if self.is_mounted:
            self.draw()

    @on(Blocks.Moved)
    def follow_cursor(self) -> None:
        """The selected GPU's graph has another colour."""
        self.draw()

    def action_move_down(self) -> None:
        self.blocks.move(1)

    def action_move_up(self) -> None:
        self.blocks.move(-1)

    def action_zoom(self) -> None:
        self.look = replace(self.look, zoomed=not self.look.zoomed)

    def action_metric(self) -> None:
        names = list(METRICS)
        self.look = replace(self.look, metric=names[(names.index(self.look.metric) + 1) % len(names)])

    def action_shorter(self) -> None:
        self._span(-1)

    def action_longer(self) -> None:
        self._span(1)

    def _span(self, step: int) -> None:
        index = min(max(SPANS_S.index(self.look.span_s) + step, 0), len(SPANS_S) - 1)
        self.look = replace(self.look, span_s=SPANS_S[index])

    async def action_detail(self) -> None:
        await self.toggle_detail(self.blocks)

    def action_copy(self) -> None:
        if self.blocks.cursor:
            self.app.copy_to_clipboard(self.blocks.cursor)
            self.notify(f"copied: {self.blocks.cursor}", markup=False, timeout=2)

    def _process(self) -> GpuProcessView | None:
        """Under the cursor of the table, else the first of ours on the selected GPU."""
        if self.processes.has_focus:
            return self.processes.row
        index = next((str(gpu.index) for gpu in self.view.gpus if gpu.key == self.blocks.cursor), "")
        return next((p for p in self.view.gpu_processes if p.ours and index in p.gpus.split(",")), None)

    @on(Table.Opened, "#processes")
    def action_logs(self) -> None:
        process = self._process()
        model = next((r.model for r in self.view.replicas if process and r.key == process.replica), "")
        if process and model:
            from screens.logs import LogsScreen

            self.app.push_screen(LogsScreen(self.fleet, model, replica=process.replica))

    @work
    async def action_kill(self) -> None:
        from screens.confirm import ConfirmDialog

        if (process := self._process()) is None:
            return
        what = process.replica or f"{process.name}, of {process.user}"
        happens = f"SIGKILL to process {process.pid}: {what}."
        if process.ours:
            happens += "\nIts requests in flight are tried again elsewhere; it is started again."
        if await self.app.push_screen_wait(ConfirmDialog(f"Kill {what}", happens, verb="kill")):
            await self.intend(self.fleet.gpus.kill(process.pid))
