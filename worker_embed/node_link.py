"""Answers to our API nodes: the subprotocol `uplion.1`, one WebSocket per node shared by all its requests."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec
from picows import WSCloseCode, WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from worker_embed.frames import Outbox, from_node
from worker_embed.links import Links
from worker_embed.reply import NodeLost, OnStop, Stop
from worker_embed.wire import (
    SUBPROTOCOL,
    Answer,
    Cancel,
    Delta,
    FromNode,
    FromWorker,
    GiveBack,
    Received,
    Start,
    Tokens,
    Verdict,
)
from worker_embed.wire import Final as FinalFrame
from worker_embed.within import within

CONNECT_S: Final = 5.0
ANSWER_S: Final = 5.0
"""How long the node may take for a verdict, or to confirm a final frame."""
FINAL_TRIES: Final = 3
HEARTBEAT_S: Final = 10.0
HOLD_S: Final = 0.02
"""Events that follow a frame within this time share the next one."""
BUFFER_BYTES: Final = 256 * 1024

T = TypeVar("T")

log = logging.getLogger("worker")


class NodeLink(WSListener):
    """An open connection to one API node process."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self._replies: dict[str, NodeReply] = {}
        self._outbox = Outbox(self._send)
        self._room = asyncio.Event()
        self._room.set()
        self._ended = asyncio.get_running_loop().create_future()

    @property
    def open(self) -> bool:
        return not self._ended.done()

    def attach(self, reply: NodeReply) -> None:
        """Let frames for its attempt reach `reply`."""
        self._replies[reply.uid] = reply

    def detach(self, reply: NodeReply) -> None:
        """Undo `attach`; nothing when another reply took its place."""
        if self._replies.get(reply.uid) is reply:
            del self._replies[reply.uid]

    async def send(self, frame: FromWorker) -> None:
        """Put a frame on its way; waits while the socket is full. Raises `NodeLost`."""
        if not self._room.is_set():
            await self._room.wait()
        if not self.open:
            raise NodeLost(f"API node {self.url}: connection lost")
        self._outbox.put(frame)

    async def close(self) -> None:
        """Close the connection after what was put has left; its replies lose their node."""
        self._outbox.flush()
        self._transport.send_close(WSCloseCode.GOING_AWAY)
        self._transport.disconnect()
        await self._ended

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()
        elif frame.msg_type == WSMsgType.BINARY:
            try:
                frames = from_node(frame.get_payload_as_bytes())
            except msgspec.DecodeError as error:
                log.warning("API node %s sent no frames of %s: %s", self.url, SUBPROTOCOL, error)
                return
            for each in frames:
                if reply := self._replies.get(each.attempt_uid):
                    reply.heard(each)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._ended.set_result(None)
        self._room.set()
        for reply in list(self._replies.values()):
            reply.lost()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def _send(self, message: bytes) -> None:
        if self.open:
            self._transport.send(WSMsgType.BINARY, message)


async def connect(url: str) -> NodeLink:
    """Open a connection; raises `NodeLost` when the other side is something else."""
    link = NodeLink(url)
    try:
        async with asyncio.timeout(CONNECT_S):
            transport, _ = await ws_connect(
                lambda: link,
                url,
                enable_auto_ping=True,
                auto_ping_idle_timeout=HEARTBEAT_S,
                auto_ping_reply_timeout=HEARTBEAT_S,
                max_redirects=0,
                extra_headers={"Sec-WebSocket-Protocol": SUBPROTOCOL},
            )
    except WSError as error:
        raise NodeLost(f"API node {url}: {error}") from error
    if transport.response.headers.get("Sec-WebSocket-Protocol") != SUBPROTOCOL:
        transport.disconnect(graceful=False)
        raise NodeLost(f"API node {url} does not speak {SUBPROTOCOL}")
    return link


