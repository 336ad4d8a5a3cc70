"""The parent's side of the sampler process: keeps one running and hands on what it tells."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress

import msgspec

from worker_embed.gpu.reader import blank
from worker_embed.gpu.sampler import EXIT_READ_AGAIN, FRAME_HEAD
from worker_embed.gpu.samples import GpuSample, Sample

HEALTHY_S = 10.0
"""A sampler that read GPUs for so long may be started again at once."""
LONGEST_WAIT_S = 60.0
CLOSE_S = 2.0

log = logging.getLogger(__name__)


def wait_s(failures: int) -> float:
    """Before the GPUs are read again: 0, 1, 2, 4 to 60 s."""
    return min(2.0 ** (failures - 2), LONGEST_WAIT_S) if failures > 1 else 0.0


def with_known(sample: Sample, known: Mapping[str, GpuSample], source: str) -> Sample:
    """The sample with a row for each GPU that was there before: empty while none can be read, lost when others can."""
    gone = "" if sample.notice else "the driver does not list it any more"
    seen = {gpu.uuid for gpu in sample.gpus}
    missing = [blank(gpu, gone) for uuid, gpu in known.items() if uuid not in seen]
    if not missing:
        return sample
    rows = sorted([*sample.gpus, *missing], key=lambda gpu: gpu.index)
    return msgspec.structs.replace(sample, gpus=tuple(rows), source=source)


class SamplerFeed:
    """One sampler process at a time, started again when it ends; on one event loop."""

    def __init__(
        self, env: Mapping[str, str], *, interval_s: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`env` is all of the child's environment; `LD_LIBRARY_PATH` in it decides which NVML it finds."""
        self._env = dict(env)
        self._interval_s = interval_s
        self._clock = clock
        self._sessions: frozenset[int] = frozenset()
        self._child: Process | None = None
        self._closed = asyncio.Event()
        self._known: dict[str, GpuSample] = {}
        self._source = "none"
        self._notice = ""
        self._decoder = msgspec.msgpack.Decoder(Sample)

    @property
    def pid(self) -> int | None:
        """Of the sampler that runs now."""
        return self._child.pid if self._child else None

    def watch(self, sessions: Iterable[int]) -> None:
        """Measure CPU and memory of these sessions from now on, and of no others."""
        if (wanted := frozenset(sessions)) != self._sessions:
            self._sessions = wanted
            self._order()

    async def samples(self) -> AsyncIterator[Sample]:
        """Yields once an interval until `close`; while GPUs cannot be read the notice says why and until when."""
        because, failures = "", 0
        while True:
            pause_s, started_s = wait_s(failures), self._clock()
            child = await self._start(pause_s, because)
            complaints = asyncio.create_task(last_lines(child))
            told = False
            try:
                async for sample in self._frames(child):
                    told = True
                    yield self._taken(sample)
            finally:
                await self._end(child)
            if self._closed.is_set():
                return
            failures = failures + 1 if self._clock() - started_s < pause_s + HEALTHY_S else 1
            because = self._notice
            if child.returncode != EXIT_READ_AGAIN:
                because = f"the GPU sampler ended ({end_of(child)})"
                log.warning("%s: %s", because, await complaints)
            if not told:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closed.wait(), max(1.0, wait_s(failures)))

    async def close(self) -> None:
        """End the sampler; `samples` ends too."""
        self._closed.set()
        if self._child:
            await self._end(self._child)

    async def _start(self, pause_s: float, because: str) -> Process:
        """Waiting is the child's part: it goes on with the host's figures meanwhile."""
        self._child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "worker_embed.gpu.sampler"),
            *(str(self._interval_s), str(pause_s), because),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=self._env,
            process_group=0,
        )
        self._order()
        return self._child

    def _order(self) -> None:
        if self._child and self._child.stdin and not self._child.stdin.is_closing():
            self._child.stdin.write(f"watch {' '.join(map(str, sorted(self._sessions)))}\n".encode())

    async def _frames(self, child: Process) -> AsyncIterator[Sample]:
        assert child.stdout
        try:
            while True:
                (length,) = FRAME_HEAD.unpack(await child.stdout.readexactly(FRAME_HEAD.size))
                yield self._decoder.decode(await child.stdout.readexactly(length))
        except asyncio.IncompleteReadError:
            return

    def _taken(self, sample: Sample) -> Sample:
        self._notice = sample.notice
        if sample.gpus and not sample.notice:
            self._source = sample.source
        whole = with_known(sample, self._known, self._source)
        self._known = {gpu.uuid: gpu for gpu in whole.gpus}
        return whole

    async def _end(self, child: Process) -> None:
        """Close its orders, which ends it; kill it when it does not listen."""
        if child.stdin:
            child.stdin.close()
        try:
            await asyncio.wait_for(child.wait(), CLOSE_S)
        except TimeoutError:
            child.kill()
            await child.wait()


async def last_lines(child: Process) -> str:
    """The end of what it wrote to stderr; read all along, as a full pipe would stop it."""
    assert child.stderr
    tail = b""
    while data := await child.stderr.read(4096):
        tail = (tail + data)[-2000:]
    return tail.decode(errors="replace").strip()


def end_of(child: Process) -> str:
    """`exit 1` or `SIGKILL`."""
    code = child.returncode or 0
    return signal.Signals(-code).name if code < 0 else f"exit {code}"
