"""A box of its own for the command line: `uplion` as a shell runs it, and an end that leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

UPLION = (sys.executable, "-m", "console")
LIMIT_S = 40.0


class Box:
    """One home; commands and leaders that are started here act on it."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="ucl-", dir="/tmp"))
        self.port = free_port()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("UPLION_")}
        self.env = {**kept, "UPLION_HOME": str(self.home), "UPLION_API_PORT": str(self.port), "TERM": "xterm-256color"}
        self._started: list[subprocess.Popen[str]] = []

    def run(self, *argv: str, text: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end; without `text` its standard input is empty."""
        stdin = {"stdin": subprocess.DEVNULL} if text is None else {"input": text}
        return subprocess.run(
            [*UPLION, *argv], env=self.env | env, capture_output=True, text=True, timeout=LIMIT_S, check=False, **stdin
        )

    def says(self, *argv: str, text: str | None = None, **env: str) -> str:
        """What a command prints; fails when it does."""
        ended = self.run(*argv, text=text, **env)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def refuses(self, *argv: str, code: int = 1, text: str | None = None, **env: str) -> str:
        """What a command says when it fails as it should."""
        ended = self.run(*argv, text=text, **env)
        assert ended.returncode == code, f"{ended.returncode}: {ended.stdout}{ended.stderr}"
        assert "Traceback" not in ended.stderr
        return ended.stderr

    def start(self, *argv: str, **env: str) -> subprocess.Popen[str]:
        """Start a command; what still runs when the box is closed is killed."""
        process = subprocess.Popen(
            [*UPLION, *argv],
            env=self.env | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def serve(self, *flags: str, **env: str) -> subprocess.Popen[str]:
        """Start `uplion serve` and return when it leads."""
        process = self.start("serve", *flags, **env)
        line(process, "leads")
        return process

    def object(self, name: str) -> Any:
        """One AIModel as json."""
        return json.loads(self.says("get", "models", name, "-o", "json"))

    def file(self, name: str, text: str) -> str:
        """A file in the box's folder; returns its path."""
        path = self.home / name
        path.write_text(text)
        return str(path)

    def processes(self) -> dict[int, str]:
        """All processes of this home, by the environment that each was given."""
        ours = b"UPLION_HOME=" + bytes(self.home)
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if ours in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def close(self) -> None:
        """Have the leader drain and stop everything; fails when anything is left, and kills it."""
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        try:
            for process in self._started:
                process.communicate(timeout=LIMIT_S)
            happens(lambda: not self.processes())
        finally:
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            shutil.rmtree(self.home, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def happens(what: Callable[[], object]) -> None:
    """Wait until it is so; fails after a while."""
    end_s = time.monotonic() + LIMIT_S
    while not what():
        assert time.monotonic() < end_s, "it did not happen"
        time.sleep(0.05)


def line(process: subprocess.Popen[str], part: str) -> str:
    """The next line of a process that holds `part`; fails when it ends without."""
    assert process.stdout is not None
    for text in process.stdout:
        if part in text:
            return text
    raise AssertionError(f"it ended with {process.wait()} and never said {part!r}")


def manifest(name: str, source: str = "static:Hello there", **fields: object) -> str:
    """A model that answers at once without any weights."""
    spec = {"type": "local", "model": name, "engine": "static", "source": source, "parallel": 2, **fields}
    return json.dumps(
        {"apiVersion": "model.youxam.com/v1alpha1", "kind": "AIModel", "metadata": {"name": name}, "spec": spec}
    )


@contextlib.contextmanager
def a_box() -> Iterator[Box]:
    box = Box()
    try:
        yield box
    finally:
        box.close()
