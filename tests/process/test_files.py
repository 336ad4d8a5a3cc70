"""Logs are read from the end, changes as they come, and /proc without being misled by names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from worker_embed.process import proc
from worker_embed.process.files import ChangesFile, tail_lines


def test_tail_is_the_end_of_this_run(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"old run\n" + b"loading\n\nno \xff memory\n")
    assert tail_lines(log, 5) == ("old run", "loading", "no \ufffd memory")
    assert tail_lines(log, 5, start=8) == ("loading", "no \ufffd memory")
    assert tail_lines(log, 1) == ("no \ufffd memory",)
    assert tail_lines(log, 2, start=10_000) == ("loading", "no \ufffd memory")
    assert tail_lines(tmp_path / "none.log", 5) == ()


def test_tail_of_a_large_log_reads_only_its_end(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("x" * 1_000_000 + "\nlast\n")
    assert tail_lines(log, 1) == ("last",)


def test_changes_are_handed_out_once_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.events"
    changes = ChangesFile(path)
    assert changes.newest() == []
    path.write_text('{"at": 1, "reason": "Loading"}\nnot a change\n{"at": 2, "rea')
    assert [change.reason for change in changes.newest()] == ["Loading"]
    assert changes.newest() == []
    with path.open("a") as file:
        file.write('son": "Ready"}\n')
    assert [change.reason for change in changes.newest()] == ["Ready"]
    path.write_text('{"at": 3, "reason": "Starting"}\n')
    assert [change.reason for change in changes.newest()] == ["Starting"]


def test_a_name_with_brackets_and_spaces_is_no_trap(tmp_path: Path) -> None:
    program = tmp_path / "x) S 1 (y"
    program.symlink_to(sys.executable)
    argv = [str(program), "-S", "-c", "print(flush=True); input()"]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"MARK": "1"})
    try:
        assert child.stdout is not None
        child.stdout.readline()
        found = proc.stat(child.pid)
        assert found is not None
        assert (found.parent, found.session, found.alive) == (os.getpid(), os.getsid(0), True)
        assert proc.environ(child.pid)["MARK"] == "1"
    finally:
        child.kill()
        child.wait()
    assert proc.stat(child.pid) is None
    assert proc.environ(child.pid) == {}


def test_our_own_memory_and_time_are_plausible() -> None:
    found = proc.stat(os.getpid())
    assert found is not None
    assert 5_000_000 < found.rss_bytes < 5_000_000_000
    assert 0 < found.cpu_s < 10_000
