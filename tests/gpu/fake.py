"""The stand-in for libnvidia-ml in Python's hands: for tests of any part, demonstrations and pictures."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
from functools import cache
from pathlib import Path

COMPILER = shutil.which("cc") or ""
SOURCE = Path(__file__).with_name("fake_nvml.c")
SONAME = "libnvidia-ml.so.1"
SLOT = struct.Struct("56sQ")
SLOTS = 128


@cache
def library(missing: tuple[str, ...] = ()) -> bytes:
    """The compiled library, without some functions as in an old driver; needs a C compiler."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, SONAME)
        absent = [f"-D{function}=absent_{function}" for function in missing]
        flags = ["-shared", "-fPIC", "-O1", "-pthread", f"-Wl,-soname,{SONAME}", *absent]
        subprocess.run([COMPILER, *flags, "-o", target, SOURCE, "-lm"], check=True)
        return target.read_bytes()


class FakeNvml:
    """A folder with the library and its scenario; processes with `env` find no other NVML."""

    def __init__(self, folder: Path, *scenario: str, missing: tuple[str, ...] = ()) -> None:
        self.folder = folder
        (folder / SONAME).write_bytes(library(missing))
        (folder / "calls").write_bytes(bytes(SLOT.size * SLOTS))
        self.env = {"LD_LIBRARY_PATH": str(folder)}
        if scenario:
            self.write(*scenario)

    def write(self, *lines: str) -> None:
        """Replace the scenario; its grammar stands at the top of `fake_nvml.c`."""
        new = self.folder / "scenario.new"
        new.write_text("\n".join(lines) + "\n")
        os.replace(new, self.folder / "scenario")

    def calls(self) -> dict[str, int]:
        """How often each function was called so far, by all processes."""
        slots = SLOT.iter_unpack((self.folder / "calls").read_bytes())
        return {name.rstrip(b"\0").decode(): calls for name, calls in slots if calls}
