"""`python -m tests.bench [NAME...] [--json FILE]`: figures of speed, each beside its floor or peer in the same run."""

from __future__ import annotations

import argparse
import asyncio
import compileall
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import msgspec

from tests.bench.figure import Figure, lines
from tests.bench.gateway import gateway
from tests.bench.idle import idle
from tests.bench.kill import kill
from tests.bench.ready import ready
from tests.bench.start import start
from tests.bench.stream import stream
from tests.bench.table import table

BENCHES: dict[str, Callable[[], AsyncIterator[Figure]]] = {
    bench.__name__: bench for bench in (start, table, idle, gateway, stream, kill, ready)
}
PACKAGES = ("console", "screens", "operator_embed", "worker_embed", "tests")


async def measure(names: Sequence[str]) -> list[Figure]:
    """Run benchmarks one after the other; tells on stderr how far it is."""
    figures = []
    for name in names:
        began_s = time.monotonic()
        print(f"{name}: {(BENCHES[name].__doc__ or '').strip()}", end="", file=sys.stderr, flush=True)
        figures += [figure async for figure in BENCHES[name]()]
        print(f" ({time.monotonic() - began_s:.0f} s)", file=sys.stderr)
    return figures


def known(name: str) -> str:
    """A benchmark's name."""
    if name not in BENCHES:
        raise argparse.ArgumentTypeError(f"no benchmark {name!r}; known are {', '.join(BENCHES)}")
    return name


def main() -> None:
    """Measure, then print; a missed target is a figure like any other."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", type=known, metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON as well")
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for package in PACKAGES:
        compileall.compile_dir(package, quiet=1)
    figures = asyncio.run(measure(options.names or list(BENCHES)))
    judged = [figure.met for figure in figures if figure.met is not None]
    print(*lines(figures), f"{sum(judged)} of {len(judged)} targets met", sep="\n")
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode([figure.as_dict() for figure in figures])))


if __name__ == "__main__":
    main()
