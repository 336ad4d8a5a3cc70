"""A fixed answer at a chosen pace: for benchmarks, and for everything that has to be tried without a model.

Its source is `static:<text, percent-encoded>?tokens=50&tokens_per_s=25&delay_s=0.2`. A word is a token; `tokens`
repeats or cuts the text, `tokens_per_s` paces it (unpaced without), `delay_s` comes before the first.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from worker_embed.config import ConfigError
from worker_embed.engines.port import ClientFault, Figures, Job
from worker_embed.wire import error_body

_MARK = "word"
"""Stands for each word in the chunk that all of an answer's chunks are cut from."""
DEFAULT_TEXT = "Hello! How can I assist you today?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What is answered, and how fast."""

    words: tuple[str, ...]
    """Each with the blank before it, so that they join to the text."""
    tokens_per_s: float = 0.0
    """0 is all at once."""
    delay_s: float = 0.0

    @classmethod
    def parse(cls, source: str) -> Script:
        """Read a source URI; raises `ConfigError`."""
        parts = urlsplit(source)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        words = unquote(parts.path).split() or DEFAULT_TEXT.split()
        tokens = _number(source, options, "tokens", len(words))
        script = cls(
            words=tuple(
                word if place == 0 else f" {word}"
                for place, word in enumerate(itertools.islice(itertools.cycle(words), int(tokens)))
            ),
            tokens_per_s=_number(source, options, "tokens_per_s", 0.0),
            delay_s=_number(source, options, "delay_s", 0.0),
        )
        if options:
            raise ConfigError(f"source {source!r}: unknown option {next(iter(options))!r}")
        return script


class _Asked(msgspec.Struct):
    max_tokens: int | None = None
    max_completion_tokens: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    """One that is being given."""

    began_s: float
    words: int


class StaticEngine:
    """Answers every request with the words of its script, up to the request's own limit."""

    def __init__(self, script: Script, slots: int) -> None:
        self.slots = slots
        self._script = script
        self._under_way: set[_Answer] = set()

    async def start(self) -> None:
        """Always ready."""

    async def check(self) -> None:
        """Always well."""

    async def stream(self, job: Job) -> AsyncGenerator[list[bytes], None]:
        words, reason = self._said(job)
        before, after = _chunk(job, _MARK, None).split(msgspec.json.encode(_MARK))
        pieces = (before + msgspec.json.encode(word) + after for word in words)
        usage = msgspec.json.encode(_head(job, "chunk") | {"choices": [], "usage": _usage(job, len(words))})
        end = [_chunk(job, "", reason), usage]
        with self._at_work(words):
            if self._script.delay_s:
                await asyncio.sleep(self._script.delay_s)
            if not self._script.tokens_per_s:
                yield [*pieces, *end]
                return
            began_s, step_s = time.monotonic(), 1 / self._script.tokens_per_s
            for place, piece in enumerate(pieces):
                yield [piece]
                await asyncio.sleep(max(0.0, began_s + (place + 1) * step_s - time.monotonic()))
            yield end

    async def complete(self, job: Job) -> bytes:
        words, reason = self._said(job)
        with self._at_work(words):
            await asyncio.sleep(self._script.delay_s + (len(words) / (self._script.tokens_per_s or float("inf"))))
        text = "".join(words)
        said: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if _is_chat(job) else {"text": text}
        choice = {"index": 0, **said, "finish_reason": reason, "logprobs": None}
        return msgspec.json.encode(_head(job, "whole") | {"choices": [choice], "usage": _usage(job, len(words))})

    async def suspect(self) -> None:
        """It cannot hang."""

    async def died(self) -> str:
        return await asyncio.Future()

    async def figures(self) -> Figures:
        now_s, script = time.monotonic(), self._script
        return Figures(
            generated=sum(
                min(answer.words, int(max(0.0, now_s - answer.began_s - script.delay_s) * script.tokens_per_s))
                for answer in self._under_way
            )
        )

    async def stop(self) -> None:
        """Nothing to end."""

    @contextmanager
    def _at_work(self, words: tuple[str, ...]) -> Iterator[None]:
        self._under_way.add(answer := _Answer(time.monotonic(), len(words)))
        try:
            yield
        finally:
            self._under_way.discard(answer)

    def _said(self, job: Job) -> tuple[tuple[str, ...], str]:
        try:
            asked = msgspec.json.decode(job.body, type=_Asked)
        except msgspec.ValidationError as error:
            raise ClientFault(400, msgspec.json.encode(error_body(str(error), "invalid_request_error"))) from error
        limit = asked.max_completion_tokens or asked.max_tokens or len(self._script.words)
        return self._script.words[:limit], "length" if limit < len(self._script.words) else "stop"


def _is_chat(job: Job) -> bool:
    return job.path == "chat/completions"


def _head(job: Job, form: str) -> dict[str, Any]:
    kind = "text_completion" if not _is_chat(job) else "chat.completion" + (".chunk" if form == "chunk" else "")
    return {"id": "static", "object": kind, "created": int(time.time()), "model": "static"}


def _chunk(job: Job, word: str, reason: str | None) -> bytes:
    said: dict[str, Any] = {"delta": {"content": word} if reason is None else {}} if _is_chat(job) else {"text": word}
    choice = {"index": 0, **said, "finish_reason": reason, "logprobs": None}
    return msgspec.json.encode(_head(job, "chunk") | {"choices": [choice]})


def _usage(job: Job, completion: int) -> dict[str, int]:
    """Prompt tokens at the usual four bytes each, as there is no tokenizer."""
    prompt = max(1, len(job.body) // 4)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _number(source: str, options: dict[str, str], name: str, default: float) -> float:
    text = options.pop(name, str(default))
    if not text.isascii() or not text.replace(".", "", 1).isdigit():
        raise ConfigError(f"source {source!r}: {name} is a number, not {text!r}")
    return float(text)
