"""Requests to an OpenAI-compatible HTTP server, relayed as bytes."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
import msgspec

from worker_embed.engines.port import AttemptFailed, Job, Unavailable
from worker_embed.engines.sse import EventReader, EventTooLong
from worker_embed.wire import ErrorKind, error_body

MAX_ANSWER_BYTES = 15 * 1024 * 1024
"""An API node takes messages of 16 MiB; a longer one would cost all requests of the worker their connection."""
CONNECT_S = 10.0
KEY_BYTES = 8
"""Shorter keys are words such as `none`, for servers that want some key."""
KEEP_ALIVE_S = 4.0
"""Below the 5 s of common servers: a connection that they just closed would look like a failed attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer that is not 200."""

    path: str
    status: int
    body: bytes
    retry_after_s: float | None

    @property
    def error(self) -> dict[str, Any]:
        """The `error` object of the body; empty where there is none."""
        try:
            answer = msgspec.json.decode(self.body)
        except msgspec.DecodeError:
            return {}
        error = answer.get("error") if isinstance(answer, dict) else None
        return error if isinstance(error, dict) else {"message": error} if isinstance(error, str) else {}

    @property
    def message(self) -> str:
        """What it says, in one line; never the text of a page that is no error object."""
        message = self.error.get("message")
        return " ".join(message.split())[:500] if isinstance(message, str) else f"status {self.status}"

    @property
    def envelope(self) -> bytes:
        """The error as OpenAI's envelope with all four keys, whatever the server left out."""
        error = self.error
        kind, code, param = (error.get(key) for key in ("type", "code", "param"))
        if kind == "exceed_context_size_error":
            kind, code = "invalid_request_error", "context_length_exceeded"
        if not isinstance(kind, str):
            kind = "invalid_request_error" if self.status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
        code, param = (text if isinstance(text, str) else None for text in (code, param))
        return msgspec.json.encode(error_body(self.message, kind, code, param))


_UNREACHED = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)


class HttpRelay:
    """One server behind `base_url`; `judge` says what its refusals mean.

    Without `reuse` each request has a connection of its own, for a server that closes it after every stream: the next
    request would be written to a closed one before we have heard of its end.
    """

    def __init__(
        self,
        base_url: str,
        judge: Callable[[Refusal], Exception],
        key: str = "",
        *,
        reuse: bool = True,
        proxy: str | None = None,
    ) -> None:
        self._base = base_url.rstrip("/")
        parts = urlsplit(self._base)
        self._name = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        """The base as anybody may read it."""
        self._judge = judge
        self._key = key.encode()
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._session = aiohttp.ClientSession(
            connector=(
                aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S)
                if reuse
                else aiohttp.TCPConnector(limit=0, force_close=True)
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            headers=headers,
            auto_decompress=True,
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=proxy,
        )

    async def complete(self, job: Job) -> bytes:
        """The body of a 200."""
        with self._faults():
            async with self._post(job, "application/json") as answer:
                body = await _bounded(answer)
                if answer.status != HTTPStatus.OK:
                    raise self._judge(self._refusal(job.path, answer, body))
                return body

    async def stream(self, job: Job) -> AsyncGenerator[list[bytes], None]:
        """Payloads up to `[DONE]`; a stream that ends without it has failed, however politely it was closed."""
        events = EventReader()
        with self._faults():
            async with self._post(job, "text/event-stream") as answer:
                if answer.status != HTTPStatus.OK:
                    raise self._judge(self._refusal(job.path, answer, await _bounded(answer)))
                async for data in answer.content.iter_any():
                    payloads = events.feed(data)
                    done = b"[DONE]" in payloads
                    if done:
                        del payloads[payloads.index(b"[DONE]") :]
                    if payloads:
                        yield payloads
                    if done:
                        return
        raise AttemptFailed("the engine's stream ended before [DONE]")

    async def get(self, path: str, timeout_s: float) -> tuple[int, bytes]:
        """Status and body of a GET, relative to the base unless `path` starts with a slash; raises `Unavailable`."""
        try:
            async with self._session.get(
                urljoin(f"{self._base}/", path), timeout=aiohttp.ClientTimeout(total=timeout_s), allow_redirects=False
            ) as answer:
                refusal = self._refusal(path, answer, await _bounded(answer))
                return refusal.status, refusal.body
        except (aiohttp.ClientError, TimeoutError, AttemptFailed) as error:
            raise Unavailable(self._say(error), kind=ErrorKind.GENERAL, counts=False) from error

    async def close(self) -> None:
        """Drop all connections, and with them what is in flight."""
        await self._session.close()

    def _refusal(self, path: str, answer: aiohttp.ClientResponse, body: bytes) -> Refusal:
        """Some servers repeat a key that they refuse; it is neither the clients' nor a log's to read."""
        if len(self._key) >= KEY_BYTES:
            body = body.replace(self._key, b"[redacted]")
        wait_s = retry_after_s(answer.headers.get("Retry-After", ""), time.time())
        return Refusal(path=path, status=answer.status, body=body, retry_after_s=wait_s)

    def _post(self, job: Job, accept: str) -> Any:
        url = urljoin(f"{self._base}/", job.path)
        return self._session.post(url, data=job.body, headers={"Accept": accept}, allow_redirects=False)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """What may go wrong on the wire, in the words of the port."""
        try:
            yield
        except aiohttp.ClientError as error:
            raise self._broken(error) from error
        except EventTooLong as error:
            raise AttemptFailed("the engine sent an event without an end") from error
        except RuntimeError as error:
            if not self._session.closed:
                raise
            raise AttemptFailed("the engine was stopped", retry_at_once=True) from error

    def _broken(self, error: aiohttp.ClientError) -> Exception:
        """A server that could not be reached has seen nothing of the request, so no attempt was made."""
        if isinstance(error, _UNREACHED):
            return Unavailable(self._say(error), kind=ErrorKind.GENERAL, counts=False)
        return AttemptFailed(self._say(error))

    def _say(self, error: Exception) -> str:
        where = self._name
        match error:
            case TimeoutError():
                what = "no answer in time"
            case aiohttp.ClientHttpProxyError():
                what = f"the proxy answered {error.status}"
            case aiohttp.ClientConnectorError(os_error=OSError(errno=int(number))) if number in errno.errorcode:
                # asyncio puts a text of its own in the place of the system's.
                what = os.strerror(number).lower()
            case aiohttp.ClientConnectorError(os_error=cause):
                what = str(cause.strerror or cause).lower()
            case _:
                what = str(error) or type(error).__name__
        if isinstance(error, aiohttp.ClientProxyConnectionError):
            where = f"{where} by the proxy {error.host}:{error.port}"
        return " ".join(f"{where}: {what}".split())[:300]


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for data in answer.content.iter_any():
        body += data
        if len(body) > MAX_ANSWER_BYTES:
            raise AttemptFailed(f"the engine's answer is longer than {MAX_ANSWER_BYTES} bytes")
    return bytes(body)


def retry_after_s(text: str, now_s: float) -> float | None:
    """The header `Retry-After`, in seconds or as a date (RFC 9110, section 10.2.3); `None` for what is neither."""
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_s)
    except ValueError:
        return None
