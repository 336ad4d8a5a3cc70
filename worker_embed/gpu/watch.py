"""The GPUs read in a thread of its own, so that a driver that hangs stops nothing else."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from worker_embed.gpu.nvml import DriverChanged, GpuLost, NoGpus, Nvml
from worker_embed.gpu.reader import STALE_SWEEPS, GpuReader
from worker_embed.gpu.samples import ASKING, NO_GPU, GpuEvent, GpuSample
from worker_embed.gpu.xid import FATAL, XidWatch

TRY_AGAIN_S = 30.0
"""Between two looks for a driver that was not there."""


def next_due(due_s: float, interval_s: float, now_s: float) -> float:
    """When to do something again that was due at `due_s`: in step, unless a whole interval was missed."""
    return due_s + interval_s if now_s < due_s + interval_s else now_s + interval_s


@dataclass(frozen=True, slots=True)
class GpuState:
    """All that is known of the GPUs at one moment."""

    source: str
    driver: str
    notice: str
    gpus: tuple[GpuSample, ...]
    events: tuple[GpuEvent, ...]
    over: bool
    """Only a new process can read on."""


class GpuWatch:
    """Sweeps over all GPUs once an interval; `state` never waits for the driver."""

    def __init__(self, interval_s: float, ram_mib: Callable[[], tuple[float, float]]) -> None:
        self._interval_s = interval_s
        self._ram_mib = ram_mib
        self._notice = ASKING
        self._driver = ""
        self._reader: GpuReader | None = None
        self._over = False
        self._asked_s: float | None = None
        """Since when the driver has not answered; `None` when nothing was asked."""
        self._events: deque[GpuEvent] = deque(maxlen=100)
        self._xids: dict[str, str] = {}
        """The newest fatal Xid of each GPU: why it was lost, when it is."""
        self.first_look = threading.Event()
        """Set as soon as it is known whether there are GPUs."""

    def start(self) -> None:
        threading.Thread(target=self._run, name="gpus", daemon=True).start()

    def state(self, now_s: float) -> GpuState:
        """What is known at `now_s` (monotonic)."""
        notice, reader, asked_s = self._notice, self._reader, self._asked_s
        if asked_s is not None and now_s - asked_s > STALE_SWEEPS * self._interval_s:
            notice = f"the NVIDIA driver has not answered for {now_s - asked_s:.0f}s"
        rows = tuple(self._with_cause(row) for row in reader.rows(now_s, self._interval_s)) if reader else ()
        fake = any(row.name.startswith("FAKE ") for row in rows)
        source = ("fake" if fake else "nvml") if rows else "none"
        events = tuple(self._events.popleft() for _ in range(len(self._events)))
        return GpuState(source, self._driver, notice, rows, events, self._over)

    def _with_cause(self, row: GpuSample) -> GpuSample:
        if row.lost and (cause := self._xids.get(row.uuid)):
            return msgspec.structs.replace(row, lost=cause)
        return row

    def _run(self) -> None:
        while not self._over:
            self._asked_s = time.monotonic()
            try:
                nvml = Nvml()
                self._read(nvml)
                nvml.close()
            except (NoGpus, GpuLost) as reason:
                self._notice = str(reason)
            except DriverChanged as reason:
                self._notice, self._over = str(reason), True
            self._asked_s = None
            self.first_look.set()
            if not self._over:
                time.sleep(TRY_AGAIN_S)

    def _read(self, nvml: Nvml) -> None:
        """Sweep until the driver changes; returns when it lists no GPU."""
        self._driver = nvml.driver
        reader = GpuReader(nvml, self._ram_mib)
        if not reader.gpus:
            self._notice = f"{NO_GPU}: driver {nvml.driver} lists none"
            return
        watch = XidWatch(nvml, [(gpu.handle, gpu.row.index, gpu.row.uuid) for gpu in reader.gpus])
        threading.Thread(target=watch.listen, args=(self._heard,), name="xids", daemon=True).start()
        self._reader = reader
        due_s = time.monotonic()
        while True:
            self._asked_s = time.monotonic()
            reader.sweep(time.monotonic)
            self._asked_s, self._notice = None, ""
            self.first_look.set()
            due_s = next_due(due_s, self._interval_s, time.monotonic())
            time.sleep(max(0.0, due_s - time.monotonic()))

    def _heard(self, event: GpuEvent) -> None:
        if event.kind in FATAL:
            self._xids[event.uuid] = f"{event.kind}, {event.message}"
        self._events.append(event)
