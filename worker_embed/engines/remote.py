"""Somebody else's OpenAI-compatible API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from http import HTTPStatus
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from worker_embed.config import ConfigError
from worker_embed.engines.http import HttpRelay, Refusal
from worker_embed.engines.port import AttemptFailed, ClientFault, Figures, Job, Unavailable
from worker_embed.wire import ErrorKind

CHECK_S = 10.0


class RemoteEngine:
    """Relays to `base_url`, which includes the version: `https://api.openai.com/v1`."""

    def __init__(self, base_url: str, key: str, slots: int) -> None:
        if urlsplit(base_url).scheme not in ("http", "https") or not urlsplit(base_url).hostname:
            raise ConfigError(f"API_URL: expected a base URL such as https://api.openai.com/v1, got {base_url!r}")
        if not (key.isascii() and key.isprintable()):
            raise ConfigError("API_KEY: has characters that no HTTP header may have; was it copied whole?")
        self.slots = slots
        self._base_url, self._key, self._proxy = base_url, key, proxy_for(base_url)
        self._relay: HttpRelay | None = None

    async def start(self) -> None:
        if self._relay is None:
            self._relay = HttpRelay(self._base_url, judge, self._key, proxy=self._proxy)

    async def check(self) -> None:
        """A rejected key shows in the list of models, which costs nothing; what that list holds does not matter."""
        status, body = await self._server.get("models", CHECK_S)
        if status == HTTPStatus.UNAUTHORIZED:
            raise judge(Refusal(path="models", status=status, body=body, retry_after_s=None))

    def stream(self, job: Job) -> AsyncGenerator[list[bytes], None]:
        return self._server.stream(job)

    async def complete(self, job: Job) -> bytes:
        return await self._server.complete(job)

    async def suspect(self) -> None:
        """Nothing of ours to end."""

    async def died(self) -> str:
        return await asyncio.Future()

    async def figures(self) -> Figures:
        return Figures()

    async def stop(self) -> None:
        if self._relay is not None:
            await self._relay.close()

    @property
    def _server(self) -> HttpRelay:
        if self._relay is None:
            raise RuntimeError("not started")
        return self._relay


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for `url`: `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`; raises `ConfigError`."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme, "")
    if not proxy or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if (kind := urlsplit(proxy).scheme) not in ("http", "https"):
        raise ConfigError(f"{parts.scheme.upper()}_PROXY: a proxy of the kind {kind}:// cannot be used, only http://")
    return proxy


def judge(refusal: Refusal) -> Exception:
    """Whose fault a refusal is: the client's, this moment's, or the model's configuration."""
    said = f"the API answered {refusal.status}: {refusal.message}"
    match refusal.status:
        case HTTPStatus.UNAUTHORIZED:
            return Unavailable(said, kind=ErrorKind.AUTHENTICATION, counts=True)
        case HTTPStatus.NOT_FOUND if refusal.path == "chat/completions" or "model" in refusal.message.lower():
            return Unavailable(said, kind=ErrorKind.CONFIGURATION, counts=True)
        case HTTPStatus.TOO_MANY_REQUESTS if _is_rate_limit(refusal):
            return Unavailable(said, kind=None, pause_s=refusal.retry_after_s, counts=False)
        case HTTPStatus.TOO_MANY_REQUESTS | HTTPStatus.PAYMENT_REQUIRED:
            return Unavailable(said, kind=ErrorKind.QUOTA, counts=True)
        case HTTPStatus.NOT_IMPLEMENTED:
            return ClientFault(refusal.status, refusal.envelope)
        case HTTPStatus.REQUEST_TIMEOUT:
            return AttemptFailed(said)
        case status if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return AttemptFailed(said)
        case status if status < HTTPStatus.BAD_REQUEST:
            return Unavailable(f"{said}: is API_URL complete?", kind=ErrorKind.CONFIGURATION, counts=True)
        case status:
            return ClientFault(status, refusal.envelope, refusal.retry_after_s)


def _is_rate_limit(refusal: Refusal) -> bool:
    if "insufficient_quota" in (refusal.error.get("code"), refusal.error.get("type")):
        return False
    return refusal.retry_after_s is not None or "rate limit" in refusal.message.lower()
