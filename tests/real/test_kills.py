"""`kill -9` of each process under load: one complete answer or one error for everybody, and all of it comes back."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable

import pytest

from tests.real.accounts import usage
from tests.real.box import Box, dead, find, replicas_of, words
from tests.real.clients import Asked, Clients, outcomes
from worker_embed.process import proc

pytestmark = pytest.mark.anyio

ECHO = "default/echo"
REPLICAS, SLOTS, REQUESTS = 2, 8, 40
ATTEMPTS = 3
SOURCE, TEXT = words(20, per_s=40)
LOST = "error 200 worker_lost"
"""Of a stream that its client saw the begin of."""
ANSWERED = set[str]()
"""Ids of all requests of this module that were answered."""
WORKERLESS = set[str]()
"""Ids of those whose worker was killed, and nobody else's."""


@pytest.fixture(scope="module")
async def echo(box: Box) -> str:
    return await box.static("echo", source=SOURCE, replicas=REPLICAS, parallel=SLOTS)


@pytest.fixture
async def steady(box: Box, echo: str) -> dict[str, int]:
    """Pids of the children of a box that is well."""
    await box.running(echo, REPLICAS)
    return box.pids()


async def under_load(
    box: Box, clients: Clients, strike: Callable[[], object], lost: set[str] | None = None
) -> Counter[str]:
    """What `REQUESTS` requests came to, `strike` having fallen when some were half answered; ids of those `lost`."""
    asks = clients.many("echo", REQUESTS)
    streams = [asked for asked, _ in asks if asked.stream]
    await box.happens(lambda: sum(asked.pieces > 3 for asked in streams) >= 4)
    strike()
    came = await outcomes(asks, TEXT)
    ANSWERED.update(asked.request_id for asked, _ in asks if asked.outcome(TEXT) == "answer")
    if lost is not None:
        lost.update(asked.request_id for asked, _ in asks if asked.outcome(TEXT) == LOST)
    return came


async def back(box: Box, clients: Clients) -> Counter[str]:
    """Wait until all is well, and see that it answers; how many processes of which child run, replicas as `worker`."""
    await box.well(ECHO, REPLICAS)
    assert await outcomes(clients.many("echo", 2), TEXT) == {"answer": 2}
    replicas = {row.key for row in replicas_of(box.fleet.view(), ECHO)}
    return Counter("worker" if mark in replicas else mark for mark in box.processes().values())


ALL = {"worker": REPLICAS, "gateway": 1, "nats-server": 1, "console serve": 1}


async def test_worker(box: Box, clients: Clients, steady: dict[str, int]) -> None:
    victim = replicas_of(box.fleet.view(), ECHO)[0].key
    came = await under_load(box, clients, lambda: box.kill(victim), WORKERLESS)
    assert came["answer"] + came[LOST] == REQUESTS, came
    assert 0 < came[LOST] <= SLOTS, "whose stream had begun gets an error, everybody else another worker's answer"
    assert await back(box, clients) == ALL
    view = await box.until(lambda view: any(e.reason == "Crashed" and e.source == victim for e in view.events))
    assert any(e.source == victim and "SIGKILL" in e.message for e in view.events)
    assert dead(steady) == [victim]


async def test_request_whose_workers_were_all_killed(box: Box, clients: Clients) -> None:
    key = await box.static("poison", source=words(1, delay_s=600)[0], parallel=1)
    [replica] = await box.running(key)
    asked = Asked(stream=False)
    asking = asyncio.create_task(clients.put(asked, "poison"))
    killed = set[int | None]()
    while len(killed) < ATTEMPTS:
        await box.until(lambda view: any(row.busy and row.pid not in killed for row in replicas_of(view, key)))
        killed.add(box.kill(replica.key))
    await asking
    assert asked.outcome("") == "error 502 upstream_error"
    WORKERLESS.add(asked.request_id)
    await box.fleet.models.delete(key)
    await box.until(lambda view: find(view, key) is None)


async def test_broker(box: Box, clients: Clients, steady: dict[str, int]) -> None:
    came = await under_load(box, clients, lambda: box.kill("nats-server"))
    assert came == {"answer": REQUESTS}
    assert await back(box, clients) == ALL
    assert dead(steady) == ["nats-server"]
    view = await box.until(lambda view: view.events[0].reason != "QueueLost")
    assert {"QueueLost", "QueueBack"} <= {event.reason for event in view.events}


async def test_gateway(box: Box, clients: Clients, steady: dict[str, int]) -> None:
    came = await under_load(box, clients, lambda: box.kill("gateway"))
    assert came["answer"] + came["broken"] == REQUESTS, came
    assert came["broken"] > 0
    assert await back(box, clients) == ALL
    assert dead(steady) == ["gateway"]
    await box.until(lambda view: any(e.source == "gateway" and e.reason == "Crashed" for e in view.events))


async def test_leader(box: Box, clients: Clients, steady: dict[str, int]) -> None:
    leader = box.leader()
    assert leader is not None
    helpers = {stat.pid for stat in map(proc.stat, proc.own_pids()) if stat and stat.parent == leader} - {
        *steady.values()
    }
    came = await under_load(box, clients, lambda: box.kill("serve"))
    assert came == {"answer": REQUESTS}
    assert await back(box, clients) == ALL
    assert dead(steady) == []
    assert box.pids() == steady, "the next leader adopts what runs"
    assert box.leader() not in (None, leader)
    assert helpers, "the sampler"
    assert not [pid for pid in helpers if (stat := proc.stat(pid)) and stat.alive], (
        "what is tied to a leader dies with it"
    )


async def test_everything_at_once(box: Box, clients: Clients, steady: dict[str, int]) -> None:
    victims = ["serve", *steady]
    random.shuffle(victims)

    def strike() -> None:
        for victim in victims:
            box.kill(victim)

    came = await under_load(box, clients, strike)
    assert came["answer"] + came["broken"] + came[LOST] == REQUESTS, (victims, came)
    assert await back(box, clients) == ALL, victims
    assert len(dead(steady)) == len(steady)


async def test_every_answer_is_in_the_accounts(box: Box) -> None:
    """Who was killed may have had records in hand: whoever comes next gives them back."""
    await box.happens(lambda: usage(box).keys() >= ANSWERED | WORKERLESS)
    assert {usage(box)[id][0] for id in ANSWERED} == {"ok"}
    assert {usage(box)[id] for id in WORKERLESS} == {("error", 0, 0)}
