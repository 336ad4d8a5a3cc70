"""What stands between a worker and somebody else's API: addresses that answer nobody, proxies, pauses."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from worker_embed.config import ConfigError
from worker_embed.engines.http import retry_after_s
from worker_embed.engines.port import Job, Unavailable
from worker_embed.engines.remote import RemoteEngine

pytestmark = pytest.mark.anyio

JOB = Job(path="chat/completions", body=b"{}")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@asynccontextmanager
async def started(url: str) -> AsyncIterator[RemoteEngine]:
    engine = RemoteEngine(url, "", 1)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


@asynccontextmanager
async def answering(heard: list[str], status: str = "200 OK") -> AsyncIterator[int]:
    """A port where the head of each request is noted."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}".encode())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_an_address_that_refuses_is_named_in_plain_words() -> None:
    url = f"https://127.0.0.1:{free_port()}/v1"
    async with started(url) as engine:
        for asked in (engine.check(), engine.complete(JOB)):
            with pytest.raises(Unavailable) as refusal:
                await asked
            assert str(refusal.value) == f"{url}: connection refused"


async def test_a_password_in_an_address_is_told_to_nobody() -> None:
    async with started(f"http://user:secret@127.0.0.1:{free_port()}/v1") as engine:
        with pytest.raises(Unavailable) as refusal:
            await engine.check()
    assert "secret" not in str(refusal.value)


async def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    async with answering(heard) as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://user:word@127.0.0.1:{port}")
        async with started("http://api.example/v1") as engine:
            assert await engine.complete(JOB) == b"{}"
    assert heard[0].startswith("POST http://api.example/v1/chat/completions HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic dXNlcjp3b3Jk" in heard[0]


async def test_who_needs_no_proxy_is_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    async with answering(heard) as port:
        monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{free_port()}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        async with started(f"http://127.0.0.1:{port}/v1") as engine:
            assert await engine.complete(JOB) == b"{}"
    assert heard[0].startswith("POST /v1/chat/completions ")


async def test_a_proxy_that_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = free_port()
    monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{proxy}")
    async with started("https://api.example/v1") as engine:
        with pytest.raises(Unavailable) as refusal:
            await engine.complete(JOB)
    assert str(refusal.value) == f"https://api.example/v1 by the proxy 127.0.0.1:{proxy}: connection refused"
    async with answering([], "407 Proxy Authentication Required") as port:
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{port}")
        async with started("https://api.example/v1") as engine:
            with pytest.raises(Unavailable, match="the proxy answered 407"):
                await engine.complete(JOB)


def test_a_proxy_that_cannot_be_used_is_said_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1080")
    with pytest.raises(ConfigError, match="HTTPS_PROXY: a proxy of the kind socks5:// cannot be used"):
        RemoteEngine("https://api.example/v1", "", 1)


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [
        ("7", 7.0),
        ("1.5", 1.5),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 30.0),
        ("Sun, 06 Nov 1994 08:49:00 GMT", 0.0),
        ("soon", None),
        ("", None),
    ],
)
def test_a_pause_is_told_in_seconds_or_as_a_date(text: str, wait_s: float | None) -> None:
    assert retry_after_s(text, 784_111_777.0 - 30.0) == wait_s
