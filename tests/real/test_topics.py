"""Queues at the broker that only older specs named: gone, whoever led when the specs were changed."""

from __future__ import annotations

import asyncio

import pytest

from tests.real.box import Box, words
from tests.real.clients import Clients

pytestmark = pytest.mark.anyio

SOURCE, TEXT = words(3)
NAMES = ("moved", "stays", "other")


async def there(box: Box, *models: str) -> set[str]:
    """Which of these models have a queue at the broker."""
    return {model for model in models if await box.backlog(f"model-{model}")}


async def test_specs_that_are_changed_while_nobody_leads_leave_no_queue_behind() -> None:
    box = Box()
    clients = Clients(box.url)
    try:
        box.open_up()
        serve = await box.run("serve")
        await box.static("moved", source=SOURCE, model="old")
        await box.static("stays", source=SOURCE, model="shared")
        await box.static("other", source=SOURCE, model="shared")
        for name in NAMES:
            await box.running(f"default/{name}")
        assert await there(box, "old", "shared") == {"old", "shared"}

        serve.kill()
        await serve.wait()
        await box.static("moved", source=SOURCE, model="new")
        await box.static("other", source=SOURCE, model="another")
        await box.run("serve")
        async with asyncio.timeout(60):
            while await there(box, "old", "shared", "new", "another") != {"shared", "new", "another"}:
                await asyncio.sleep(0.05)
        for name in NAMES:
            await box.running(f"default/{name}")
            assert (await clients.ask(name)).outcome(TEXT) == "answer"
        assert await there(box, "old", "shared") == {"shared"}
    finally:
        await clients.close()
        await box.stop()
