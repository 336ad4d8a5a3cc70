"""Tasks of the original's API node, which knows nothing of ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.worker.original_node import OriginalNode, running_original
from tests.worker.rig import Rig, rig
from tests.worker.upstream import failing, running_upstream

pytestmark = pytest.mark.anyio


@pytest.fixture
async def original() -> AsyncIterator[OriginalNode]:
    async with running_original() as node:
        yield node


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path, source="static:one%20two%20three?tokens_per_s=200", max_process_num=4) as made:
        yield made


async def published(box: Rig, original: OriginalNode, **how: Any) -> str:
    request_id = await original.publish(box.queue, "m", stream=True, **how)
    original.streams[request_id] = asyncio.Queue()
    return request_id


def said(chunks: list[Any]) -> str:
    return "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])


async def test_answer_that_comes_before_its_id_is_known_is_sent_again(box: Rig, original: OriginalNode) -> None:
    request_id = await original.publish(box.queue, "m", stream=False)
    async with box.working():
        async with asyncio.timeout(20):
            await original.unknown.wait()
        answer = await original.answer(request_id)
        await box.settled()
    assert answer["choices"][0]["message"]["content"] == "one two three"


@pytest.mark.parametrize("scheme", ["ws", "http"])
async def test_streams_share_one_socket(box: Rig, original: OriginalNode, scheme: str) -> None:
    ids = [await published(box, original, scheme=scheme) for _ in range(5)]
    async with box.working():
        for request_id in ids:
            assert said(await original.stream(request_id)) == "one two three"
        await box.settled()
        assert (await box.usage(5)).keys() == set(ids)
    assert len(original.sockets) == 1


async def test_stream_goes_on_over_a_new_socket(box: Rig, original: OriginalNode) -> None:
    long = replace(box, config=replace(box.config, source="static:word?tokens=50&tokens_per_s=200"))
    request_id = await published(long, original)
    async with long.working():
        first = await asyncio.wait_for(original.streams[request_id].get(), 20)
        await original.sockets[0].close()
        chunks = [first["data"], *await original.stream(request_id)]
        await long.settled()
    assert said(chunks).startswith("word word")
    assert len(original.sockets) == 2


async def test_error_of_the_api_is_the_data_of_the_answer(tmp_path: Path, original: OriginalNode) -> None:
    async with running_upstream() as upstream, rig(tmp_path, api_url=upstream.url, max_process_num=4) as box:
        upstream.next.extend([failing(400, message="bad <request>"), failing(400, message="bad <stream>")])
        whole = await original.publish(box.queue, "m", stream=False)
        async with box.working():
            answer = await original.answer(whole)
            stream = await published(box, original)
            (last,) = await original.stream(stream)
            await box.settled()
    assert answer["error"]["message"] == "bad <request>"
    assert last["error"]["message"] == "bad <stream>"


async def test_task_of_a_node_that_is_away_is_kept(box: Rig, original: OriginalNode) -> None:
    request_id = await original.publish(box.queue, "m", stream=False)
    host, original.host = original.host, "127.0.0.1:9"
    await original.publish(box.queue, "m", stream=False)
    original.host = host
    async with box.working():
        await original.answer(request_id)
        await box.settled(left=1)
