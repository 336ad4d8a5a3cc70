"""What /proc tells of processes, after proc(5): one that ended meanwhile is `None` or left out, never an error."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Stat:
    """One line of `/proc/PID/stat`."""

    pid: int
    state: str
    """`R`, `S`, `D`, `T`, and `Z` or `X` for what has ended."""
    parent: int
    group: int
    session: int
    cpu_s: float
    """User and system time since the start, without children."""
    start_ticks: int
    """Clock ticks from boot to the start: with the pid and the boot id it names a process for good."""
    rss_bytes: int

    @property
    def alive(self) -> bool:
        return self.state not in "ZX"


def stat(pid: int) -> Stat | None:
    """The process `pid`, also when it is a zombie."""
    line = _read(pid, "stat")
    # The name stands in brackets and may itself hold brackets and spaces.
    fields = line[line.rfind(b")") + 2 :].split()
    if len(fields) < 22:
        return None
    return Stat(
        pid=pid,
        state=fields[0].decode(),
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS_PER_S,
        start_ticks=int(fields[19]),
        rss_bytes=int(fields[21]) * _PAGE_BYTES,
    )


def mapped_bytes(pid: int) -> int:
    """Resident memory of a process that files are behind, as of libraries and mapped weights; 0 once it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[2]) * _PAGE_BYTES
    except (FileNotFoundError, ProcessLookupError):
        return 0


def pulse(pid: int) -> tuple[int, float] | None:
    """How often the first thread of `pid` went to sleep by itself, and the CPU seconds of all its threads.

    `None` where the kernel does not say.
    """
    if (found := stat(pid)) is None:
        return None
    for line in _read(pid, "status").splitlines():
        if line.startswith(b"voluntary_ctxt_switches:"):
            return int(line.split()[1]), found.cpu_s
    return None


def pids() -> list[int]:
    """Every process that can be seen."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def own_pids() -> Iterator[int]:
    """Processes of our own user."""
    uid = os.getuid()
    for pid in pids():
        try:
            if os.stat(f"/proc/{pid}").st_uid == uid:
                yield pid
        except (FileNotFoundError, ProcessLookupError):
            continue


def environ(pid: int) -> Mapping[str, str]:
    """The environment that `pid` was started with; empty when it is not ours to read."""
    pairs = (entry.partition("=") for entry in os.fsdecode(_read(pid, "environ")).split("\0"))
    return {name: value for name, equals, value in pairs if equals}


@cache
def boot_id() -> str:
    """New with every boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _read(pid: int, name: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""
