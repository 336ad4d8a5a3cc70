"""Which program runs, and with how many files."""

from __future__ import annotations

import resource
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from tests.process.bench import shell
from worker_embed.process.program import our_version


def test_an_upgrade_asks_for_a_new_process(tmp_path: Path) -> None:
    spec = replace(shell(tmp_path, "a", "true"), version="1.0")
    assert replace(spec, version="1.0").spec_hash == spec.spec_hash
    assert replace(spec, version="1.1").spec_hash != spec.spec_hash
    assert our_version() == version("uplion")


def test_a_leader_may_open_as_many_files_as_the_system_lets_it() -> None:
    code = (
        "import resource\n"
        "from worker_embed.process.program import allow_files\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))\n"
        "allow_files()\n"
        "print(*resource.getrlimit(resource.RLIMIT_NOFILE))\n"
    )
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 4096
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "4096 4096\n"
