"""Chat with an API node that sends what it should not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from operator_embed.box.box_requests import BoxRequests
from operator_embed.fleet.fleet import FleetError
from operator_embed.fleet.requests import Piece

pytestmark = pytest.mark.anyio

HI = 'data: {"choices": [{"delta": {"content": "hi"}}]}\n\n'
END = 'data: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}\n\ndata: [DONE]\n\n'


@asynccontextmanager
async def node(body: bytes, status: str = "200 OK") -> AsyncIterator[BoxRequests]:
    """An API node that answers anything with `body`, and hangs up."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nx-request-id: r1\r\nconnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield BoxRequests(f"http://{host}:{port}/v1")


async def pieces(body: str, status: str = "200 OK") -> list[Piece]:
    async with node(body.encode(), status) as requests, asyncio.timeout(10):
        return [piece async for piece in requests.chat("m", [("user", "x")])]


async def test_an_answer_and_its_figures() -> None:
    first, last = await pieces(f": ping\n\nevent: x\ndata:{HI[5:]}" + END)
    assert (first.text, first.request_id) == ("hi", "r1")
    assert (last.prompt_tokens, last.completion_tokens, last.finish) == (3, 2, "stop")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (HI, "the answer broke off"),
        ("", "the answer broke off"),
        ("data: {\n\n", "sent what is no part of an answer: {"),
        ("data: \x1b[2J\n\n", "sent what is no part of an answer: \ufffd[2J"),
        ("data: 7\n\n", "sent what is no part of an answer: 7"),
        ('data: {"choices": [7]}\n\n', "no part of an answer"),
        ('data: {"choices": [{"delta": {"content": 7}}]}\n\n', "no part of an answer"),
        ('data: {"usage": [1]}\n\n', "no part of an answer"),
        ('data: {"error": {"message": "upstream\\u001b is gone"}}\n\n', "upstream\ufffd is gone"),
        ('data: {"error": "plain"}\n\n', "plain"),
        ('data: {"error": {"code": 3}}\n\n', "code"),
    ],
)
async def test_what_is_no_answer_is_one_line(body: str, says: str) -> None:
    with pytest.raises(FleetError) as error:
        await pieces(body)
    assert says in str(error.value)
    assert str(error.value).isprintable()


async def test_an_answer_that_is_stopped_has_told_its_tokens_so_far() -> None:
    part = 'data: {"choices": [{"delta": {"content": "a "}}]}\n\n'
    got = await pieces(3 * part + "data: [DONE]\n\n")
    assert [piece.completion_tokens for piece in got[:-1]] == [1, 2, 3]
    assert got[0].tok_s is None


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('{"error": {"message": "no such model"}}', "no such model (404)"),
        ("<html>", "the API node answered 404"),
        ('{"error": 3}', "the API node answered 404"),
        ("[]", "the API node answered 404"),
    ],
)
async def test_a_refusal_is_one_line(body: str, says: str) -> None:
    with pytest.raises(FleetError) as error:
        await pieces(body, "404 Not Found")
    assert str(error.value) == says


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/v1", "http://[bad/v1"])
async def test_nobody_there_is_one_line(url: str) -> None:
    with pytest.raises(FleetError, match="doctor says what is missing"):
        async for _ in BoxRequests(url).chat("m", [("user", "x")]):
            pass
