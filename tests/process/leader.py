"""A program that leads a home from a thread, as the console does; run by tests, which kill it.

`python -m tests.process.leader HOME` starts `own` and `tied`, prints their pids once both are ready, and stays.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path

from tests.process.bench import DRAINS, Bench, ready, shell


async def lead(home: Path) -> None:
    supervisor = Bench(home).lead()
    supervisor.run(shell(home, "own", DRAINS))
    supervisor.run(shell(home, "tied", DRAINS, own_session=False))
    sys.stdout.write(f"{await ready(supervisor, 'own')} {await ready(supervisor, 'tied')}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    threading.Thread(target=lambda: asyncio.run(lead(Path(sys.argv[1])))).start()
