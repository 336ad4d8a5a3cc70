"""CPU time and memory of other processes."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterable, Mapping

from worker_embed.process import proc

PYTHON = sys.executable


def cpu_s(pid: int) -> float:
    """User and system time of all threads of a living process, without its children; to the nanosecond."""
    # The kernel's id of a process's CPU clock, see clock_getcpuclockid(3).
    return time.clock_gettime((~pid << 3) | 2)


def cpu_of(pids: Iterable[int]) -> float:
    """Seconds of several processes together."""
    return sum(map(cpu_s, pids))


def rss_mib(pid: int) -> float:
    """Resident memory, shared pages included."""
    stat = proc.stat(pid)
    return stat.rss_bytes / 2**20 if stat else 0.0


async def cpu_of_run(*argv: str, env: Mapping[str, str]) -> float:
    """Seconds that a command and what it waited for took, from exec to its end."""
    return await asyncio.to_thread(_cpu_of_run, argv, env)


def _cpu_of_run(argv: tuple[str, ...], env: Mapping[str, str]) -> float:
    _, status, usage = os.wait4(os.posix_spawn(argv[0], argv, env), 0)
    if status:
        raise RuntimeError(f"{' '.join(argv)}: ended with status {status}")
    return usage.ru_utime + usage.ru_stime


async def share_of(pids: Iterable[int], window_s: float) -> float:
    """Percent of one core that processes take together while nobody asks anything of them."""
    pids = tuple(pids)
    before_s, began_s = cpu_of(pids), time.monotonic()
    await asyncio.sleep(window_s)
    return 100 * (cpu_of(pids) - before_s) / (time.monotonic() - began_s)
