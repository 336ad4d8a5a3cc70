"""From `apply` to answers: the official client, streamed and not, many at once, and those that leave early."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.real.box import Box, manifest, replicas_of
from tests.real.clients import Asked, Clients
from worker_embed.process import proc

pytestmark = [pytest.mark.anyio, pytest.mark.realmodel]

WEIGHTS = Path("assets/models/smollm2-135m-instruct-q4_1.gguf").absolute()
PROMPT: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the capital of France?"}]
SMOLLM2 = "default/smollm2"


@pytest.fixture(scope="module")
async def smollm2(box: Box) -> str:
    await box.apply(
        manifest("smollm2", engine="llama", source=str(WEIGHTS), replicas=1, contextLength=1024, parallel=4)
    )
    await box.running(SMOLLM2)
    return SMOLLM2


@pytest.fixture
async def client(box: Box) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{box.url}/v1", api_key="none", max_retries=0, timeout=90) as made:
        yield made


async def test_official_client_gets_the_same_text_streamed_and_not(client: openai.AsyncOpenAI, smollm2: str) -> None:
    whole = await client.chat.completions.create(model="smollm2", messages=PROMPT, temperature=0, max_tokens=24)
    stream = await client.chat.completions.create(
        model="smollm2", messages=PROMPT, temperature=0, max_tokens=24, stream=True
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert len(text.split()) > 3
    assert text == whole.choices[0].message.content
    assert whole.usage is not None
    assert whole.usage.completion_tokens > 1
    assert len(chunks) > 5
    assert [model.id async for model in client.models.list()] == ["smollm2"]


async def test_twenty_at_once_are_all_answered(box: Box, clients: Clients, smollm2: str) -> None:
    asks = clients.many("smollm2", 20, temperature=0, max_tokens=4)
    await asyncio.gather(*(task for _, task in asks))
    assert {(asked.status, asked.done, bool(asked.text)) for asked, _ in asks} == {(200, True, True)}
    await box.until(lambda view: replicas_of(view, smollm2)[0].busy == 0)


async def test_client_that_leaves_frees_its_slot(box: Box, clients: Clients, smollm2: str) -> None:
    asked = Asked(stream=True)
    leaving = asyncio.create_task(clients.put(asked, "smollm2", "Count.", max_tokens=900, ignore_eos=True))
    await asked.first.wait()
    assert asked.text
    await box.until(lambda view: replicas_of(view, smollm2)[0].busy == 1)
    leaving.cancel()
    await box.until(lambda view: (row := replicas_of(view, smollm2)[0]).busy == 0 and row.kv_pct == 0)
    await box.until(lambda view: box.model(smollm2).backlog == 0)


async def test_engine_that_is_killed_comes_back_and_its_requests_end_well(
    box: Box, clients: Clients, smollm2: str
) -> None:
    shells, (replica,) = box.pids(), replicas_of(box.fleet.view(), smollm2)
    engine = box.engine_pid(replica.key)
    asks = clients.many("smollm2", 8, temperature=0, max_tokens=12)
    await box.happens(lambda: any(asked.pieces for asked, _ in asks))
    os.kill(engine, signal.SIGKILL)
    await asyncio.gather(*(task for _, task in asks))
    ends = [asked.outcome(asked.text) for asked, _ in asks]
    assert set(ends) <= {"answer", "error 200 upstream_error"}, ends
    begun = sum(end.startswith("error") for end in ends)
    assert 0 < begun <= 4, "only whose stream had begun gets an error"
    assert len({asked.text for asked, _ in asks if asked.done and not asked.error}) == 1, "no answer is cut or spliced"
    await box.until(lambda view: any(e.reason == "GeneralError" and "died" in e.message for e in view.events))
    await box.running(smollm2)
    assert box.pids() == shells
    assert box.engine_pid(replica.key) != engine


async def test_shell_that_is_killed_leaves_no_engine_behind(box: Box, clients: Clients, smollm2: str) -> None:
    (replica,) = replicas_of(box.fleet.view(), smollm2)
    engine = box.engine_pid(replica.key)
    box.kill(replica.key)
    await box.happens(lambda: not ((stat := proc.stat(engine)) and stat.alive))
    await box.well(smollm2)
    assert box.engine_pid(replica.key) != engine
    assert (await clients.ask("smollm2", max_tokens=2)).done
