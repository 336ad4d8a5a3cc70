"""A completion from the client's request to the last byte of its answer, by way of the queue."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine
from dataclasses import dataclass

import msgspec

from console.gateway.config import GatewayConfig
from console.gateway.errors import (
    CANCELLED,
    TOO_LARGE,
    WORKER_TIMEOUT,
    Refused,
    draining,
    model_failed,
    model_not_found,
    no_worker,
    queue_full,
    queue_timeout,
    queue_unavailable,
    storage_full,
)
from console.gateway.exchange import CLIENT_LEFT, Exchange
from console.gateway.figures import Figures
from console.gateway.intake import ChatBody, CompletionBody, OriginalBody, Read, read_body, read_headers
from console.gateway.late_queue import TaskQueue
from console.gateway.node import Node
from console.gateway.pending import Pending
from console.gateway.protocol import CONNECTION, GuardedHttp
from operator_embed.directory import ModelDirectory, Served
from worker_embed.queue import nats_server
from worker_embed.queue.port import QueueError, QueueFull, Ref, StorageFull, TopicSpec
from worker_embed.wire import (
    MAX_BODY_BYTES,
    RESULT_TOPIC,
    Header,
    Metadata,
    Task,
    Tokens,
    Usage,
    UsageStatus,
)

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"

_encode = msgspec.json.Encoder().encode
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """One way to ask for a completion."""

    body: type[ChatBody | CompletionBody | OriginalBody]
    path: str = ""
    """As the worker needs it in `Header.PATH`; empty for chat."""
    original: bool = False
    """Errors as the original's API node words them."""


