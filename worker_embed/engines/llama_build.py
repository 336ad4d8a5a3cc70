"""What the installed llama.cpp can compute on; asked in a process of its own, as its library is large and may crash."""

from __future__ import annotations

import asyncio
import importlib.metadata
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping

import msgspec

ANSWER_S = 30.0
"""A driver without persistence mode takes seconds to wake up."""


class LlamaBuild(msgspec.Struct, frozen=True, kw_only=True):
    """One installation of xllamacpp."""

    version: str = ""
    """`2026.10`; empty when it is not installed."""
    gpus: tuple[str, ...] = ()
    """The GPUs that it can use, by name: none for a wheel that was built for the CPU alone."""
    trouble: str = ""
    """Why it cannot run though it is installed."""


async def llama_build(environ: Mapping[str, str]) -> LlamaBuild:
    """Ask in an environment as its servers will have it."""
    try:
        version = ".".join(importlib.metadata.version("xllamacpp").split(".")[:2])
    except importlib.metadata.PackageNotFoundError:
        return LlamaBuild()
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "worker_embed.engines.llama_build"),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        env=dict(environ),
    )
    try:
        async with asyncio.timeout(ANSWER_S):
            out, complaints = await child.communicate()
        if not child.returncode:
            return LlamaBuild(version=version, gpus=msgspec.json.decode(out.splitlines()[-1], type=tuple[str, ...]))
        last = complaints.decode(errors="replace").strip().rpartition("\n")[2]
        return LlamaBuild(version=version, trouble=last or f"exit {child.returncode}")
    except TimeoutError:
        return LlamaBuild(version=version, trouble=f"says nothing about its devices for {ANSWER_S:.0f} s")
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


def main() -> None:
    """Write the names of the GPUs as a line of JSON, after whatever a driver prints."""
    import xllamacpp

    devices = xllamacpp.get_device_info()
    gpus = [device["description"] for device in devices if device["type"].name.endswith("GPU")]
    sys.stdout.write(f"{msgspec.json.encode(gpus).decode()}\n")


if __name__ == "__main__":
    main()