class NodeReply:
    """The answer of one attempt, on its way to the node that waits for it."""

    def __init__(self, links: Links[NodeLink], url: str, start: Start, on_stop: OnStop) -> None:
        self.uid = start.attempt_uid
        self._links, self._url, self._start, self._on_stop = links, url, start, on_stop
        self._link: NodeLink | None = None
        self._verdict: asyncio.Future[Verdict] | None = None
        self._received: asyncio.Future[None] | None = None
        self._pending = bytearray()
        self._seq = 0
        self._writer: asyncio.Task[None] | None = None
        self._holding = self._ending = False
        self._room = asyncio.Event()
        self._room.set()

    @property
    def begun(self) -> bool:
        return self._seq > 0 or bool(self._pending)

    async def open(self) -> Verdict:
        self._link = await self._links.get(self._url)
        self._link.attach(self)
        self._verdict = asyncio.get_running_loop().create_future()
        await self._link.send(self._start)
        return await self._within(self._verdict, "a verdict")

    async def events(self, payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            self._pending += b"data: %b\n\n" % payload
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        if len(self._pending) > BUFFER_BYTES:
            self._room.clear()
            await self._room.wait()

    async def final(self, status: int, body: bytes, usage: Tokens, retry_after_s: float | None = None) -> None:
        await self._stop_writing()
        if self._pending and body:
            await self._send_pending()
        last = bytes(self._pending) if self._pending else body
        frame = FinalFrame(self.uid, self._seq, status, last, usage, retry_after_s)
        for attempt in range(FINAL_TRIES):
            try:
                if attempt and await self.open() is not Verdict.GO:
                    return
                await self._confirmed(frame)
                return
            except NodeLost as error:
                log.warning("%s", error)
                lost = error
        raise lost

    async def give_back(self) -> None:
        if self._link is not None:
            with contextlib.suppress(NodeLost):
                await self._link.send(GiveBack(self.uid))

    def close(self) -> None:
        if self._link is not None:
            self._link.detach(self)
        if self._writer is not None:
            self._writer.cancel()

    def heard(self, frame: FromNode) -> None:
        """Take a frame of the node's."""
        match frame:
            case Answer(verdict=verdict):
                _settle(self._verdict, verdict)
            case Received():
                _settle(self._received, None)
            case Cancel():
                _settle(self._received, None)
                self._on_stop(Stop.CLIENT_LEFT)

    def lost(self) -> None:
        """The connection is gone."""
        for waiting in (self._verdict, self._received):
            if waiting is not None and not waiting.done():
                waiting.set_exception(NodeLost(f"API node {self._url}: connection lost"))
                waiting.exception()  # seen, also where its waiter has met the loss before
        self._room.set()
        self._on_stop(Stop.NODE_LOST)

    async def _confirmed(self, frame: FinalFrame) -> None:
        self._received = asyncio.get_running_loop().create_future()
        await self._connected.send(frame)
        await self._within(self._received, "a confirmation")

    @property
    def _connected(self) -> NodeLink:
        if self._link is None:
            raise NodeLost(f"API node {self._url}: not connected")
        return self._link

    async def _within(self, waiting: asyncio.Future[T], what: str) -> T:
        try:
            return await within(ANSWER_S, waiting)
        except TimeoutError as error:
            raise NodeLost(f"API node {self._url}: no {what} for {ANSWER_S:g} s") from error

    async def _write(self) -> None:
        """Send what has come together, one frame at a time, until nothing came during a hold."""
        with contextlib.suppress(NodeLost):
            while self._pending and not self._ending:
                await self._send_pending()
                self._holding = True
                await asyncio.sleep(HOLD_S)
                self._holding = False
        self._writer = None

    async def _send_pending(self) -> None:
        frame = Delta(self.uid, self._seq, bytes(self._pending))
        self._pending.clear()
        self._seq += 1
        await self._connected.send(frame)
        self._room.set()

    async def _stop_writing(self) -> None:
        """Let a frame that is on its way leave, and nothing after it."""
        self._ending = True
        if (writer := self._writer) is None:
            return
        if self._holding:
            writer.cancel()
        await asyncio.wait({writer})


def _settle(waiting: asyncio.Future[T] | None, value: T) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(value)
