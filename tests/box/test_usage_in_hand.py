"""Usage records that a leader had in hand when it was killed: the next one has them at once."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from operator_embed.accounts.usage import MAX_WAITING
from tests.box.usage_writer import files, write
from tests.queue.server import running_nats
from tests.store.test_usage import record
from worker_embed.inflight import read_tokens
from worker_embed.queue.open import open_queue
from worker_embed.queue.port import TopicSpec
from worker_embed.wire import RESULT_TOPIC

pytestmark = pytest.mark.anyio

RECORDS = 20
SOON_S = 10.0
"""The lease, after which the broker itself would offer them again, is 15 s."""


async def until(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(SOON_S):
        while not happened():
            await asyncio.sleep(0.02)


def written(accounts: Path) -> int:
    with closing(sqlite3.connect(accounts)) as connection, contextlib.suppress(sqlite3.OperationalError):
        return int(connection.execute("SELECT count(*) FROM usage").fetchone()[0])
    return 0


async def test_what_a_killed_leader_had_in_hand_is_written_at_once(tmp_path: Path) -> None:
    accounts, inflight = files(tmp_path)
    async with running_nats(tmp_path) as nats:
        queue = await open_queue(nats.url, token=nats.token)
        command = (sys.executable, "-m", "tests.box.usage_writer", str(tmp_path), nats.url, str(nats.token_file))
        leader = await asyncio.create_subprocess_exec(*command)
        try:
            await queue.ensure(TopicSpec(topic=RESULT_TOPIC, max_messages=MAX_WAITING))
            await queue.publish(RESULT_TOPIC, record("first"), id="first")
            await until(lambda: accounts.exists() and written(accounts) == 1)
            with closing(sqlite3.connect(accounts, isolation_level=None)) as busy:
                busy.execute("BEGIN IMMEDIATE")
                for number in range(RECORDS):
                    await queue.publish(RESULT_TOPIC, record(f"r{number}"), id=f"r{number}")
                await until(lambda: len(read_tokens(inflight)) == RECORDS)
                leader.kill()
                await leader.wait()
                busy.execute("ROLLBACK")
            assert written(accounts) == 1
            successor = asyncio.create_task(write(tmp_path, nats.url, nats.token_file))
            try:
                await until(lambda: written(accounts) == 1 + RECORDS)
                await until(lambda: read_tokens(inflight) == [])
            finally:
                successor.cancel()
                await asyncio.gather(successor, return_exceptions=True)
        finally:
            if leader.returncode is None:
                leader.kill()
                await leader.wait()
            await queue.close()
