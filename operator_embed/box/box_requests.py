"""Asking a model of a box through its API node, as any client would."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

import msgspec

from operator_embed.fleet.fleet import FleetError
from operator_embed.fleet.requests import Piece
from operator_embed.fleet.text import safe_text


class BoxRequests:
    """The facet `requests`; httpx is loaded with the first request."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    async def chat(
        self,
        model: str,
        messages: Sequence[tuple[str, str]],
        *,
        temperature: float | None = None,
        max_tokens: int | None = None,
    ) -> AsyncGenerator[Piece, None]:
        """Stream an answer to (role, content) messages; closing the iterator cancels. Raises `FleetError`."""
        import httpx

        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": role, "content": content} for role, content in messages],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        body |= {"temperature": temperature} if temperature is not None else {}
        body |= {"max_tokens": max_tokens} if max_tokens is not None else {}
        url = f"{self.base_url}/chat/completions"
        started_s = time.monotonic()
        try:
            timeout = httpx.Timeout(None, connect=5.0)
            async with (
                httpx.AsyncClient(timeout=timeout, trust_env=False) as client,
                client.stream("POST", url, json=body) as response,
            ):
                if response.status_code != httpx.codes.OK:
                    raise FleetError(_error(await response.aread(), response.status_code))
                async for piece in _pieces(response.aiter_lines(), response.headers.get("x-request-id", ""), started_s):
                    yield piece
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            what = str(error) or type(error).__name__
            raise FleetError(f"{self.base_url}: {what}; doctor says what is missing") from error


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(msgspec.Struct):
    """The part of a `chat.completion.chunk`, or of an error in its place, that a console shows."""

    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


async def _pieces(lines: AsyncIterator[str], request_id: str, started_s: float) -> AsyncIterator[Piece]:
    first_s: float | None = None
    finish, deltas = "", 0
    usage = _Usage()
    async for line in lines:
        field, _, data = line.partition(":")
        if field != "data":
            continue
        if (data := data.strip()) == "[DONE]":
            yield _last(request_id, finish, usage, started_s, first_s)
            return
        chunk = _chunk(data)
        usage = chunk.usage or usage
        for choice in chunk.choices:
            finish = choice.finish_reason or finish
            if choice.delta and (text := choice.delta.content):
                now_s = time.monotonic()
                first_s, deltas = first_s or now_s, deltas + 1
                pace = (deltas - 1) / (now_s - first_s) if now_s > first_s else None
                yield Piece(
                    text=text, request_id=request_id, ttft_s=first_s - started_s, tok_s=pace, completion_tokens=deltas
                )
    raise FleetError("the answer broke off: the API node went away")


def _chunk(data: str) -> _Chunk:
    try:
        chunk = msgspec.json.decode(data, type=_Chunk)
    except msgspec.MsgspecError as error:
        raise FleetError(f"the API node sent what is no part of an answer: {safe_text(data, 80)}") from error
    if chunk.error is not None:
        message = chunk.error.get("message") if isinstance(chunk.error, dict) else None
        raise FleetError(safe_text(str(message or chunk.error)))
    return chunk


def _last(request_id: str, finish: str, usage: _Usage, started_s: float, first_s: float | None) -> Piece:
    tokens, now_s = usage.completion_tokens, time.monotonic()
    rate = (tokens - 1) / (now_s - first_s) if tokens and tokens > 1 and first_s and now_s > first_s else None
    return Piece(
        request_id=request_id,
        ttft_s=first_s - started_s if first_s else None,
        tok_s=rate,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=tokens,
        finish=finish or "stop",
    )


def _error(body: bytes, status: int) -> str:
    try:
        return safe_text(f"{json.loads(body)['error']['message']} ({status})")
    except (ValueError, KeyError, TypeError):
        return f"the API node answered {status}"