class Inference:
    """Answers completions; one for all requests of a process."""

    def __init__(
        self, config: GatewayConfig, queue: TaskQueue, directory: ModelDirectory, node: Node, figures: Figures
    ) -> None:
        self.endpoint = f"http://{config.host}:{config.port}"
        """Base URL of the original's callbacks."""
        self.draining = False
        self._home = config.home
        self._full = False
        """The broker's disk: what is published then is not even refused."""
        self._timeout_s = config.timeout_s
        self._limits = config.limits
        self._queue = queue
        self._directory = directory
        self._node = node
        self._figures = figures
        self._ensured: set[str] = set()
        self._aside: set[asyncio.Task[None]] = set()

    async def answer(self, exchange: Exchange, route: Route) -> None:
        """Answer one request; raises `Refused` as long as nothing was sent."""
        read = read_headers(exchange.scope["headers"])
        data = await exchange.body()
        asked = read_body(data, route.body)
        served = self._find(asked.model)
        exchange.model = served.name
        connection: GuardedHttp = exchange.scope["state"][CONNECTION]
        pending = Pending(
            exchange.request_id,
            served,
            stream=asked.stream,
            now_s=exchange.began_s,
            timeout_s=self._timeout_s,
            soft_bytes=self._limits.buffer_bytes,
            hang_up=connection.hang_up,
        )
        task = self._task(pending, data, read)
        self._node.expect(pending)
        connection.on_leave = pending.leave
        ref = None
        try:
            ref = await self._publish(pending, task, route, read)
            await (self._stream(exchange, pending) if asked.stream else self._whole(exchange, pending))
        finally:
            connection.on_leave = None
            self._node.forget(pending)
            self._settle(exchange, pending, ref)

    def sweep(self) -> None:
        """At every tick: look after requests to which nothing may happen by itself."""
        now_s = time.monotonic()
        models = {served.key: served for served in self._directory.all()}
        topics = {served.topic for served in models.values()}
        self._full = self._queue_is_full()
        for topic in self._ensured - topics:
            self._queue.forget(topic)
        self._ensured &= topics
        for pending in self._node.all():
            name = pending.served.name
            if not (pending.served.topic in topics or pending.starts):
                pending.fail(model_not_found(name))
            elif not pending.starts and (served := models.get(pending.served.key)) and served.failed:
                since_s = max(served.failed_s - time.time() + now_s, pending.began_s)
                if now_s - since_s >= self._limits.failed_s:
                    pending.fail(model_failed(name, served.failed))
            if now_s >= max(pending.deadline_s, pending.heard_s + self._timeout_s if pending.heard_s else 0.0):
                pending.fail(WORKER_TIMEOUT if pending.starts else queue_timeout(name))
            if pending.stream:
                if pending.stalled(now_s, self._limits.stall_s):
                    pending.give_up()
                elif now_s - pending.wrote_s >= self._limits.keepalive_s:
                    pending.wake()

    def _queue_is_full(self) -> bool:
        home = self._home
        return home.nats.exists() and nats_server.full(home.nats, home.nats_log)

    def stop(self) -> None:
        """End what still runs."""
        for pending in self._node.all():
            pending.fail(CANCELLED if pending.starts else draining())

    async def close(self) -> None:
        """Finish what clients do not wait for."""
        await asyncio.gather(*self._aside)

    def _find(self, model: str) -> Served:
        if self.draining:
            raise Refused(draining())
        served = self._directory.find(model)
        if served is None:
            raise Refused(model_not_found(model))
        if served.stopped:
            raise Refused(no_worker(served.name))
        if self._full:
            raise Refused(storage_full())
        return served

    def _task(self, pending: Pending, data: bytes, read: Read) -> bytes:
        callback = f"ws{self.endpoint[4:]}/res/ws" if pending.stream else f"{self.endpoint}/res"
        task = _encode(
            Task(pending.request_id, pending.stream, msgspec.Raw(data), callback, Metadata(read.metadata)),
        )
        if len(task) > MAX_BODY_BYTES:
            raise Refused(TOO_LARGE)
        return task

    async def _publish(self, pending: Pending, task: bytes, route: Route, read: Read) -> Ref:
        topic = pending.served.topic
        headers = {
            Header.DEADLINE: str(int((time.time() + self._timeout_s) * 1000)),
            Header.NODE: self._node.url,
        }
        if route.path:
            headers[Header.PATH] = route.path
        if read.trace:
            headers[Header.TRACE] = read.trace
        try:
            if topic not in self._ensured:
                await self._queue.ensure(TopicSpec(topic=topic))
                self._ensured.add(topic)
            ref = await self._queue.publish(topic, task, id=pending.request_id, headers=headers)
        except StorageFull:
            raise Refused(storage_full()) from None
        except QueueFull:
            raise Refused(queue_full(pending.served.name)) from None
        except QueueError:
            self._ensured.discard(topic)
            raise Refused(storage_full() if self._queue_is_full() else queue_unavailable()) from None
        self._figures.of(topic).requests += 1
        return ref

    async def _whole(self, exchange: Exchange, pending: Pending) -> None:
        while not pending.over:
            await pending.changed()
        if pending.answer is not None:
            await exchange.json(pending.answer)
        elif pending.failure is not None:
            raise Refused(pending.failure)

    async def _stream(self, exchange: Exchange, pending: Pending) -> None:
        while not pending.left:
            data = pending.take()
            last = pending.over and not pending.size
            now_s = time.monotonic()
            if not data and not last and now_s - pending.wrote_s < self._limits.keepalive_s:
                await pending.changed()
                continue
            if last:
                if pending.failure is not None and not data and not exchange.started:
                    raise Refused(pending.failure)
                data += _ending(exchange, pending)
            pending.blocked_s = pending.wrote_s = now_s
            if not exchange.started:
                await exchange.begin_events()
            await exchange.event(data or KEEP_ALIVE, last=last)
            pending.blocked_s = 0.0
            if last:
                return

    def _settle(self, exchange: Exchange, pending: Pending, ref: Ref | None) -> None:
        """Count the outcome, and take a task out of the queue that nobody waits for and no worker has."""
        if pending.left:
            exchange.status = CLIENT_LEFT
        if ref is None:
            return
        if not pending.starts and pending.answer is None:
            self._do_aside(self._withdraw(ref))
        if pending.starts and pending.failure is not None and not pending.concluded:
            self._do_aside(self._record(pending))
        traffic = self._figures.of(pending.served.topic)
        now_s = time.monotonic()
        if pending.tokens is not None:
            traffic.tokens += pending.tokens.completion_tokens
        if pending.first_s:
            traffic.ttft.add(now_s, pending.first_s - exchange.began_s)
        if pending.failure is not None:
            traffic.failed += 1
        elif pending.left:
            traffic.cancelled += 1
        else:
            traffic.answered += 1
            traffic.e2e.add(now_s, now_s - exchange.began_s)

    def _do_aside(self, what: Coroutine[object, object, None]) -> None:
        """Have it done without the client waiting for it."""
        task = asyncio.get_running_loop().create_task(what)
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)

    async def _record(self, pending: Pending) -> None:
        """Write down a request whose workers cannot: a worker that wakes up and does so itself has the last word."""
        namespace, _, name = pending.served.key.partition("/")
        usage = Usage(
            request_id=pending.request_id,
            usage=Tokens(),
            model=pending.served.model,
            ai_model_name=name,
            ai_model_namespace=namespace,
            status=UsageStatus.ERROR,
            attempt=pending.starts,
            ended_ms=int(time.time() * 1000),
        )
        try:
            # Under the worker's id the queue would drop the record that a worker may still send.
            await self._queue.publish(RESULT_TOPIC, _encode(usage), id=f"{pending.request_id}-node")
        except QueueError as error:
            _log.error("%s: its usage record is lost: %s", pending.request_id, error)

    async def _withdraw(self, ref: Ref) -> None:
        with contextlib.suppress(QueueError):
            await self._queue.cancel(ref)


def _ending(exchange: Exchange, pending: Pending) -> bytes:
    """The last events of a stream; one that ends without `[DONE]` would pass for a short answer."""
    if (failure := pending.failure) is None:
        return DONE
    exchange.code = failure.stream_code or failure.code or failure.kind
    return b"data: " + failure.body(streamed=True) + b"\n\n" + DONE
