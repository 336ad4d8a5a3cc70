"""What a child gets of our environment, and the mark by which it is known as ours."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from worker_embed.process import proc

CHILD = "UPLION_CHILD"
HOME = "UPLION_HOME"

_NAMES = {
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "TZ",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "LD_LIBRARY_PATH",
    "VIRTUAL_ENV",
}
_PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "HF_", "SSL_CERT_", "PYTHON")


def allowed(environ: Mapping[str, str]) -> dict[str, str]:
    """The part that children may see: secrets of the user's shell are none of their business."""
    return {
        name: value
        for name, value in environ.items()
        if name in _NAMES or name.startswith(_PREFIXES) or name.lower().endswith("_proxy")
    }


def marks(id: str, home: Path) -> dict[str, str]:
    """Variables that every child carries and hands on to what it starts itself."""
    # setproctitle, which engines use, writes over /proc/PID/environ and with it the mark unless SPT_NOENV is set.
    return {CHILD: id, HOME: str(home), "SPT_NOENV": "1"}


def mark_of(pid: int, home: Path) -> str | None:
    """Id of the child of `home` that `pid` is, or is descended from."""
    environ = proc.environ(pid)
    ours = HOME in environ and os.path.realpath(environ[HOME]) == os.path.realpath(home)
    return environ.get(CHILD) if ours else None


def marked(home: Path) -> Iterator[tuple[int, str]]:
    """Pid and mark of every living process of our user that some engine of `home` started."""
    for pid in proc.own_pids():
        if (mark := mark_of(pid, home)) is not None and (found := proc.stat(pid)) and found.alive:
            yield pid, mark
