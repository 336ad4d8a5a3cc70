"""The program that we run: which one it is, and how many files it may have open."""

from __future__ import annotations

import resource
import sysconfig
from functools import cache
from pathlib import Path

MOST_FILES = 65_536
"""Each child takes a few of its leader's; without this some programs walk through a billion of them."""


@cache
def our_version() -> str:
    """As `uplion --version` says it; empty where the program runs without being installed.

    From the name of its folder (PEP 376): `importlib.metadata` takes as long to load as a small child to start.
    """
    installed = sorted(Path(sysconfig.get_path("purelib")).glob("uplion-*.dist-info"))
    return installed[-1].name.removeprefix("uplion-").removesuffix(".dist-info") if installed else ""


def allow_files() -> None:
    """Raise the limit of open files as far as we may: the usual 1,024 are too few for a thousand children."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
