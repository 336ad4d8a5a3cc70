"""Processes that run and do not answer: said at once, ended, and back by themselves."""

from __future__ import annotations

import os
import signal

import pytest

from tests.real.box import Box, replicas_of, words
from tests.real.clients import Clients

pytestmark = pytest.mark.anyio

ECHO = "default/echo"
SOURCE, TEXT = words(3)


async def test_frozen_broker_node_and_worker_are_told_and_replaced(box: Box, clients: Clients) -> None:
    await box.static("echo", source=SOURCE, replicas=1)
    [replica] = await box.running(ECHO)
    before = box.pids()
    assert (await clients.ask("echo")).outcome(TEXT) == "answer"
    for pid in before.values():
        os.kill(pid, signal.SIGSTOP)

    view = await box.until(lambda view: view.context.headline.startswith("QUEUE DOWN") and len(view.failures) == 3)
    assert {(failure.subject, failure.reason) for failure in view.failures} == {
        ("queue", "Unreachable"),
        ("API", "Unreachable"),
        ("echo", "GeneralError"),
    }
    assert {source.key for source in view.sources if source.status == "!"} == {"queue", "API"}
    assert replicas_of(view, ECHO)[0].reason == "GeneralError"
    assert box.pids() == before, "nobody is killed at the first miss"

    await box.happens(lambda: not before.items() & box.pids().items())
    await box.well(ECHO)
    assert (await clients.ask("echo")).outcome(TEXT) == "answer"
    view = box.fleet.view()
    assert view.failures == ()
    for name in ("nats-server", "gateway", replica.key):
        reasons = {event.reason: event.message for event in view.events if event.source == name}
        assert "Silent" in reasons
        assert reasons["Crashed"].startswith("killed after 15 s without an answer")
