"""The callbacks of the original's workers: `POST /res` and the WebSocket `/res/ws`.

Source: the original's API node. There is no handshake and no cancel; the id alone says whose answer it is, so these
routes are served only when asked for.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec

from console.gateway.errors import GAP, INVALID_JSON, Failure, Refused, upstream
from console.gateway.exchange import Exchange, Message, Receive, Send
from console.gateway.node import Node
from worker_embed.wire import Tokens

STATUS_OF = {
    "model_not_found": 404,
    "invalid_api_key": 401,
    "insufficient_quota": 429,
    "rate_limit_exceeded": 429,
    "invalid_request_error": 400,
}


class Result(msgspec.Struct):
    """A worker's answer: whole on `/res`, piece by piece on `/res/ws`."""

    request_id: str
    data: msgspec.Raw = msgspec.Raw(b"null")
    end: bool = False


class _Peek(msgspec.Struct):
    error: dict[str, Any] | None = None
    usage: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def tokens(self) -> Tokens | None:
        """Counts that are none cost nobody the answer."""
        try:
            return _tokens.decode(self.usage)
        except msgspec.DecodeError:
            return None


_result = msgspec.json.Decoder(Result)
_peek = msgspec.json.Decoder(_Peek)
_tokens: msgspec.json.Decoder[Tokens | None] = msgspec.json.Decoder(Tokens | None)


class Callbacks:
    """Takes answers from the original's workers."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def result(self, exchange: Exchange) -> None:
        """`POST /res`."""
        try:
            result = _result.decode(await exchange.body())
            peek = _peek.decode(result.data)
        except (msgspec.DecodeError, RecursionError):
            raise Refused(INVALID_JSON) from None
        pending = self._node.find(result.request_id)
        if pending is None or pending.stream:
            await exchange.json(b'{"error":"Request ID not found"}', 404)
            return
        pending.starts = pending.starts or 1
        if peek.error is not None:
            pending.fail(_failure(peek.error, bytes(result.data)))
        else:
            pending.finish(bytes(result.data), peek.tokens)
        await exchange.json(b'{"status":"ok"}')

    async def stream(self, scope: Message, receive: Receive, send: Send) -> None:
        """`GET /res/ws`: text frames for any number of requests."""
        await receive()
        if scope["path"] != "/res/ws":
            await send({"type": "websocket.close"})
            return
        await send({"type": "websocket.accept"})
        begun: set[str] = set()
        try:
            while (message := await receive())["type"] == "websocket.receive":
                self._take(message.get("text") or message.get("bytes") or "", begun)
        finally:
            for request_id in begun:
                if (pending := self._node.find(request_id)) is not None:
                    pending.fail(GAP)

    def _take(self, text: str | bytes, begun: set[str]) -> None:
        """Unknown ids and frames that cannot be read are dropped, as the original does."""
        try:
            result = _result.decode(text)
            peek = None if bytes(result.data) == b"null" else _peek.decode(result.data)
        except (msgspec.DecodeError, RecursionError):
            return
        pending = self._node.find(result.request_id)
        if pending is None or not pending.stream:
            return
        pending.starts = pending.starts or 1
        begun.add(result.request_id)
        if peek is not None and peek.error is not None:
            begun.discard(result.request_id)
            pending.fail(_failure(peek.error, bytes(result.data)))
            return
        if peek is not None:
            pending.tokens = peek.tokens or pending.tokens
            pending.push(b"data: " + msgspec.json.format(bytes(result.data), indent=-1) + b"\n\n", time.monotonic())
        if result.end:
            begun.discard(result.request_id)
            pending.finish(b"", pending.tokens)


def _failure(error: dict[str, Any], body: bytes) -> Failure:
    """The original's workers lose the status; the code says enough of it."""
    return upstream(STATUS_OF.get(str(error.get("code")), STATUS_OF.get(str(error.get("type")), 502)), body)
