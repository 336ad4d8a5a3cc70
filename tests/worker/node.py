"""A small API node that speaks `uplion.1`: registers, publishes, waits, as the real one does."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from worker_embed.frames import from_worker
from worker_embed.queue.port import Queue
from worker_embed.wire import (
    SUBPROTOCOL,
    Answer,
    Cancel,
    Delta,
    Final,
    FromWorker,
    GiveBack,
    Header,
    Received,
    Start,
    Task,
    Verdict,
)

WAIT_S = 30.0


@dataclass(eq=False)
class Ask:
    """One request and what came back."""

    id: str
    starts: list[Start] = field(default_factory=list)
    deltas: list[Delta] = field(default_factory=list)
    verdict: Verdict = Verdict.GO
    confirm: bool = True
    """Whether a final frame is confirmed."""
    socket: web.WebSocketResponse | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    end: Final | None = None
    given_back: list[str] = field(default_factory=list)
    """Attempts that do not count."""

    async def until_started(self, times: int = 1) -> None:
        await self._until(lambda: len(self.starts) >= times)

    async def until_deltas(self, count: int = 1) -> None:
        await self._until(lambda: len(self.deltas) >= count)

    async def final(self) -> Final:
        await self._until(lambda: self.end is not None)
        assert self.end is not None
        return self.end

    @property
    def uid(self) -> str:
        return self.starts[-1].attempt_uid

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The JSON of every event of the newest attempt, in order."""
        parts = [delta.data for delta in self.deltas if delta.attempt_uid == self.uid]
        if self.end is not None and self.end.status == 200:
            parts.append(self.end.body)
        events = b"".join(parts).split(b"\n\n")
        assert events.pop() == b"", "only whole events travel"
        return [msgspec.json.decode(event.removeprefix(b"data: ")) for event in events]

    @property
    def text(self) -> str:
        """What the model said in a stream."""
        choices = [choice for chunk in self.chunks for choice in chunk["choices"]]
        return "".join(choice["delta"].get("content") or "" for choice in choices)

    async def _until(self, happened: Any) -> None:
        async with asyncio.timeout(WAIT_S):
            while not happened():
                await self.changed.wait()
                self.changed.clear()


class Node:
    """Serves `/node` on a port of the kernel's choice."""

    def __init__(self) -> None:
        self.asks: dict[str, Ask] = {}
        self.by_uid: dict[str, Ask] = {}
        self.sockets: list[web.WebSocketResponse] = []
        self.url = ""

    async def ask(
        self,
        queue: Queue,
        model: str,
        *,
        stream: bool = False,
        deadline_s: float = 60.0,
        headers: Mapping[str, str] | None = None,
        attempt: int = 1,
        **body: Any,
    ) -> Ask:
        """Publish a request, known to this node before anybody can answer it."""
        ask = Ask(str(uuid.uuid4()))
        self.asks[ask.id] = ask
        deadline_ms = int((time.time() + deadline_s) * 1000)
        named = {Header.NODE: self.url, Header.DEADLINE: str(deadline_ms), **(headers or {})}
        data = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "stream": stream} | body
        await queue.publish(f"model-{model}", task(ask.id, stream, data), id=ask.id, headers=named, attempt=attempt)
        return ask

    async def cancel(self, ask: Ask) -> None:
        """The client left."""
        assert ask.socket is not None
        await ask.socket.send_bytes(msgspec.msgpack.encode([Cancel(ask.uid)]))

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=(SUBPROTOCOL,), max_msg_size=0)
        await socket.prepare(request)
        self.sockets.append(socket)
        async for message in socket:
            assert message.type is WSMsgType.BINARY
            for frame in from_worker(message.data):
                await self._hear(frame, socket)
        return socket

    async def _hear(self, frame: FromWorker, socket: web.WebSocketResponse) -> None:
        match frame:
            case Start():
                known = self.asks.get(frame.request_id)
                verdict = known.verdict if known and known.end is None else Verdict.GONE
                if known:
                    known.starts.append(frame)
                    known.socket = socket
                    self.by_uid[frame.attempt_uid] = known
                await socket.send_bytes(msgspec.msgpack.encode([Answer(frame.attempt_uid, verdict)]))
            case GiveBack():
                self.by_uid[frame.attempt_uid].given_back.append(frame.attempt_uid)
            case Delta():
                self.by_uid[frame.attempt_uid].deltas.append(frame)
            case Final():
                ask = self.by_uid[frame.attempt_uid]
                if ask.confirm:
                    ask.end = frame
                    await socket.send_bytes(msgspec.msgpack.encode([Received(frame.attempt_uid)]))
        if (heard := self.by_uid.get(frame.attempt_uid)) is not None:
            heard.changed.set()


def task(request_id: str, stream: bool, data: Mapping[str, Any], endpoint: str = "") -> bytes:
    """A task as it lies in the queue."""
    return msgspec.json.encode(Task(request_id, stream, msgspec.Raw(msgspec.json.encode(data)), endpoint))


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """Serve an application; its `host:port`."""
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"{host}:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def running_node() -> AsyncIterator[Node]:
    """An API node, gone when the block ends."""
    node = Node()
    app = web.Application()
    app.router.add_get("/node", node.serve)
    async with serving(app) as address:
        node.url = f"ws://{address}/node"
        yield node
