"""NVML through pynvml, with one rule: what a driver or GPU does not know is `None`, and is not asked again."""

from __future__ import annotations

import ctypes
from collections.abc import Hashable
from typing import Any

from worker_embed.gpu.host import kernel_driver
from worker_embed.gpu.samples import NO_GPU

LIBRARY = "libnvidia-ml.so.1"

UNINITIALIZED, NOT_SUPPORTED, NO_PERMISSION = 1, 3, 4
DRIVER_NOT_LOADED, FUNCTION_NOT_FOUND, GPU_IS_LOST, RESET_REQUIRED = 9, 13, 15, 16
LIBRARY_MISMATCH, ARGUMENT_VERSION_MISMATCH = 18, 25

NEVER = {NO_PERMISSION, NOT_SUPPORTED, FUNCTION_NOT_FOUND, ARGUMENT_VERSION_MISMATCH}
NEEDS_NEW_PROCESS = {UNINITIALIZED, DRIVER_NOT_LOADED, LIBRARY_MISMATCH}
LOST = {GPU_IS_LOST: "not reachable any more", RESET_REQUIRED: "needs a reset: nvidia-smi --gpu-reset"}

NO_START = {
    NO_PERMISSION: "no permission to use the NVIDIA driver: see the rights of /dev/nvidiactl",
    DRIVER_NOT_LOADED: f"{NO_GPU}: the NVIDIA driver is not loaded",
    FUNCTION_NOT_FOUND: f"{LIBRARY} is too old: it has no nvmlInitWithFlags",
}


class NoGpus(Exception):
    """There is nothing to read now; the text says why, for a user."""


class DriverChanged(Exception):
    """Only a new process can read the GPUs again: this one keeps the old library mapped. The text is for a user."""


class GpuLost(Exception):
    """One GPU does not answer any more; the text says why."""


class Nvml:
    """An initialized NVML library."""

    def __init__(self) -> None:
        """Load and initialize it; raises `NoGpus` or `DriverChanged`."""
        try:
            ctypes.CDLL(LIBRARY)
        except OSError as error:
            why = f"{LIBRARY} not found" if "No such file" in str(error) else str(error)
            raise NoGpus(f"{NO_GPU}: {why}") from error
        import pynvml  # after the library was found: a machine without GPU saves its memory and start time

        self._api = pynvml
        self._never: set[Hashable] = set()
        try:
            pynvml.nvmlInitWithFlags(0)
        except pynvml.NVMLError as error:
            if error.value == LIBRARY_MISMATCH:
                loaded = f"driver {kernel_driver()}".strip()
                raise DriverChanged(f"the loaded {loaded} does not match {LIBRARY}: reload it or reboot") from error
            raise NoGpus(NO_START.get(error.value, f"the NVIDIA driver does not start: {error}")) from error
        self.driver: str = self.ask("nvmlSystemGetDriverVersion") or ""
        """Version of the driver when it was initialized."""

    def ask(self, function: str, *args: Any, of: int = -1, known_as: str = "") -> Any:
        """What pynvml's `function` answers, or `None` when the driver, or GPU number `of`, has no answer.

        Raises `GpuLost` and `DriverChanged`.
        """
        if (call := (known_as or function, of)) in self._never:
            return None
        try:
            return getattr(self._api, function)(*args)
        except self._api.NVMLLibraryMismatchError:
            code = FUNCTION_NOT_FOUND
        except self._api.NVMLError as error:
            code = error.value
        if code in NEEDS_NEW_PROCESS:
            raise DriverChanged(self._what_changed(code))
        if code in LOST:
            raise GpuLost(LOST[code])
        if code in NEVER:
            self._never.add(call)
        return None

    def knows(self, function: str, of: int) -> bool:
        """False once `function` turned out to be unsupported there."""
        return (function, of) not in self._never

    def _what_changed(self, code: int) -> str:
        if code != LIBRARY_MISMATCH:
            return "the NVIDIA driver was unloaded"
        now = kernel_driver()
        return f"driver changed {self.driver} to {now}" if now else f"driver changed from {self.driver}"

    def close(self) -> None:
        """Give the driver back; another `Nvml` may be made afterwards."""
        self.ask("nvmlShutdown")
