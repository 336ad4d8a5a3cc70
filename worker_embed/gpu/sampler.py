"""The sampler process: one `Sample` frame on stdout a second, from the first until stdin ends.

A frame is its length in four bytes, big-endian, and msgpack. A line `watch 123 456` on stdin names the sessions to
measure, in place of those before. `python -m worker_embed.gpu.sampler [INTERVAL_S [WAIT_S BECAUSE]]`: with the last two
the GPUs are left alone for a while, after a sampler that could not read on, and the notice says so.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import struct
import sys
import threading
import time

import msgspec

from worker_embed.gpu.host import Host
from worker_embed.gpu.samples import Sample
from worker_embed.gpu.watch import GpuState, GpuWatch, next_due

EXIT_READ_AGAIN = 18
"""The driver changed: a new process can read it, this one cannot. NVML's own number for it."""
FIRST_LOOK_S = 0.3
SWEEP_S = 0.05
"""Samples leave so much after the sweep over the GPUs began, so that they carry its figures."""
STDIN, STDOUT, STDERR = 0, 1, 2
PR_SET_PDEATHSIG = 1
FRAME_HEAD = struct.Struct(">I")


class Sampler:
    """Host figures from this thread, GPU figures from another one."""

    def __init__(self, frames: int, interval_s: float, wait_s: float, because: str) -> None:
        """Frames go to the file descriptor `frames`."""
        self._frames = frames
        self._interval_s = interval_s
        self._because = because
        self._start_gpus_s = time.monotonic() + wait_s
        self._host = Host()
        self._gpus: GpuWatch | None = None
        self._sessions: frozenset[int] = frozenset()
        self._unread = b""
        self._encoder = msgspec.msgpack.Encoder()

    def run(self) -> int:
        """Sample until stdin ends or the driver changes; the exit status."""
        due_s, sampled_s = time.monotonic(), 0.0
        while True:
            if self._gpus is None and time.monotonic() >= self._start_gpus_s:
                due_s = self._start_gpus() + SWEEP_S
            if not self._listen_until(due_s):
                return 0
            now_s = time.monotonic()
            gpus = self._gpu_state(now_s)
            self._send(gpus, now_s, now_s - sampled_s if sampled_s else self._interval_s)
            if gpus.over:
                return EXIT_READ_AGAIN
            sampled_s = now_s
            due_s = next_due(due_s, self._interval_s, now_s)

    def _start_gpus(self) -> float:
        """Monotonic time at which there was a first look at them."""
        self._gpus = GpuWatch(self._interval_s, self._host.memory_mib)
        self._gpus.start()
        self._gpus.first_look.wait(FIRST_LOOK_S)
        return time.monotonic()

    def _gpu_state(self, now_s: float) -> GpuState:
        if self._gpus:
            return self._gpus.state(now_s)
        left_s = max(1, round(self._start_gpus_s - now_s))
        return GpuState("none", "", f"{self._because}, reading again in {left_s}s", (), (), False)

    def _send(self, gpus: GpuState, now_s: float, interval_s: float) -> None:
        sample = Sample(
            at=time.time(),
            interval_s=interval_s,
            source=gpus.source,
            driver=gpus.driver,
            notice=gpus.notice,
            host=self._host.read(self._sessions, now_s),
            gpus=gpus.gpus,
            events=gpus.events,
        )
        body = self._encoder.encode(sample)
        frame = memoryview(FRAME_HEAD.pack(len(body)) + body)
        while frame:
            frame = frame[os.write(self._frames, frame) :]

    def _listen_until(self, due_s: float) -> bool:
        """Take orders until it is time for the next sample; False when there will be none any more."""
        while select.select([STDIN], [], [], max(0.0, due_s - time.monotonic()))[0]:
            if not (data := os.read(STDIN, 65536)):
                return False
            *lines, self._unread = (self._unread + data).split(b"\n")
            for line in lines:
                command, *sessions = line.split()
                if command == b"watch":
                    self._sessions = frozenset(map(int, sessions))
        return True


def end_all(failure: threading.ExceptHookArgs) -> None:
    """A thread that failed ends the process, whose parent starts it again and says so."""
    threading.__excepthook__(failure)
    sys.stderr.flush()
    os._exit(1)


def main(arguments: list[str]) -> int:
    """Die with the parent, then sample."""
    threading.excepthook = end_all
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    interval_s, wait_s, because = (*arguments, *("1.0", "0.0", "")[len(arguments) :])
    frames = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)  # what a driver's library prints must not get between frames
    return Sampler(frames, float(interval_s), float(wait_s), because).run()


if __name__ == "__main__":
    try:
        status = main(sys.argv[1:])
    except BrokenPipeError:
        status = 0
    os._exit(status)  # a thread may be inside a driver call that never returns
