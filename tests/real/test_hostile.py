"""Requests and models that mean harm: refused or answered, and never a control character on anybody's terminal."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlsplit

import aiohttp
import pytest

from operator_embed.fleet.fleet import FleetError
from tests.real.box import Box, find, manifest
from tests.real.clients import Clients
from tests.real.terminal import console

pytestmark = pytest.mark.anyio

EVIL = "\x1b]0;owned\x07\x1b[31m[bold red]x[/bold]\r\nX-Injected: 1\u202e"
CALM = "default/calm"
LIMIT = 4 * 1024 * 1024


@pytest.fixture(scope="module")
async def calm(box: Box) -> str:
    await box.static("calm", source="static:peace")
    await box.running(CALM)
    return CALM


async def post(box: Box, body: bytes, **headers: str) -> tuple[int, bytes, str]:
    """Status, body and all headers of the answer to a raw body."""
    url = f"{box.url}/v1/chat/completions"
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers) as answer:
        return answer.status, await answer.read(), str(answer.headers)


def request(content: str, model: str = "calm") -> bytes:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": content}]}).encode()


async def test_bodies_up_to_the_limit_are_answered_and_larger_ones_refused(box: Box, calm: str) -> None:
    room = LIMIT - 16 * 1024
    status, body, _ = await post(box, request("x" * room))
    assert (status, b"peace" in body) == (200, True)
    status, body, _ = await post(box, request("x" * (LIMIT + 1)))
    assert (status, json.loads(body)["error"]["code"]) == (413, "request_too_large")
    answers = await asyncio.gather(*(post(box, request("y" * room)) for _ in range(4)))
    assert [status for status, _, _ in answers] == [200] * 4


async def test_evil_text_in_requests_comes_out_nowhere_else(box: Box, clients: Clients, calm: str) -> None:
    status, body, _ = await post(box, request(EVIL), **{"User-Agent": "\x9b31m[red]"})
    assert (status, b"peace" in body) == (200, True)
    status, body, headers = await post(box, request("hi", model=EVIL))
    assert status == 404
    assert json.loads(body)["error"]["code"] == "model_not_found"
    assert "X-Injected" not in headers
    for bad in (
        b"",
        b"[]",
        b"\x1b[31m",
        b'{"model": 1}',
        b'{"model": "calm"}',
        b"[" * 100_000,
        b'{"model":"calm",' * 9,
    ):
        status, body, _ = await post(box, bad)
        assert status == 400
        assert json.loads(body)["error"].keys() == {"message", "type", "param", "code"}
    assert (await clients.ask("calm")).outcome("peace") == "answer"
    for path in box.home.logs.glob("*"):
        assert not set(path.read_text(errors="replace")) & set("\x1b\x07\x9b\u202e"), path


async def test_bytes_that_are_no_http_harm_nobody(box: Box, clients: Clients, calm: str) -> None:
    where = urlsplit(box.url)
    for junk in (b"\x1b[31m\r\n\r\n", b"GET /\x00 HTTP/1.1\r\n\r\n", b"POST " + b"a" * 100_000):
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        writer.write(junk)
        writer.write_eof()
        async with asyncio.timeout(20):
            assert (await reader.read()).startswith((b"HTTP/1.1 4", b""))
        writer.close()
    assert (await clients.ask("calm")).outcome("peace") == "answer"


async def test_model_with_an_evil_name_is_only_text(box: Box, clients: Clients, calm: str) -> None:
    with pytest.raises(FleetError, match=r"spec\.model") as refused:
        await box.apply(manifest("evil", model="Qwen/\x1b[31mx", engine="static", source="static:tamed"))
    assert "\x1b" not in str(refused.value)
    evil = "Qwen/[/b]x y.*>"
    await box.apply(manifest("evil", model=evil, engine="static", source="static:tamed"))
    await box.running("default/evil")
    for name in ("evil", evil):
        assert (await clients.ask(name)).outcome("tamed") == "answer"
        assert (await clients.ask(name, stream=True)).outcome("tamed") == "answer"
    for command in (("describe", "evil"), ("logs", "evil")):
        assert "\x1b" not in await box.command(*command)
    async with console(box.env) as terminal:
        await terminal.shows("evil")
        terminal.type("q")
        assert await terminal.ended() == 0
    await box.fleet.models.delete("default/evil")
    await box.until(lambda view: find(view, "default/evil") is None)
