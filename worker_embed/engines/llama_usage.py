"""The usage of answers with several choices: llama.cpp's server counts one choice of them, or each by itself.

So a prompt of two texts, or `n` of 2, would be booked as half of what was generated.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from worker_embed.engines.port import Job
from worker_embed.wire import Tokens

SEVERAL: Final = b'"index":1'
"""In the JSON of an answer with more than one choice, and nowhere else: within a text its quotes were escaped."""

Count = Callable[[str], Awaitable[int]]


class _Call(msgspec.Struct, frozen=True):
    name: str = ""
    arguments: str = ""


class _ToolCall(msgspec.Struct, frozen=True):
    function: _Call = _Call()


class _Message(msgspec.Struct, frozen=True):
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct, frozen=True):
    text: str = ""
    message: _Message = _Message()
    finish_reason: str | None = None

    @property
    def said(self) -> str:
        calls = [call.function.name + call.function.arguments for call in self.message.tool_calls or ()]
        return "".join([self.text, self.message.reasoning_content or "", self.message.content or "", *calls])


class _Counted(msgspec.Struct, frozen=True):
    choices: list[_Choice]
    usage: Tokens = Tokens()


class _Asked(msgspec.Struct, frozen=True):
    n: int | None = None
    prompt: str | list[str | int | list[int]] = ""

    @property
    def more_prompts(self) -> list[str | list[int]]:
        """All but the first; a list of numbers is one prompt."""
        if isinstance(self.prompt, str) or all(isinstance(part, int) for part in self.prompt):
            return []
        return [part for part in self.prompt[1:] if not isinstance(part, int)]


async def whole(job: Job, body: bytes, count: Count) -> bytes:
    """An answer whose usage is that of all its choices; `count` tells the tokens of a text."""
    if SEVERAL not in body:
        return body
    answer, asked = msgspec.json.decode(body, type=_Counted), msgspec.json.decode(job.body, type=_Asked)
    prompt, completion = answer.usage.prompt_tokens, answer.usage.completion_tokens
    for choice in answer.choices[1:]:
        # What ends a text is a token too, and the last one that was generated.
        completion += await count(choice.said) + (choice.finish_reason != "length")
    for each in asked.more_prompts:
        prompt += await count(each) if isinstance(each, str) else len(each)
    return _with_usage(body, Tokens(prompt, completion, prompt + completion))


class StreamUsage:
    """Adds up what the choices of one stream are told to have taken."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._told: list[Tokens] = []

    def event(self, payload: bytes) -> bytes:
        """The payload with the usage of all choices that ended so far."""
        if b'"usage":{' not in payload:
            return payload
        self._told.append(msgspec.json.decode(payload, type=_Counted).usage)
        if len(self._told) == 1:
            return payload
        # Each choice is told with its prompt, which `n` choices share.
        choices = msgspec.json.decode(self._job.body, type=_Asked).n or 1
        prompt = max(self._told[0].prompt_tokens, sum(usage.prompt_tokens for usage in self._told) // choices)
        completion = sum(usage.completion_tokens for usage in self._told)
        return _with_usage(payload, Tokens(prompt, completion, prompt + completion))


def _with_usage(body: bytes, tokens: Tokens) -> bytes:
    answer: dict[str, Any] = msgspec.json.decode(body)
    answer["usage"] |= msgspec.structs.asdict(tokens)
    return msgspec.json.encode(answer)
