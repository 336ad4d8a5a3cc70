"""Xids and memory errors, as the driver reports them."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from typing import Any

from worker_embed.gpu.nvml import DriverChanged, GpuLost, Nvml
from worker_embed.gpu.samples import GpuEvent

DOUBLE_BIT_ECC, XID = 0x2, 0x8
WAIT_MS = 2000
WORDS = {
    13: "graphics engine exception",
    31: "memory page fault",
    43: "GPU stopped processing",
    45: "preemptive cleanup",
    48: "double-bit memory error",
    61: "internal microcontroller breakpoint",
    62: "internal microcontroller halt",
    63: "memory rows remapped",
    64: "memory rows could not be remapped",
    74: "NVLink error",
    79: "fell off the bus",
    92: "many single-bit memory errors",
    94: "contained memory error",
    95: "uncontained memory error",
    109: "context switch timed out",
    119: "GSP firmware does not answer",
    120: "GSP firmware failed",
}
"""https://docs.nvidia.com/deploy/xid-errors/"""
FATAL = {f"Xid {code}" for code in (62, 79, 95, 119, 120)}
"""After these a GPU does not come back without a reset."""


def xid_text(code: int) -> str:
    """What an Xid means."""
    return WORDS.get(code, "see NVIDIA's list of Xids")


class XidWatch:
    """Hears of errors on the given GPUs from the moment it is made."""

    def __init__(self, nvml: Nvml, gpus: Sequence[tuple[Any, int, str]]) -> None:
        """Register for handle, index and UUID of each GPU; those that report nothing are left out."""
        self._nvml = nvml
        self._uuids: dict[int | None, str] = {}
        self._events = nvml.ask("nvmlEventSetCreate")
        for handle, index, uuid in gpus if self._events else ():
            try:
                reported = nvml.ask("nvmlDeviceGetSupportedEventTypes", handle, of=index) or 0
                if wanted := reported & (XID | DOUBLE_BIT_ECC):
                    nvml.ask("nvmlDeviceRegisterEvents", handle, wanted, self._events, of=index)
                    self._uuids[address(handle)] = uuid
            except GpuLost:
                continue

    def listen(self, heard: Callable[[GpuEvent], None]) -> None:
        """Call `heard` with each error until the driver is gone; blocks, so it wants a thread of its own."""
        while self._uuids:
            asked_s = time.monotonic()
            try:
                event = self._nvml.ask("nvmlEventSetWait_v2", self._events, WAIT_MS)
            except DriverChanged:
                return
            except GpuLost:
                event = None
            if event:
                heard(self._told(event))
            elif time.monotonic() - asked_s < WAIT_MS / 2000:
                time.sleep(WAIT_MS / 1000)  # a wait that fails at once must not spin

    def _told(self, event: Any) -> GpuEvent:
        uuid = self._uuids.get(address(event.device), "")
        if event.eventType == XID:
            code = int(event.eventData)
            return GpuEvent(time.time(), uuid, f"Xid {code}", xid_text(code))
        return GpuEvent(time.time(), uuid, "ECC", "double-bit memory error")


def address(handle: Any) -> int | None:
    """Handles are pointers; two are the same GPU when they point to the same place."""
    return ctypes.cast(handle, ctypes.c_void_p).value
