"""Logs as their writers leave them: rotated, cut, half written, or full of junk."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operator_embed.box.box_logs import BoxLogs, parsed
from operator_embed.box.home import Home
from operator_embed.box.tail import LINE_BYTES, Tail
from operator_embed.fleet.fleet import FleetError
from operator_embed.fleet.logs import LogLine

pytestmark = pytest.mark.anyio


@pytest.fixture
def logs(tmp_path: Path) -> BoxLogs:
    home = Home(tmp_path / "h")
    home.logs.mkdir(parents=True)
    return BoxLogs(home)


@pytest.fixture
def folder(tmp_path: Path, logs: BoxLogs) -> Path:
    return tmp_path / "h" / "logs"


async def texts(logs: BoxLogs, *sources: str, tail: int = 1_000, previous: bool = False) -> list[str]:
    """What a command that does not follow prints."""
    lines: list[LogLine] = []
    async for batch in logs.follow(sources, tail=tail, previous=previous, follow=False):
        lines += batch
    return [line.text for line in lines]


async def test_the_last_lines_with_the_one_that_is_not_ended(logs: BoxLogs, folder: Path) -> None:
    (folder / "m-aaaaa.log").write_text("one\ntwo\nFatal: no")
    assert await texts(logs, "m-aaaaa", tail=2) == ["two", "Fatal: no"]
    assert await texts(logs, "m-aaaaa", tail=0) == []


async def test_a_worker_that_never_wrote_its_log_has_its_output(logs: BoxLogs, folder: Path) -> None:
    (folder / "m-aaaaa.out").write_text("cannot import\n")
    assert await texts(logs, "m-aaaaa") == ["cannot import"]


@pytest.mark.parametrize("source", ["../store", ".hidden", "m-bbbbb"])
async def test_what_has_no_log_is_refused(logs: BoxLogs, source: str) -> None:
    with pytest.raises(FleetError, match="log"):
        await texts(logs, source)
    with pytest.raises(FleetError, match="log"):
        await texts(logs, source, previous=True)


async def test_several_logs_are_one_in_the_order_of_time(logs: BoxLogs, folder: Path) -> None:
    (folder / "a.log").write_text("2026-01-01T00:00:01Z info first\n  its trace\n2026-01-01T00:00:03Z info third\n")
    (folder / "b.log").write_text("2026-01-01T00:00:02Z error second\n")
    assert await texts(logs, "a", "b") == ["first", "  its trace", "second", "third"]


async def test_the_previous_run_ends_where_this_one_starts(logs: BoxLogs, folder: Path) -> None:
    (folder / "a.log.1").write_text("2026-01-01T00:00:01Z info Starting\nold\n2026-01-01T00:00:02Z info Starting\n")
    (folder / "a.log").write_text("crashed\n2026-01-01T00:00:05Z info Starting\nnow\n")
    (folder / "b.log").write_text("2026-01-01T00:00:01Z info Starting\nfirst\n")
    assert await texts(logs, "a", previous=True) == ["Starting", "crashed"]
    assert await texts(logs, "a", previous=True, tail=1) == ["crashed"]
    assert await texts(logs, "b", "a", previous=True) == ["Starting", "crashed"]
    with pytest.raises(FleetError, match="b: there is no log of a previous run"):
        await texts(logs, "b", previous=True)


async def test_newest_first_among_the_replicas_of_one_model(logs: BoxLogs, folder: Path) -> None:
    for number, name in enumerate(["m-aaaaa", "m-bbbbb", "m-x-ccccc", "mm-ddddd"]):
        (folder / f"{name}.log").write_text("")
        os.utime(folder / f"{name}.log", (number, number))
    assert await logs.sources("default/m") == ["m-bbbbb", "m-aaaaa"]


async def next_of(following: AsyncIterator[Sequence[LogLine]]) -> list[str]:
    async with asyncio.timeout(10):
        return [line.text for line in await anext(following)]


async def test_what_comes_is_followed_through_rotation(logs: BoxLogs, folder: Path) -> None:
    path = folder / "m-aaaaa.log"
    path.write_text("old\n")
    async with aclosing(cast(AsyncGenerator[Sequence[LogLine], None], logs.follow(["m-aaaaa"]))) as following:
        assert await next_of(following) == ["old"]
        with path.open("a") as file:
            file.write("late\n")
        path.rename(folder / "m-aaaaa.log.1")
        path.write_text("new\n")
        assert await next_of(following) == ["late", "new"]
        with path.open("a") as file:
            file.write("half")
        assert await next_of(following) == ["half"]
        path.write_text("")
        path.write_text("x\n")
        assert await next_of(following) == ["x"]


@given(
    writes=st.lists(st.lists(st.text("ab\n", max_size=30), max_size=3), max_size=12),
    limit=st.integers(40, 200),
)
def test_nothing_that_a_rotating_writer_wrote_is_lost_or_seen_twice(
    tmp_path_factory: pytest.TempPathFactory, writes: list[list[str]], limit: int
) -> None:
    path = tmp_path_factory.mktemp("rotated") / "x.log"
    handler = RotatingFileHandler(path, maxBytes=limit, backupCount=2)
    tail, seen, written = Tail(path), list[bytes](), list[str]()
    seen += tail.last(1_000)
    try:
        for number, batch in enumerate(writes):
            for text in batch[:1] if limit < 100 else batch:
                line = f"{number} {text}"
                handler.emit(logging.LogRecord("x", 20, "", 0, line, None, None))
                written += line.split("\n")
            seen += tail.new()
    finally:
        handler.close()
    seen += tail.new()
    assert [line.decode() for line in seen] == written


def test_a_file_without_line_ends_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "junk.log"
    path.write_bytes(b"")
    tail = Tail(path)
    tail.last(10)
    for _ in range(3):
        with path.open("ab") as file:
            file.write(b"\xff\x00" * 500_000)
        assert all(len(line) <= LINE_BYTES for line in tail.new())
    assert len(tail._rest) <= LINE_BYTES


@pytest.mark.parametrize(
    "text",
    [
        "2026-13-45T99:99:99Z info x",
        "٢٠٢٦-01-01T00:00:00Z info x",
        "2026-01-01T00:00:00.12345678901234567890Z info x",
        "",
        "\x1b[2J\x00",
        "0000-01-01T00:00:00Z x",
    ],
)
def test_any_text_is_a_line(text: str) -> None:
    assert parsed("x", text).text.isprintable()


@given(st.text())
def test_no_text_is_too_strange(text: str) -> None:
    line = parsed("x", text)
    assert "\x1b" not in line.text
