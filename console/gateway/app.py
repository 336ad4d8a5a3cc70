"""The API node as an ASGI application: routes, and what every response has in common."""

from __future__ import annotations

import ipaddress
import logging
import time
from collections.abc import Awaitable, Callable
from functools import lru_cache

import msgspec

from console.gateway.compat import Callbacks
from console.gateway.config import GatewayConfig
from console.gateway.errors import INTERNAL, TOO_LARGE, Refused, as_original, model_not_found, unknown_url, wrong_method
from console.gateway.exchange import CLIENT_LEFT, ClientLeft, Exchange, Message, Receive, Send
from console.gateway.figures import Figures
from console.gateway.inference import Inference, Route
from console.gateway.intake import ChatBody, CompletionBody, OriginalBody
from console.gateway.late_queue import TaskQueue
from console.gateway.node import Node
from operator_embed.directory import ModelDirectory, Served

COMPLETIONS = {
    "/v1/chat/completions": Route(ChatBody),
    "/v1/completions": Route(CompletionBody, path="completions"),
    "/api/v1/chat/completions": Route(OriginalBody, original=True),
}
TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")

_log = logging.getLogger(__name__)

Handler = Callable[[Exchange], Awaitable[None]]


class App:
    """Everything that clients can ask, served by an `HttpServer`; what it knows is in the parts that it is given."""

    def __init__(
        self,
        config: GatewayConfig,
        queue: TaskQueue,
        directory: ModelDirectory,
        node: Node,
        *,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.node = node
        self.figures = Figures(config.name)
        self.inference = Inference(config, queue, directory, node, self.figures)
        self.connections: Callable[[], int] = lambda: 0
        """How many clients are connected, set by whoever listens."""
        self._directory = directory
        self._write = log
        self._gets: dict[str, Handler] = {
            "/health": self._health,
            "/v1/models": self._models,
            "/metrics": self._metrics,
        }
        self._posts: dict[str, Handler] = {}
        self._callbacks = Callbacks(node) if config.compat else None
        if self._callbacks is not None:
            self._posts["/res"] = self._callbacks.result

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            if self._callbacks is not None:
                await self._callbacks.stream(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send)
        route = COMPLETIONS.get(exchange.path)
        try:
            await self._answer(exchange, route)
        except ClientLeft:
            exchange.status = CLIENT_LEFT
        except Exception:
            _log.exception("request %s failed", exchange.request_id)
            if exchange.started:
                raise
            await exchange.fail(as_original(INTERNAL) if route is not None and route.original else INTERNAL)
        finally:
            self.figures.responses[exchange.status] += 1
            if not (exchange.path == "/health" and exchange.status == 200):
                self._write(_line(exchange))

    async def _answer(self, exchange: Exchange, route: Route | None) -> None:
        try:
            if route is not None and exchange.method == "POST":
                await self.inference.answer(exchange, route)
            else:
                await self._handler(exchange, route)(exchange)
        except Refused as refused:
            failure = refused.failure
            if failure is TOO_LARGE:
                await exchange.discard()
            await exchange.fail(as_original(failure) if route is not None and route.original else failure)

    def _handler(self, exchange: Exchange, route: Route | None) -> Handler:
        """Raises `Refused` for paths and methods that are not there."""
        method, path = exchange.method, exchange.path
        gets = self._model if path.startswith("/v1/models/") else self._gets.get(path)
        posts = self._posts.get(path)
        if gets is not None and method in ("GET", "HEAD"):
            return gets
        if posts is not None and method == "POST":
            return posts
        if gets is not None:
            raise Refused(wrong_method(method, "GET, HEAD"))
        if posts is not None or route is not None:
            raise Refused(wrong_method(method, "POST"))
        raise Refused(unknown_url(method, path[:200]))

    async def _health(self, exchange: Exchange) -> None:
        await exchange.json(b'{"status":"ok"}')

    async def _models(self, exchange: Exchange) -> None:
        models = [_model(served) for served in self._directory.all()]
        await exchange.json(msgspec.json.encode({"object": "list", "data": models}))

    async def _model(self, exchange: Exchange) -> None:
        name = exchange.path.removeprefix("/v1/models/")
        if (served := self._directory.find(name)) is None:
            raise Refused(model_not_found(name))
        await exchange.json(msgspec.json.encode(_model(served) | {"id": name}))

    async def _metrics(self, exchange: Exchange) -> None:
        """For this host only: behind a proxy on it, everybody would be this host."""
        client = exchange.scope["client"]
        proxied = any(name in (b"forwarded", b"x-forwarded-for") for name, _ in exchange.scope["headers"])
        if proxied or client is None or not ipaddress.ip_address(client[0]).is_loopback:
            raise Refused(unknown_url(exchange.method, exchange.path))
        await exchange.reply(200, self.figures.prometheus(self.node.waiting, self.connections()), [TEXT])


def _model(served: Served) -> dict[str, str | int]:
    return {"id": served.name, "object": "model", "created": int(served.created_s), "owned_by": "uplion"}


@lru_cache(maxsize=1)
def _stamp(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(second))


def _line(exchange: Exchange) -> str:
    """What a log keeps of a request; a path is the client's text, so it is escaped."""
    took_ms = (time.monotonic() - exchange.began_s) * 1e3
    client = exchange.scope["client"]
    return (
        f"{_stamp(int(time.time()))} {client[0] if client else '-'} {exchange.method} "
        f"{ascii(exchange.path[:200])[1:-1]} {exchange.status} {took_ms:.1f}ms "
        f"{exchange.model or '-'} {exchange.request_id} {exchange.code or '-'}"
    )
