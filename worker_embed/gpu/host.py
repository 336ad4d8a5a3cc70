"""The machine and its process sessions, as /proc tells them."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from worker_embed.gpu.samples import HostSample, SessionSample

PROC = Path("/proc")
MIB = 1024 * 1024
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / MIB
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Ticks since boot over all cores."""

    busy: int
    total: int
    cores: int

    @classmethod
    def parse(cls, stat: str) -> CpuTimes:
        """From the text of /proc/stat; time of guests is part of `user` and not counted twice."""
        lines = stat.split("\n")
        ticks = [int(field) for field in lines[0].split()[1:9]]
        idle_and_iowait = ticks[3] + ticks[4]
        cores = sum(1 for line in lines[1:] if line.startswith("cpu"))
        return cls(sum(ticks) - idle_and_iowait, sum(ticks), cores)

    def used_pct(self, since: CpuTimes) -> float | None:
        """Share of all cores in use since an earlier reading; `None` when no time has passed."""
        if (total := self.total - since.total) <= 0:
            return None
        return min(max(0.0, 100.0 * (self.busy - since.busy) / total), 100.0)


@dataclass(frozen=True, slots=True)
class ProcessTimes:
    """One process at one moment."""

    session: int
    ticks: int
    """User and system time of all its threads."""
    started: int
    """Ticks after boot: tells a process from a later one with the same pid."""
    rss_mib: float

    @classmethod
    def parse(cls, stat: str) -> ProcessTimes:
        """From the text of /proc/PID/stat; the name in it may hold blanks and parentheses."""
        fields = stat[stat.rindex(")") + 2 :].split()
        return cls(int(fields[3]), int(fields[11]) + int(fields[12]), int(fields[19]), int(fields[21]) * PAGE_MIB)


def memory_mib(meminfo: str) -> tuple[float, float]:
    """Used and total from the text of /proc/meminfo; caches that can be dropped count as free."""
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in meminfo.splitlines())}
    return (kib["MemTotal"] - kib["MemAvailable"]) / 1024, kib["MemTotal"] / 1024


def cpu_name(cpuinfo: str) -> str:
    """The processor as people call it, from the text of /proc/cpuinfo; empty where it has no name (many ARM boards)."""
    if not (found := re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)):
        return ""
    name = re.sub(r"\((?:R|TM)\)|\bCPU\b|\b\d+-Core\b|\bProcessor\b|@.*", " ", found[1])
    return " ".join(name.split())


def kernel_driver(proc: Path = PROC) -> str:
    """Version of the NVIDIA kernel module that is loaded; empty when none is."""
    try:
        text = (proc / "driver/nvidia/version").read_text()
    except OSError:
        return ""
    found = re.search(r"\b\d{3,}\.\d+(?:\.\d+)?\b", text)
    return found[0] if found else ""


class Host:
    """Reads the machine; rates are over the time since the reading before."""

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._cpu_name = cpu_name((proc / "cpuinfo").read_text())
        self._cpu: CpuTimes | None = None
        self._read_s = 0.0
        self._processes: dict[int, dict[tuple[int, int], int]] = {}
        """Per session the ticks of each process, named by pid and start."""

    def read(self, sessions: Collection[int], now_s: float) -> HostSample:
        """The machine at `now_s` (monotonic), with the watched sessions that have a process."""
        cpu = CpuTimes.parse((self._proc / "stat").read_text())
        used_mib, total_mib = self.memory_mib()
        sample = HostSample(
            cpu_name=self._cpu_name,
            cores=cpu.cores,
            cpu_pct=cpu.used_pct(self._cpu) if self._cpu else None,
            ram_used_mib=used_mib,
            ram_total_mib=total_mib,
            sessions=self._sessions(sessions, now_s - self._read_s),
        )
        self._cpu, self._read_s = cpu, now_s
        return sample

    def memory_mib(self) -> tuple[float, float]:
        """RAM used and total."""
        return memory_mib((self._proc / "meminfo").read_text())

    def _sessions(self, watched: Collection[int], interval_s: float) -> tuple[SessionSample, ...]:
        found: dict[int, dict[tuple[int, int], int]] = {}
        rss_mib: dict[int, float] = {}
        for pid in self._members(watched) if watched else ():
            try:
                process = ProcessTimes.parse((self._proc / str(pid) / "stat").read_text())
            except (FileNotFoundError, ProcessLookupError):
                continue
            found.setdefault(process.session, {})[pid, process.started] = process.ticks
            rss_mib[process.session] = rss_mib.get(process.session, 0.0) + process.rss_mib
        samples = tuple(
            SessionSample(session, self._cores(session, found[session], interval_s), rss_mib[session])
            for session in sorted(found)
        )
        self._processes = found
        return samples

    def _members(self, watched: Collection[int]) -> Iterator[int]:
        """Pids in watched sessions; asking the kernel costs a tenth of reading each /proc/PID/stat."""
        for entry in os.listdir(self._proc):
            if entry.isdigit() and session_of(pid := int(entry)) in watched:
                yield pid

    def _cores(self, session: int, ticks: dict[tuple[int, int], int], interval_s: float) -> float | None:
        """A process that was not there before has used all its time since then."""
        if (before := self._processes.get(session)) is None or interval_s <= 0:
            return None
        used = sum(now - before.get(process, 0) for process, now in ticks.items())
        return used / TICKS_PER_S / interval_s


def session_of(pid: int) -> int:
    """Session id of a process; 0 when it is gone or lives in a namespace that we do not see."""
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return 0
