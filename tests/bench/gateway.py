"""What a request costs the API node, and all who have a part in it, against a bare ASGI server."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence

from tests.bench.client import BODY_BYTES, CONNECTIONS, MODEL, loaded
from tests.bench.cpu import cpu_of, rss_mib
from tests.bench.figure import Figure, Target, middle
from tests.bench.servers import server
from tests.real.box import running_box

ROUNDS = 5
WARM_S, ROUND_S = 1.0, 1.5
ENVELOPE_BYTES = 332
"""Of the static engine's answer around its text."""
SOURCE = f"static:{'x' * (BODY_BYTES - ENVELOPE_BYTES)}"

ECHO, MEMORY, NATS, WHOLE = "ASGI echo", "memory queue", "NATS", "whole path: API node, nats-server, worker"


async def gateway() -> AsyncIterator[Figure]:
    """CPU by process while 32 connections ask as fast as they are answered; sync always, so each request is on disk."""
    async with (
        server("echo") as (echo_url, echo_pid),
        server("memory") as (memory_url, memory_pid),
        running_box() as box,
    ):
        (replica,) = await box.running(await box.static(MODEL, source=SOURCE, parallel=2 * CONNECTIONS))
        pids = box.pids()
        api, worker, broker = (pids[id] for id in ("gateway", replica.key, "nats-server"))
        watched = (
            (echo_url, {ECHO: [echo_pid]}),
            (memory_url, {MEMORY: [memory_pid]}),
            (box.url, {NATS: [api], WHOLE: [api, worker, broker], "worker": [worker], "nats-server": [broker]}),
        )
        taken: dict[str, list[float]] = defaultdict(list)
        for url, _ in watched:
            await loaded(url, WARM_S)
        for _ in range(ROUNDS):
            for url, groups in watched:
                for name, cost_us in (await cost_of(url, groups)).items():
                    taken[name].append(cost_us)
        rss = {"API node": rss_mib(api), "worker shell": rss_mib(worker)}
    floor_us = middle(taken[ECHO])
    for name, limit in ((MEMORY, 3.0), (NATS, 4.5), (WHOLE, 18.0), ("worker", None), ("nats-server", None)):
        yield Figure(
            name=f"CPU per request, {'' if name == WHOLE else 'API node on ' if limit else 'of it '}{name}",
            value=middle(taken[name]),
            unit="us",
            beside=ECHO,
            floor=floor_us,
            target=Target(limit=limit, ratio=True) if limit else None,
        )
    yield Figure(name="requests per core, API node", value=1e6 / middle(taken[NATS]), unit="/s")
    yield Figure(name="requests per core, whole path", value=1e6 / middle(taken[WHOLE]), unit="/s")
    for name, mib in rss.items():
        yield Figure(name=f"memory (RSS) after that, {name}", value=mib, unit="MiB")


async def cost_of(url: str, groups: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Microseconds per request of each group of processes."""
    before = {name: cpu_of(pids) for name, pids in groups.items()}
    answers = await loaded(url, ROUND_S)
    return {name: (cpu_of(pids) - before[name]) * 1e6 / answers for name, pids in groups.items()}
