"""One task's life in a worker, from the hands of the queue to the client, and back to the queue."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Final, Protocol

import msgspec

from worker_embed.answers import DEFAULT_PATH, Answer, Request, error
from worker_embed.config import WorkerConfig
from worker_embed.engines.port import AttemptFailed, ClientFault, Engine, Unavailable
from worker_embed.queue.port import Delivery, Intake
from worker_embed.reply import NodeLost, OnStop, Reply, Stop
from worker_embed.tally import Tally
from worker_embed.usage_log import Stored, UsageLog
from worker_embed.wire import Header, Task, Tokens, Usage, UsageStatus, Verdict, header_number

TOO_OFTEN: Final = "MaxAttempts"
MOST_DOUBLINGS: Final = 6
SILENT_CHUNKS: Final = 2
"""Of a stream's chunks, the first often names only the role and the last only the reason of its end."""

log = logging.getLogger("worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a worker waits for what; seconds."""

    stall_s: float = 120.0
    """For the next token of a stream."""
    whole_s: float = 300.0
    """For an answer in one piece, where the task has no deadline."""
    retry_s: float = 1.0
    """Before a second attempt, doubled for each further one."""
    give_back_s: float = 2.0
    """Before a task that this worker could not serve is offered again."""
    record_s: float = 2.0
    """For the usage record, before the client gets its answer without it being stored."""
    record_later_s: float = 60.0
    drain_s: float = 28.0
    """For what runs at SIGTERM: a little less than a supervisor's 30 s, after which it signals the engine too."""
    lease_s: float = 5.0
    queue_lost_s: float = 30.0
    """For a lost queue to come back before it is an error."""


class Replying(Protocol):
    """Makes the reply of a task."""

    def reply(self, delivery: Delivery, task: Task, on_stop: OnStop) -> Reply: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """What all tasks of a worker share."""

    config: WorkerConfig
    engine: Engine
    records: UsageLog
    intake: Intake
    replies: Replying
    served: Callable[[], None]
    """The engine answered, if only to refuse a request for its own fault."""
    refused: Callable[[Unavailable], None]
    """The engine takes nothing for now."""
    draining: Callable[[], bool]
    limits: Limits = Limits()
    tally: Tally = field(default_factory=Tally)
    now_s: Callable[[], float] = time.time


async def admit(delivery: Delivery, shop: Shop) -> Task | None:
    """The task of a delivery; `None` where there is nothing to run and the queue was told. Raises `QueueError`."""
    deadline_ms = header_number(delivery.headers.get(Header.DEADLINE))
    if deadline_ms and deadline_ms <= shop.now_s() * 1000:
        await shop.intake.ack(delivery)
        return None
    try:
        return msgspec.json.decode(delivery.body, type=Task)
    except (msgspec.DecodeError, RecursionError) as fault:
        await shop.intake.dead(delivery, reason="NotATask", error=str(fault))
        return None


class TaskRun:
    """One attempt at one task."""

    def __init__(self, delivery: Delivery, task: Task, shop: Shop) -> None:
        self._delivery, self._task, self._shop = delivery, task, shop
        self._reply = shop.replies.reply(delivery, task, self.stop)
        self._answer: Answer | None = None
        self._stopped: Stop | None = None
        self._relaying: asyncio.Task[bytes] | None = None
        self._started_ms, self._first_ms = self._now_ms(), 0

    async def run(self) -> None:
        """Return with the delivery acked, given back or dead; raises `QueueError` when the broker cannot be told."""
        intake, delivery = self._shop.intake, self._delivery
        try:
            match await self._reply.open():
                case Verdict.GO:
                    await self._attempt()
                case Verdict.GONE:
                    await intake.ack(delivery)
                case Verdict.BUSY:
                    await self._give_back()
                case Verdict.DEAD:
                    # Attempts that ended with their worker were counted by the node alone.
                    tried = replace(delivery, attempt=max(delivery.attempt, self._shop.config.max_attempts))
                    await intake.dead(tried, reason=TOO_OFTEN, error="each worker that tried it died")
        except NodeLost as lost:
            log.warning("%s: %s", self._task.request_id, lost)
            await self._give_back()
        finally:
            self._reply.close()

    def stop(self, why: Stop) -> None:
        """End the attempt early; nothing once the engine has finished."""
        if self._stopped is None:
            self._stopped = why
            if self._relaying is not None:
                self._relaying.cancel()

    async def _attempt(self) -> None:
        limits, attempt = self._shop.limits, self._delivery.attempt
        try:
            request = Request.of(self._task, self._delivery.headers.get(Header.PATH, DEFAULT_PATH))
            if attempt > self._shop.config.max_attempts:
                raise AttemptFailed("tried too often without an answer")
            body = await self._relayed(request)
        except ClientFault as fault:
            await self._end(UsageStatus.ERROR, fault.status, fault.body, retry_after_s=fault.retry_after_s)
        except Unavailable as refusal:
            self._shop.refused(refusal)
            if refusal.counts:
                await self._failed(str(refusal), limits.give_back_s)
            else:
                await self._give_back()
        except AttemptFailed as failure:
            doubled = min(attempt - 1, MOST_DOUBLINGS)
            await self._failed(str(failure), 0.0 if failure.retry_at_once else limits.retry_s * 2.0**doubled)
        except asyncio.CancelledError:
            if self._stopped is None:
                raise
            await self._interrupted(self._stopped)
        else:
            await self._end(UsageStatus.OK, HTTPStatus.OK, body)

    async def _relayed(self, request: Request) -> bytes:
        """The engine's answer, empty when it went out as a stream; `stop` cancels it."""
        if self._stopped is not None:
            raise asyncio.CancelledError
        self._answer = Answer(request)
        relay = self._stream if self._task.stream else self._whole
        self._relaying = asyncio.create_task(relay(request, self._answer))
        try:
            body = await self._relaying
        except ClientFault:
            self._shop.served()
            raise
        except TimeoutError as stall:
            await self._shop.engine.suspect()
            raise AttemptFailed("no token from the engine for too long") from stall
        self._shop.served()
        return body

    async def _stream(self, request: Request, answer: Answer) -> bytes:
        clock, stall_s, tally = asyncio.get_running_loop().time, self._shop.limits.stall_s, self._shop.tally
        counted = tokens = 0
        tally.begin(stream=True)
        try:
            async with aclosing(self._shop.engine.stream(request.job)) as batches, asyncio.timeout(stall_s) as watch:
                async for payloads in batches:
                    watch.reschedule(clock() + stall_s)
                    events = answer.events(payloads)
                    if (more := answer.chunks - SILENT_CHUNKS - counted) > 0:
                        tally.passed(more)
                        counted += more
                    self._first_ms = self._first_ms or self._now_ms()
                    if events:
                        await self._reply.events(events)
            tokens = answer.usage.completion_tokens
        finally:
            tally.end(stream=True, counted=counted, tokens=tokens)
        return b""

    async def _whole(self, request: Request, answer: Answer) -> bytes:
        deadline_ms = header_number(self._delivery.headers.get(Header.DEADLINE))
        left_s = (deadline_ms - self._now_ms()) / 1000 if deadline_ms else self._shop.limits.whole_s
        self._shop.tally.begin(stream=False)
        try:
            async with asyncio.timeout(left_s):
                body = answer.whole(await self._shop.engine.complete(request.job))
        finally:
            self._shop.tally.end(stream=False, tokens=answer.usage.completion_tokens)
        self._first_ms = self._now_ms()
        return body

    async def _interrupted(self, why: Stop) -> None:
        if why is Stop.CLIENT_LEFT:
            await self._in_the_end(self._shop.records.store(self._record(UsageStatus.CANCELLED)))
            await self._shop.intake.ack(self._delivery)
        elif why is Stop.NODE_LOST:
            await self._give_back()
        elif self._reply.begun:
            body = error("The worker is shutting down.", "server_error", "worker_lost")
            await self._end(UsageStatus.ERROR, HTTPStatus.SERVICE_UNAVAILABLE, body)
        else:
            await self._give_back(0.0)

    async def _failed(self, reason: str, delay_s: float) -> None:
        """A client that saw a part of an answer gets an error, as no other attempt's text fits to it."""
        attempt, begun = self._delivery.attempt, self._reply.begun
        log.warning("%s: attempt %d: %s", self._task.request_id, attempt, reason)
        last = attempt >= self._shop.config.max_attempts
        if begun or last:
            body = error("The engine failed while it worked on this request.", "server_error", "upstream_error")
            await self._end(UsageStatus.ERROR, HTTPStatus.BAD_GATEWAY, body, dead=reason if last else "")
        elif self._shop.draining():
            await self._give_back(0.0)
        else:
            await self._shop.intake.nack(self._delivery, delay_s=delay_s, failed=reason)

    async def _end(
        self, how: UsageStatus, status: int, body: bytes, *, retry_after_s: float | None = None, dead: str = ""
    ) -> None:
        """Record, answer, tell the queue, in this order; a broker that is away keeps no client waiting."""
        limits, usage = self._shop.limits, self._usage
        stored = self._shop.records.store(self._record(how))
        await asyncio.wait({stored}, timeout=limits.record_s)
        try:
            await self._reply.final(status, body, usage, retry_after_s)
        except NodeLost:
            if not dead:
                raise
        if not stored.done():
            await self._in_the_end(stored)
        if dead:
            await self._shop.intake.dead(self._delivery, reason=TOO_OFTEN, error=dead)
        else:
            await self._shop.intake.ack(self._delivery)
        self._shop.tally.done += 1

    async def _in_the_end(self, stored: Stored) -> None:
        """Wait longer for a record than a client would."""
        done, _ = await asyncio.wait({stored}, timeout=self._shop.limits.record_later_s)
        if not done:
            log.error("%s: its usage record is lost: the queue is away", self._task.request_id)

    def _record(self, how: UsageStatus) -> Usage:
        config = self._shop.config
        return Usage(
            request_id=self._task.request_id,
            usage=self._usage,
            model=config.model,
            ai_model_name=config.aimodel_name,
            ai_model_namespace=config.aimodel_namespace,
            status=how,
            attempt=self._delivery.attempt,
            replica=config.replica,
            started_ms=self._started_ms,
            first_token_ms=self._first_ms,
            ended_ms=self._now_ms(),
        )

    @property
    def _usage(self) -> Tokens:
        return self._answer.usage if self._answer else Tokens()

    async def _give_back(self, delay_s: float | None = None) -> None:
        await self._reply.give_back()
        delay_s = self._shop.limits.give_back_s if delay_s is None else delay_s
        await self._shop.intake.nack(self._delivery, delay_s=delay_s)

    def _now_ms(self) -> int:
        return int(self._shop.now_s() * 1000)
