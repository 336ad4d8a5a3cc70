"""Tokens are counted while they are generated: once, and never back."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import msgspec
import pytest

from tests.worker.rig import rig
from worker_embed.report import Beat, Told, WorkerBeat
from worker_embed.tally import Tally


def test_an_answer_in_one_piece_counts_while_it_is_made() -> None:
    tally = Tally()
    tally.begin(stream=False)
    tally.generated(10)
    tally.generated(25)
    assert tally.tokens == 25
    tally.generated(20)
    assert tally.tokens == 25
    tally.end(stream=False, tokens=30)
    assert tally.tokens == 30


def test_streams_beside_it_are_not_counted_twice() -> None:
    tally = Tally()
    tally.begin(stream=True)
    tally.begin(stream=False)
    tally.passed(8)
    tally.generated(8 + 5)
    assert tally.tokens == 13
    tally.end(stream=True, counted=8, tokens=10)
    tally.generated(7)
    assert tally.tokens == 17
    tally.end(stream=False, tokens=7)
    assert tally.tokens == 17


def test_a_stream_alone_is_counted_by_what_passed() -> None:
    tally = Tally()
    tally.begin(stream=True)
    tally.passed(3)
    tally.generated(5)
    assert tally.tokens == 3


def test_what_was_generated_for_nobody_hides_nothing_that_follows() -> None:
    tally = Tally()
    tally.begin(stream=False)
    tally.generated(50)
    tally.end(stream=False)
    tally.begin(stream=False)
    tally.generated(4)
    tally.end(stream=False, tokens=6)
    assert tally.tokens == 56


@pytest.mark.anyio
async def test_beats_tell_the_tokens_of_an_answer_under_way(tmp_path: Path) -> None:
    source = "static:word?tokens=60&tokens_per_s=25"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.setblocking(False)
        listening.bind(str(tmp_path / "beat"))
        async with rig(tmp_path, source=source, beat=tmp_path / "beat") as box, box.working():
            ask = await box.ask()
            told: list[tuple[int, int]] = []
            async with asyncio.timeout(20):
                while not told or not told[-1][1]:
                    beat = msgspec.msgpack.decode(await received(listening), type=Beat | Told)
                    if isinstance(beat, WorkerBeat):
                        told.append((beat.tokens, beat.done))
            await ask.final()
    tokens = [count for count, _ in told]
    assert any(0 < count < 60 for count, done in told if not done)
    assert tokens == sorted(tokens)
    assert tokens[-1] == 60


async def received(listening: socket.socket) -> bytes:
    return await asyncio.get_running_loop().sock_recv(listening, 4096)
