"""How soon a request is answered whose worker was killed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from tests.bench.client import MODEL
from tests.bench.figure import Figure, middle
from tests.real.box import Box, replicas_of, running_box, words
from tests.real.clients import Clients

REPLICAS, ROUNDS = 2, 3
ANSWER_S = 0.5


async def kill() -> AsyncIterator[Figure]:
    """From `kill -9` of the shell that has the task to the answer of the other replica."""
    killed, undisturbed = [], []
    async with running_box() as box:
        source, text = words(10, delay_s=ANSWER_S)
        key = await box.static(MODEL, source=source, replicas=REPLICAS)
        clients = Clients(box.url)
        try:
            for _ in range(ROUNDS):
                await box.well(key, REPLICAS)
                began_s = time.monotonic()
                assert (await clients.ask(MODEL)).outcome(text) == "answer"
                undisturbed.append((time.monotonic() - began_s) * 1e3)
                killed.append(await _killed_ms(box, clients, key, text))
        finally:
            await clients.close()
    yield Figure(
        name="kill -9 of a worker to its task's answer by another",
        value=middle(killed),
        unit="ms",
        beside="the answer itself",
        floor=middle(undisturbed),
    )
    yield Figure(name="of it noticed, given back, begun again", value=middle(killed) - middle(undisturbed), unit="ms")


async def _killed_ms(box: Box, clients: Clients, key: str, text: str) -> float:
    asking = asyncio.create_task(clients.ask(MODEL))
    replicas = [row.key for row in replicas_of(box.fleet.view(), key)]

    def busy() -> list[str]:
        """Replicas with a delivery in hand."""
        return [name for name in replicas if (box.home.procs / f"{name}.inflight").stat().st_size]

    await box.happens(busy)
    box.kill(busy()[0])
    began_s = time.monotonic()
    assert (await asking).outcome(text) == "answer"
    return (time.monotonic() - began_s) * 1e3
