"""What is read out of /proc."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gpu.conftest import BURNS, CHILD_BURNS
from worker_embed.gpu.host import CpuTimes, Host, ProcessTimes, cpu_name, kernel_driver, memory_mib, session_of

STAT = "cpu  100 10 50 800 40 5 5 0 60 0\ncpu0 50 5 25 400 20 3 2 0 30 0\ncpu1 50 5 25 400 20 2 3 0 30 0\nintr 1 2\n"


def test_waiting_for_a_disk_is_idle_and_guests_count_once() -> None:
    times = CpuTimes.parse(STAT)
    assert (times.busy, times.total, times.cores) == (170, 1010, 2)


@pytest.mark.parametrize(
    ("busy", "total", "pct"),
    [(150, 1100, 50.0), (100, 1100, 0.0), (90, 1100, 0.0), (200, 1100, 100.0), (0, 1000, None)],
)
def test_cpu_share_since_an_earlier_reading(busy: int, total: int, pct: float | None) -> None:
    assert CpuTimes(busy, total, 2).used_pct(CpuTimes(100, 1000, 2)) == pct


def test_caches_are_free_memory() -> None:
    text = "MemTotal:  67108864 kB\nMemFree:  1048576 kB\nMemAvailable:  45193626 kB\nHugePages_Total:       0\n"
    used, total = memory_mib(text)
    assert (round(used / 1024, 1), total) == (20.9, 65536)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("AMD EPYC 7B13 64-Core Processor", "AMD EPYC 7B13"),
        ("Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", "Intel Xeon E5-2680 v4"),
        ("13th Gen Intel(R) Core(TM) i7-1370P", "13th Gen Intel Core i7-1370P"),
    ],
)
def test_a_processor_is_named_as_people_call_it(model: str, name: str) -> None:
    assert cpu_name(f"processor\t: 0\nmodel name\t: {model}\ncache size\t: 1 KB\n") == name


def test_a_processor_without_a_name() -> None:
    assert cpu_name("processor\t: 0\nCPU implementer\t: 0x41\n") == ""


def test_a_process_whose_name_looks_like_its_own_line() -> None:
    fields = "S 1 42 77 0 -1 4194304 0 0 0 0 123 45 0 0 20 0 1 0 9876 0 256 0"
    process = ProcessTimes.parse(f"42 (evil) S 9 9 9) {fields}")
    assert (process.session, process.ticks, process.started) == (77, 168, 9876)
    assert process.rss_mib == 256 * os.sysconf("SC_PAGE_SIZE") / 1024**2


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 10:11:16 UTC 2025", "580.95.05"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  590.12  Release Build", "590.12"),
        ("something else", ""),
    ],
)
def test_the_kernel_tells_which_driver_is_loaded(tmp_path: Path, line: str, version: str) -> None:
    (tmp_path / "driver/nvidia").mkdir(parents=True)
    (tmp_path / "driver/nvidia/version").write_text(f"{line}\nGCC version:  gcc version 12.2.0\n")
    assert kernel_driver(tmp_path) == version
    assert kernel_driver(tmp_path / "none") == ""


def test_a_session_is_all_of_its_processes(session: Callable[..., int]) -> None:
    host = Host()
    leader, alone = session(CHILD_BURNS), session(BURNS)
    first = host.read({leader, alone}, 10.0)
    assert [one.cpu_cores for one in first.sessions] == [None, None], "no rate without a time"
    rss_mib = {one.session: one.rss_mib for one in first.sessions}
    assert rss_mib[leader] > 1.3 * rss_mib[alone]
    ends_s = time.monotonic() + 10
    for second in itertools.count(11):
        sessions = host.read({leader, alone}, second).sessions
        assert time.monotonic() < ends_s
        if all(one.cpu_cores for one in sessions):
            break
    assert [one.session for one in host.read({alone}, 1e6).sessions] == [alone]
    assert host.read(set(), 2e6).sessions == ()


def test_a_process_that_is_gone_has_no_session() -> None:
    assert session_of(os.getpid()) == os.getsid(0)
    assert session_of(4_194_303) == 0
