"""An API node that behaves as the original's: two maps of ids, answers over HTTP or WebSocket, no words back."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSMsgType, web

from tests.worker.node import serving, task
from worker_embed.queue.port import Queue


class OriginalNode:
    """Serves `/res` and `/res/ws`."""

    def __init__(self) -> None:
        self.host = ""
        self.whole: dict[str, asyncio.Future[Any]] = {}
        self.streams: dict[str, asyncio.Queue[Any]] = {}
        self.sockets: list[web.WebSocketResponse] = []
        self.unknown = asyncio.Event()
        """Set when an answer came for an id that is not registered."""

    async def publish(self, queue: Queue, model: str, *, stream: bool, scheme: str = "") -> str:
        """Publish a task without any header; who waits for it registers afterwards."""
        request_id = str(uuid.uuid4())
        endpoint = f"{scheme or 'ws'}://{self.host}/res/ws" if stream else f"http://{self.host}/res"
        data = {"model": model, "messages": [{"role": "user", "content": "<b>"}], "stream": stream}
        await queue.publish(f"model-{model}", task(request_id, stream, data, endpoint), id=request_id)
        return request_id

    async def answer(self, request_id: str) -> Any:
        """Register an id and wait for its `data`."""
        self.whole[request_id] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(20):
            return await self.whole[request_id]

    async def stream(self, request_id: str) -> list[Any]:
        """The `data` of all frames of a registered stream, up to its end."""
        frames = []
        async with asyncio.timeout(20):
            while True:
                frame = await self.streams[request_id].get()
                if frame.get("data") is not None:
                    frames.append(frame["data"])
                if frame["end"]:
                    return frames

    async def res(self, request: web.Request) -> web.Response:
        answer = await request.json()
        if (waiting := self.whole.pop(answer["request_id"], None)) is None:
            self.unknown.set()
            return web.json_response({"error": "Request ID not found"}, status=404)
        waiting.set_result(answer["data"])
        return web.json_response({"status": "ok"})

    async def res_ws(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        async for message in socket:
            assert message.type is WSMsgType.TEXT
            frame = message.json()
            if frame["request_id"] in self.streams:
                self.streams[frame["request_id"]].put_nowait(frame)
        return socket


@asynccontextmanager
async def running_original() -> AsyncIterator[OriginalNode]:
    """The node, gone when the block ends."""
    node = OriginalNode()
    app = web.Application()
    app.router.add_post("/res", node.res)
    app.router.add_get("/res/ws", node.res_ws)
    async with serving(app) as address:
        node.host = address
        yield node
