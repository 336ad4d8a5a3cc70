"""What it costs until the console stands on the screen."""

from __future__ import annotations

from collections.abc import AsyncIterator

from tests.bench.cpu import PYTHON, cpu_of_run
from tests.bench.figure import Figure, Target, middle
from tests.bench.terminal import terminal
from tests.real.box import UPLION, running_box

ROUNDS = 15
TITLE = "BACKLOG"
"""Of a column that every width has."""


async def start() -> AsyncIterator[Figure]:
    """A console that follows, on a box with one model, against the import that no Textual program can do without."""
    ours, floor = [], []
    async with running_box() as box:
        await box.running(await box.static("echo", source="static:"))
        for round_ in range(ROUNDS + 1):
            import_s = await cpu_of_run(PYTHON, "-c", "import textual.app", env=box.env)
            async with terminal(*UPLION, env=box.env) as console:
                frame_s = await console.paints(TITLE)
            if round_:
                ours.append(frame_s * 1e3)
                floor.append(import_s * 1e3)
    yield Figure(
        name="CPU from exec to the console's first frame",
        value=middle(ours),
        unit="ms",
        beside="import textual.app",
        floor=middle(floor),
        target=Target(limit=1.3, ratio=True),
    )
