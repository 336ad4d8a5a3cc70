"""Clients of a box, and what each of their requests came to."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec

KEY = "sk-of-a-client-4712"
"""Sent with each request; a box has no business with it."""
ANSWER_S = 90.0
"""Who has nothing by then counts as forgotten."""


@dataclass
class Asked:
    """One request and its outcome."""

    stream: bool
    text: str = ""
    status: int = 0
    error: dict[str, Any] | None = None
    broken: str = ""
    """The connection ended before the answer did."""
    done: bool = False
    """The answer came to its proper end."""
    pieces: int = 0
    request_id: str = ""
    first: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with the first piece of a stream."""

    def outcome(self, expected: str) -> str:
        """`answer`, `error 502`, `broken`; anything else is what must never be."""
        ends = [bool(self.error), bool(self.broken), self.done and not self.error]
        if sum(ends) != 1:
            return "silence" if not any(ends) else f"two ends: {self}"
        if self.broken:
            return "broken"
        if self.error is not None:
            return f"error {self.status} {self.error.get('code')}"
        return "answer" if self.text == expected else f"another answer: {self.text!r}"


class Clients:
    """Any number of clients of one API node."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/v1/chat/completions"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=ANSWER_S),
            headers={"Authorization": f"Bearer {KEY}", "Cookie": f"session={KEY}", "x-api-key": KEY},
        )

    async def close(self) -> None:
        await self._session.close()

    async def ask(self, model: str, prompt: str = "hi", *, stream: bool = False, **body: Any) -> Asked:
        """One request to its end, whatever that is."""
        asked = Asked(stream)
        await self.put(asked, model, prompt, **body)
        return asked

    async def put(self, asked: Asked, model: str, prompt: str = "hi", **body: Any) -> None:
        """`ask`, with an outcome that can be watched."""
        request = {"model": model, "messages": [{"role": "user", "content": prompt}], "stream": asked.stream, **body}
        try:
            async with self._session.post(self._url, json=request) as response:
                asked.status = response.status
                asked.request_id = response.headers.get("x-request-id", "")
                if asked.stream and response.status == 200:
                    await _read_events(response, asked)
                    return
                answer = msgspec.json.decode(await response.read())
                asked.error = answer.get("error")
                if asked.error is None:
                    asked.text, asked.done = answer["choices"][0]["message"]["content"], True
        except (aiohttp.ClientError, ConnectionError) as error:
            asked.broken = f"{type(error).__name__}: {error}"
        except TimeoutError:
            return
        finally:
            asked.first.set()

    def many(self, model: str, count: int, **body: Any) -> list[tuple[Asked, asyncio.Task[None]]]:
        """`count` requests at once, every other one a stream."""
        asks = [Asked(stream=bool(place % 2)) for place in range(count)]
        return [(asked, asyncio.create_task(self.put(asked, model, **body))) for asked in asks]


async def _read_events(response: aiohttp.ClientResponse, asked: Asked) -> None:
    async for line in response.content:
        data = line.strip().removeprefix(b"data: ")
        if not line.startswith(b"data: "):
            continue
        if data == b"[DONE]":
            asked.done = True
            continue
        event = msgspec.json.decode(data)
        if "error" in event:
            asked.error = event["error"]
            continue
        asked.pieces += 1
        asked.text += "".join(choice["delta"].get("content") or "" for choice in event["choices"])
        asked.first.set()
    if not asked.done:
        asked.broken = "the stream ended without [DONE]"
        asked.error = None


async def outcomes(asks: Sequence[tuple[Asked, asyncio.Task[None]]], expected: str) -> Counter[str]:
    """How often each outcome was had, once all requests have one."""
    await asyncio.gather(*(task for _, task in asks))
    return Counter(asked.outcome(expected) for asked, _ in asks)
