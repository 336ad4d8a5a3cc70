"""A box whose broker cannot start: the API node answers all the same, and the console says so."""

from __future__ import annotations

import asyncio
import socket

import pytest

from operator_embed.box.ports import recorded_port
from tests.real.box import Box, words
from tests.real.clients import Clients

pytestmark = pytest.mark.anyio

SOURCE, TEXT = words(3)


async def test_a_broker_that_cannot_start_is_told_and_waited_for() -> None:
    box = Box()
    box.home.prepare()
    clients = Clients(box.url)
    try:
        with socket.create_server(("127.0.0.1", recorded_port(box.home.ports, "nats"))):
            await box.start()
            await box.static("echo", source=SOURCE)
            await box.until(lambda view: any((row.key, row.status) == ("API", "ok") for row in view.sources))
            asking = asyncio.create_task(clients.ask("echo"))
            await box.until(
                lambda view: (
                    view.context.headline.startswith("QUEUE DOWN")
                    and any("nats cannot run" in failure.message for failure in view.failures)
                )
            )
            assert (await asking).outcome("") == "error 503 queue_unavailable"
        await box.running("default/echo")
        await box.until(lambda view: view.context.headline == "serve leads" and not view.failures)
        assert (await clients.ask("echo")).outcome(TEXT) == "answer"
    finally:
        await clients.close()
        await box.stop()
