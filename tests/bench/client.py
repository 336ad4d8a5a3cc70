"""Clients in a process of their own, on bare sockets, so that their work is not taken for the server's.

`python -m tests.bench.client load URL SECONDS` asks on all `CONNECTIONS` and prints how many requests were answered.
`... streams URL COUNT TOKENS` reads that many streams at once and prints for each when its tokens came, in seconds.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from urllib.parse import urlsplit

import msgspec
import uvloop

from tests.bench.cpu import PYTHON

CONNECTIONS = 32
BODY_BYTES = 1_024
MODEL = "echo"


def request(address: str, options: str = "") -> bytes:
    """A chat completion of `BODY_BYTES`, as it goes over the wire."""
    head = f'{{"model":"{MODEL}",{options}"messages":[{{"role":"user","content":"'
    body = f'{head}{"x" * (BODY_BYTES - len(head) - 4)}"}}]}}'.encode()
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


class Asker(asyncio.Protocol):
    """One kept connection that asks again as soon as it has an answer."""

    def __init__(self, request: bytes, until_s: float) -> None:
        self._request, self._until_s = request, until_s
        self._buffer = b""
        self.answers = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.WriteTransport = transport  # type: ignore[assignment]
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self._buffer.lower().index(b"content-length:") + 15
        size = int(self._buffer[at : self._buffer.index(b"\r", at)])
        if len(self._buffer) < head + 4 + size:
            return
        if not self._buffer.startswith(b"HTTP/1.1 200"):
            self.ended.set_exception(RuntimeError(self._buffer[:500]))
            self._transport.close()
            return
        self._buffer = b""
        self.answers += 1
        if time.monotonic() < self._until_s:
            self._transport.write(self._request)
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


async def load(url: str, seconds: float) -> int:
    """How many requests were answered."""
    address, host, port = _address(url)
    data, until_s = request(address), time.monotonic() + seconds
    loop = asyncio.get_running_loop()
    askers = [(await loop.create_connection(lambda: Asker(data, until_s), host, port))[1] for _ in range(CONNECTIONS)]
    await asyncio.gather(*(asker.ended for asker in askers))
    return sum(asker.answers for asker in askers)


async def stream(url: str, tokens: int) -> list[float]:
    """Seconds from the request to each token of its answer, `tokens` at most."""
    address, host, port = _address(url)
    reader, writer = await asyncio.open_connection(host, port)
    began_s, came_s = time.monotonic(), []
    writer.write(request(address, f'"stream":true,"max_tokens":{tokens},'))
    while (line := await reader.readline()) != b"data: [DONE]\n":
        if not line:
            raise RuntimeError("the stream ended without [DONE]")
        if b'"content":"' in line:
            came_s.append(time.monotonic() - began_s)
    writer.close()
    return came_s


async def streams(url: str, count: int, tokens: int) -> list[list[float]]:
    """`count` of them at once."""
    return await asyncio.gather(*(stream(url, tokens) for _ in range(count)))


def _address(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.netloc, parts.hostname or "", parts.port or 80


async def loaded(url: str, seconds: float) -> int:
    """`load` in another process."""
    return msgspec.json.decode(await _run("load", url, str(seconds)), type=int)


async def streamed(url: str, count: int, tokens: int) -> list[list[float]]:
    """`streams` in another process."""
    return msgspec.json.decode(await _run("streams", url, str(count), str(tokens)), type=list[list[float]])


async def _run(*argv: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        PYTHON, "-m", "tests.bench.client", *argv, env=os.environ, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"client {' '.join(argv)}: ended with {process.returncode}")
    return out


def main(what: str, url: str, *numbers: str) -> None:
    """One run, its result as JSON."""
    result: object
    if what == "load":
        result = uvloop.run(load(url, float(numbers[0])))
    else:
        result = uvloop.run(streams(url, *map(int, numbers)))
    sys.stdout.buffer.write(msgspec.json.encode(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
