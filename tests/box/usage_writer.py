"""A leader that does nothing but write usage records; run by a test, which kills it.

`python -m tests.box.usage_writer FOLDER URL TOKEN_FILE` stays until it is killed.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from operator_embed.box.broker import Broker
from operator_embed.box.telemetry import Telemetry
from worker_embed.gpu.rings import Rings


def files(folder: Path) -> tuple[Path, Path]:
    """The accounts, and what names the records in hand."""
    return folder / "accounts.db", folder / "usage.inflight"


async def write(folder: Path, url: str, token_file: Path) -> None:
    broker = Broker(url, token_file, Telemetry(Rings()), time.time, lambda up: None)
    try:
        await asyncio.gather(broker.run(lambda queue: None), broker.write_usage(*files(folder)))
    finally:
        await broker.close()


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
