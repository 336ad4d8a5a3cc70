"""Usage records on their way to the queue: those that come while a message is under way share the next one.

So an idle worker stores a record at once, and a busy one pays the broker's disk once for many. A message of `res-topic`
is a line of JSON per record.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Final

import msgspec

from worker_embed.queue.port import Queue, QueueError, QueueFull
from worker_embed.wire import Usage

MOST: Final = 500
"""Records in a message."""
AGAIN_S: Final = 0.5

log = logging.getLogger("worker")
_encode_lines = msgspec.json.Encoder().encode_lines
records_in: Callable[[bytes], list[Usage]] = msgspec.json.Decoder(Usage).decode_lines
"""The records of a message; raises `msgspec.DecodeError`."""

Stored = asyncio.Future[None]


class UsageLog:
    """The records of one worker."""

    def __init__(self, queue: Queue, topic: str) -> None:
        self._queue, self._topic = queue, topic
        self._waiting: list[tuple[Usage, Stored]] = []
        self._writing: asyncio.Task[None] | None = None

    def store(self, record: Usage) -> Stored:
        """Done as soon as the queue has it or never will; a broker that is away is waited for until `close`."""
        stored: Stored = asyncio.get_running_loop().create_future()
        self._waiting.append((record, stored))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return stored

    def close(self) -> None:
        """Give up what is not stored."""
        if self._writing is not None:
            self._writing.cancel()

    async def _write(self) -> None:
        try:
            while self._waiting:
                taken, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                await self._publish([record for record, _ in taken])
                for _, stored in taken:
                    stored.set_result(None)
        finally:
            self._writing = None

    async def _publish(self, records: list[Usage]) -> None:
        """The id of several is new, as the queue must not take them for one of them that it has."""
        id = records[0].request_id if len(records) == 1 else secrets.token_hex(16)
        body = _encode_lines(records)
        while True:
            try:
                await self._queue.publish(self._topic, body, id=id)
            except QueueFull as error:
                _lost(records, error)
            except QueueError:
                await asyncio.sleep(AGAIN_S)
                continue
            except Exception as defect:
                _lost(records, defect)
            return


def _lost(records: list[Usage], why: Exception) -> None:
    log.error("usage records are lost: %s: %s", [each.request_id for each in records], why)
