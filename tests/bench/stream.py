"""Paced streams through the whole path against the same engine without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from time import monotonic

from tests.bench.client import MODEL, streamed
from tests.bench.figure import Figure, Target, middle
from tests.real.box import running_box, words
from worker_embed.engines.port import Job
from worker_embed.engines.static import Script, StaticEngine

STREAMS, TOKENS, TOKENS_PER_S = 20, 100, 50
ROUNDS, SINGLES = 3, 9

Came = Sequence[Sequence[float]]
"""For each stream, seconds from the request to each token."""


async def stream() -> AsyncIterator[Figure]:
    """20 streams of 100 tokens at 50 a second each: how many arrive, and how much later the first."""
    source, _ = words(TOKENS, per_s=TOKENS_PER_S)
    engine = StaticEngine(Script.parse(source), STREAMS)
    many: list[Came] = []
    direct: list[Came] = []
    async with running_box() as box:
        await box.running(await box.static(MODEL, source=source))
        await streamed(box.url, STREAMS, TOKENS)
        for _ in range(ROUNDS):
            direct.append(await asyncio.gather(*(_asked_directly(engine) for _ in range(STREAMS))))
            many.append(await streamed(box.url, STREAMS, TOKENS))
        alone = [await streamed(box.url, 1, 1) for _ in range(SINGLES)]
    yield Figure(
        name=f"stream, tokens/s of each of {STREAMS} paced at {TOKENS_PER_S}/s",
        value=rate(many),
        unit="tok/s",
        beside="engine asked directly",
        floor=rate(direct),
        target=Target(limit=0.97, ratio=True, least=True),
    )
    for name, came in ((f"{STREAMS} at once", many), ("one alone", alone)):
        added_ms = first_ms(came) - first_ms(direct)
        yield Figure(name=f"stream, added time to the first token, {name} (p50)", value=added_ms, unit="ms")


async def _asked_directly(engine: StaticEngine) -> list[float]:
    job = Job(path="chat/completions", body=b'{"model":"echo","messages":[],"stream":true}')
    began_s = monotonic()
    return [monotonic() - began_s async for batch in engine.stream(job) for piece in batch if b'"content":"' in piece]


def rate(rounds: Sequence[Came]) -> float:
    """Tokens a second of a stream, from the request to the last token; the median of all."""
    return middle([len(came) / came[-1] for round_ in rounds for came in round_])


def first_ms(rounds: Sequence[Came]) -> float:
    return middle([came[0] * 1e3 for round_ in rounds for came in round_])
