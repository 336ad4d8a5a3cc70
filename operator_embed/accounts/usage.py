"""Writes what workers report as used into the accounts, once for each request."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final as Constant

import msgspec

from operator_embed.box.database import StoreError, connect, explained, transaction
from operator_embed.box.parts import leaving
from worker_embed.inflight import Inflight
from worker_embed.queue.port import Delivery, Intake, Queue, QueueError, TopicSpec
from worker_embed.wire import RESULT_TOPIC, Usage

FORMAT: Constant = 1
BATCH: Constant = 1_000
GATHER_S: Constant = 1.0
RETRY_S: Constant = 5.0
CONSUMER: Constant = "usage"
MAX_WAITING: Constant = 1_000_000
"""Records that may wait while nobody writes them; workers of a box fill that in days."""
LARGEST: Constant = 2**63 - 1

TABLES: Constant = """
CREATE TABLE usage(
  request_id TEXT PRIMARY KEY, model TEXT NOT NULL, ai_model_namespace TEXT NOT NULL, ai_model_name TEXT NOT NULL,
  prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, total_tokens INTEGER NOT NULL,
  status TEXT NOT NULL, attempt INTEGER NOT NULL, replica TEXT NOT NULL,
  started_ms INTEGER NOT NULL, first_token_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL, written_ms INTEGER NOT NULL
) STRICT
"""
_INSERT: Constant = """
INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(request_id) DO UPDATE SET
  prompt_tokens = excluded.prompt_tokens, completion_tokens = excluded.completion_tokens,
  total_tokens = excluded.total_tokens, status = excluded.status, attempt = excluded.attempt,
  replica = excluded.replica, started_ms = excluded.started_ms, first_token_ms = excluded.first_token_ms,
  ended_ms = excluded.ended_ms, written_ms = excluded.written_ms
WHERE usage.replica = '' AND excluded.replica <> ''
"""
"""An API node, which is no replica, writes of requests whose workers died; one that lives after all knows better."""


_log = logging.getLogger(__name__)
_decode: Constant = msgspec.json.Decoder(Usage).decode

Row = tuple[str | int, ...]
Taken = asyncio.Queue[Delivery | Exception]
"""Deliveries, and at the end what ended them."""


class UsageWriter:
    """The one consumer of `res-topic`: a batch is one transaction, acknowledged once it is on the disk.

    A record of a request that was seen before changes nothing, so that a redelivery never counts twice; only a worker's
    takes the place of an API node's.
    """

    def __init__(
        self, queue: Queue, path: Path, now: Callable[[], float] = time.time, *, inflight: Path | None = None
    ) -> None:
        """`path` is accounts.db, created where there is none; `inflight` names to others what is in our hands."""
        self._queue, self._path, self._now = queue, path, now
        self._inflight = Inflight(inflight)
        self._connection: sqlite3.Connection | None = None

    async def run(self) -> None:
        """Write until cancelled; comes back by itself after errors of the queue and of the disk."""
        with ThreadPoolExecutor(1, "usage") as thread:
            try:
                while True:
                    try:
                        await self._consume(thread)
                    except QueueError as error:
                        _log.warning("usage records wait in the queue: %s", error)
                    if leaving():
                        return
                    await asyncio.sleep(RETRY_S)
            finally:
                thread.submit(self._disconnect)
                self._inflight.close()

    async def _consume(self, thread: ThreadPoolExecutor) -> None:
        await self._queue.ensure(TopicSpec(topic=RESULT_TOPIC, max_messages=MAX_WAITING))
        intake = await self._queue.consume(RESULT_TOPIC, CONSUMER)
        taken: Taken = asyncio.Queue()
        taking = asyncio.create_task(self._take(intake, taken))
        try:
            await intake.grant(BATCH)
            while True:
                batch = await self._gather(taken)
                await self._write(intake, batch, thread)
                await intake.grant(len(batch))
        except StoreError as error:
            _log.error("usage records wait in the queue: %s", error)
        finally:
            taking.cancel()
            await intake.close()
            while not taken.empty():
                if isinstance(delivery := taken.get_nowait(), Delivery):
                    await self._done(delivery, intake.nack(delivery))

    async def _take(self, intake: Intake, taken: Taken) -> None:
        """Note each delivery as soon as it is here; who finds the note gives back what we had when we died."""
        try:
            while True:
                delivery = await intake.next()
                self._inflight.add(delivery.token)
                taken.put_nowait(delivery)
        except Exception as error:
            taken.put_nowait(error)

    async def _gather(self, taken: Taken) -> list[Delivery]:
        """One delivery, and what else comes within a second; raises what ended the taking."""
        batch = [_delivery(await taken.get())]
        try:
            async with asyncio.timeout(GATHER_S):
                while len(batch) < BATCH:
                    batch.append(_delivery(await taken.get()))
        except TimeoutError:
            pass
        return batch

    async def _done(self, delivery: Delivery, telling: Awaitable[None]) -> None:
        """Tell the broker what became of a delivery; then it is in our hands no more."""
        await telling
        self._inflight.remove(delivery.token)

    async def _write(self, intake: Intake, batch: Sequence[Delivery], thread: ThreadPoolExecutor) -> None:
        """Commit, then acknowledge; when the disk refuses, the batch goes back uncounted and `StoreError` is raised.

        A message is a line for each record; what can be read of one is written, also where a line of it cannot.
        """
        rows: list[Row] = []
        unreadable: dict[Delivery, str] = {}
        for delivery in batch:
            for line in delivery.body.splitlines():
                try:
                    rows.append(self._row(line))
                except ValueError as error:
                    unreadable[delivery] = str(error)
        try:
            await asyncio.get_running_loop().run_in_executor(thread, self._insert, rows)
        except StoreError:
            await asyncio.gather(*(self._done(one, intake.nack(one, delay_s=RETRY_S)) for one in batch))
            raise
        for delivery, why in unreadable.items():
            _log.warning("usage record %s is unreadable: %s", delivery.id, why)
            await self._done(delivery, intake.dead(delivery, reason="Unreadable", error=why))
        await asyncio.gather(*(self._done(one, intake.ack(one)) for one in batch if one not in unreadable))

    def _insert(self, rows: Sequence[Row]) -> None:
        """On the writer's own thread."""
        if self._connection is None:
            self._connection = connect(self._path, version=FORMAT, schema=TABLES, synchronous="FULL")
        try:
            with explained(self._path), transaction(self._connection):
                self._connection.executemany(_INSERT, rows)
        except StoreError:
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _row(self, line: bytes) -> Row:
        """Raises `ValueError` for what no row can hold."""
        usage = _decode(line)
        tokens = usage.usage
        row: Row = (
            usage.request_id,
            usage.model,
            usage.ai_model_namespace,
            usage.ai_model_name,
            tokens.prompt_tokens,
            tokens.completion_tokens,
            tokens.total_tokens,
            usage.status.value,
            usage.attempt,
            usage.replica,
            usage.started_ms,
            usage.first_token_ms,
            usage.ended_ms,
            int(self._now() * 1000),
        )
        if not usage.request_id:
            raise ValueError("request_id is empty")
        for value in row:
            if isinstance(value, int) and not 0 <= value <= LARGEST:
                raise ValueError(f"a count is out of range: {value}")
            if isinstance(value, str):
                value.encode()
        return row


def _delivery(taken: Delivery | Exception) -> Delivery:
    if isinstance(taken, Exception):
        raise taken
    return taken
