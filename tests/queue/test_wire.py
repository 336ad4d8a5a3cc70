"""The NATS protocol as it comes over the wire, and brokers that want to be logged in to."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.queue.server import running_nats
from worker_embed.queue import nats_server
from worker_embed.queue.nats import NatsQueue
from worker_embed.queue.nats_streams import place
from worker_embed.queue.nats_wire import SILENT_BEATS, Endpoint, Msg, Wire, dial
from worker_embed.queue.port import QueueError, TopicSpec

pytestmark = pytest.mark.anyio

TOPIC = "model-a"
HEAD = b"NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 3\r\n\r\n"
STREAM = b"".join(
    [
        b'INFO {"headers":true,"max_payload":8}\r\n',
        b"+OK\r\n",
        b"MSG in.1 1 2\r\n\r\n\r\n",
        b"MSG in.2 1 back.2 0\r\n\r\n",
        b"PING\r\n",
        b"MSG elsewhere 7 5\r\nhello\r\n",
        b"HMSG in.3 1 %d %d\r\n%b\r\n" % (len(HEAD), len(HEAD), HEAD),
        b"HMSG in.4 1 back.4 %d %d\r\n%bMSG x 1 0\r\n" % (len(HEAD), len(HEAD) + 9, HEAD),
        b"PING\r\n",
    ]
)


class Recorder(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, len(STREAM)])
async def test_messages_are_the_same_however_the_stream_is_cut(size: int) -> None:
    heard: list[tuple[str, str, str, bytes]] = []

    def on_message(msg: Msg) -> None:
        heard.append((msg.subject, msg.reply, msg.status, msg.data))

    wire, transport = Wire(lambda why: None), Recorder()
    wire.connection_made(transport)
    wire.subscribe("in.*", on_message)
    for at in range(0, len(STREAM), size):
        wire.data_received(STREAM[at : at + size])
        await asyncio.sleep(0)
    assert heard == [
        ("in.1", "", "", b"\r\n"),
        ("in.2", "back.2", "", b""),
        ("in.3", "", "408", b""),
        ("in.4", "back.4", "408", b"MSG x 1 0"),
    ]
    assert transport.written == b"SUB in.* 1\r\nPONG\r\nPONG\r\n"


async def test_what_a_foreign_producer_writes_in_headers_stops_nobody(tmp_path: Path) -> None:
    async with running_nats(tmp_path) as server:
        queue = await NatsQueue.connect(server.url, token=server.token)
        await queue.ensure(TopicSpec(topic=TOPIC))
        intake = await queue.consume(TOPIC, "w")
        foreign = await dial(Endpoint.of(server.url), token=server.token, name="foreign", on_lost=lambda why: None)
        for id, number in enumerate(("many", "-1", "9" * 20, "9" * 5000)):
            odd = {"uplion-attempt": number, "uplion-not-before": number, "Nats-Msg-Id": f"x{id}", "note": "a\r\nb: ü"}
            foreign.publish(place(TOPIC).first, b"task", headers=odd)
            await intake.grant()
            async with asyncio.timeout(10):
                delivery = await intake.next()
            assert (delivery.id, delivery.attempt, delivery.body) == (f"x{id}", 1, b"task")
            assert delivery.headers["note"] == "a  b: ü"
            await intake.ack(delivery)
        await foreign.close()
        await queue.close()


async def test_what_a_handler_raises_costs_nobody_else_a_message(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []

    def on_message(msg: Msg) -> None:
        heard.append(msg.subject)
        if msg.subject == "in.1":
            raise ValueError("a handler's own")

    wire = Wire(lambda why: None)
    wire.connection_made(Recorder())
    wire.subscribe("in.*", on_message)
    wire.data_received(STREAM)
    assert heard == ["in.1", "in.2", "in.3", "in.4"]
    assert "in.1 was not understood" in caplog.text


async def test_a_busy_connection_outlives_its_beats(tmp_path: Path) -> None:
    """Pings of our own that are just under way are no silence."""
    lost: list[str] = []
    async with running_nats(tmp_path) as server:
        wire = await dial(Endpoint.of(server.url), token=server.token, name="", on_lost=lost.append)
        flushes = [asyncio.create_task(wire.flush()) for _ in range(3)]
        await asyncio.sleep(0)
        for _ in range(SILENT_BEATS):
            wire.beat()
        await asyncio.gather(*flushes)
        await wire.flush()
        await wire.close()
    assert lost == []


async def test_an_inbox_is_left_though_the_broker_is_frozen(tmp_path: Path) -> None:
    async with running_nats(tmp_path) as server:
        queue = await NatsQueue.connect(server.url, token=server.token)
        await queue.ensure(TopicSpec(topic=TOPIC))
        await queue.consume(TOPIC, "w")
        server.freeze()
        async with asyncio.timeout(5):
            await queue.close()


async def test_a_message_of_many_reads_comes_whole(tmp_path: Path) -> None:
    async with running_nats(tmp_path) as server:
        queue = await NatsQueue.connect(server.url, token=server.token)
        await queue.ensure(TopicSpec(topic=TOPIC))
        bodies = [bytes([number]) * (4 * 1024 * 1024) for number in range(3)]
        await asyncio.gather(*(queue.publish(TOPIC, body, id=str(id)) for id, body in enumerate(bodies)))
        intake = await queue.consume(TOPIC, "w")
        await intake.grant(3)
        async with asyncio.timeout(30):
            assert [(await intake.next()).body for _ in bodies] == bodies
        await queue.close()


@asynccontextmanager
async def configured(folder: Path, conf: str) -> AsyncIterator[int]:
    """A nats-server with these settings; its port."""
    port = nats_server.free_port()
    path = folder / "other.conf"
    path.write_text(f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{folder}/js" }}\n{conf}\n')
    server = await asyncio.create_subprocess_exec(
        str(nats_server.binary()), "-c", str(path), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(20):
            while not await nats_server.greets(port):
                await asyncio.sleep(0.05)
        yield port
    finally:
        server.kill()
        await server.wait()


async def works(url: str, token: str = "") -> bool:
    queue = await NatsQueue.connect(url, token=token)
    await queue.ensure(TopicSpec(topic=TOPIC))
    await queue.publish(TOPIC, b"", id="1")
    known = await queue.backlog([TOPIC])
    await queue.close()
    return TOPIC in known


async def test_user_and_password_stand_in_the_url_and_in_no_error(tmp_path: Path) -> None:
    async with configured(tmp_path, 'authorization { user: "ada", password: "s:cret" }') as port:
        assert await works(f"nats://ada:s%3Acret@127.0.0.1:{port}")
        with pytest.raises(QueueError, match="Authorization Violation") as refused:
            await works(f"nats://ada:wrong@127.0.0.1:{port}")
        assert "wrong" not in str(refused.value)


async def test_the_next_broker_of_the_url_is_tried(tmp_path: Path) -> None:
    async with running_nats(tmp_path) as server:
        assert await works(f"nats://127.0.0.1:{nats_server.free_port()},127.0.0.1:{server.port}", server.token)


@pytest.mark.parametrize("url", ["nats://127.0.0.1:42x", "nats://127.0.0.1:{port},127.0.0.1:42x"])
async def test_a_broker_that_cannot_be_one_is_told_at_once(tmp_path: Path, url: str) -> None:
    async with running_nats(tmp_path) as server:
        with pytest.raises(QueueError, match="42x"):
            await NatsQueue.connect(url.format(port=server.port), token=server.token)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
async def test_tls_is_spoken_with_who_can_prove_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    about = ["-subj", "/CN=broker", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    await asyncio.to_thread(subprocess.run, [*make, *about], check=True, capture_output=True)
    async with configured(tmp_path, f'tls {{ cert_file: "{cert}", key_file: "{key}" }}') as port:
        with pytest.raises(QueueError, match="certificate") as unknown:
            await works(f"tls://127.0.0.1:{port}")
        assert "\n" not in str(unknown.value)
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        for scheme in ("tls", "nats"):
            assert await works(f"{scheme}://127.0.0.1:{port}")


async def test_another_program_is_no_broker() -> None:
    async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await reader.read()
        writer.close()

    other = await asyncio.start_server(hello, "127.0.0.1", 0)
    async with other:
        with pytest.raises(QueueError, match="no NATS broker"):
            await NatsQueue.connect(f"nats://127.0.0.1:{other.sockets[0].getsockname()[1]}")


async def test_a_broker_that_goes_while_it_greets_is_away(tmp_path: Path) -> None:
    async def gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    other = await asyncio.start_server(gone, "127.0.0.1", 0)
    async with other:
        with pytest.raises(QueueError, match="the connection ended"):
            await NatsQueue.connect(f"nats://127.0.0.1:{other.sockets[0].getsockname()[1]}")
