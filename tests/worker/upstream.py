"""An OpenAI-compatible API that misbehaves on request."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

from tests.worker.node import serving

Answering = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


class Upstream:
    """Answers with what `next` holds, one entry a request, and properly when it is empty."""

    def __init__(self) -> None:
        self.url = ""
        self.next: deque[Answering] = deque()
        self.bodies: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.models_status = 200
        self.running = 0

    async def completions(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self.keys.add(request.headers.get("Authorization", ""))
        self.running += 1
        try:
            return await (self.next.popleft() if self.next else proper)(request, body)
        finally:
            self.running -= 1

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": []}, status=self.models_status)


async def proper(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """What a healthy API answers."""
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    if body.get("stream"):
        last = {"id": "u", "choices": [], "usage": usage}
        return await streaming(chunk("Hello"), chunk(" you"), last)(request, body)
    message = {"role": "assistant", "content": "Hello you"}
    return web.json_response({"id": "u", "model": "up", "choices": [{"index": 0, "message": message}], "usage": usage})


def chunk(text: str) -> dict[str, Any]:
    return {"id": "u", "model": "up", "choices": [{"index": 0, "delta": {"content": text}}], "usage": None}


def streaming(*chunks: dict[str, Any], done: bool = True, go_on: asyncio.Event | None = None) -> Answering:
    """Server-sent events; after the first one `go_on` is waited for."""

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for place, event in enumerate(chunks):
            await response.write(b": a comment\r\n\r\ndata: %b\r\n\r\n" % msgspec.json.encode(event))
            if go_on is not None and place == 0:
                await go_on.wait()
        if done:
            await response.write(b"data: [DONE]\n\n")
        return response

    return answer


def failing(status: int, *, message: str = "no", headers: dict[str, str] | None = None, **error: Any) -> Answering:
    """An error in OpenAI's envelope, without the keys that are not given."""

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({"error": {"message": message, **error}}, status=status, headers=headers)

    return answer


async def html_502(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """What a proxy says about a server that is gone."""
    return web.Response(text="<html><h1>Bad Gateway</h1></html>", status=502, content_type="text/html")


async def reset(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Drop the connection without a word."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def without_usage(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """A whole answer that counts nothing."""
    return web.json_response({"id": "u", "choices": [{"index": 0, "message": {"content": "Hello you"}}]})


@asynccontextmanager
async def running_upstream() -> AsyncIterator[Upstream]:
    """The API, gone when the block ends."""
    upstream = Upstream()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", upstream.completions)
    app.router.add_get("/v1/models", upstream.models)
    async with serving(app) as address:
        upstream.url = f"http://{address}/v1"
        yield upstream
