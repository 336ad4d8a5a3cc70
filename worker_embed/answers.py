"""What a client's request becomes for an engine, and an engine's answer for the client; values in, values out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from worker_embed.engines.port import AttemptFailed, ClientFault, Job
from worker_embed.wire import Count, Task, Tokens, error_body

DEFAULT_PATH: Final = "chat/completions"
PATHS: Final = ("chat/completions", "completions", "embeddings")

_Object = dict[str, msgspec.Raw]
_object = msgspec.json.Decoder(_Object)
_encode = msgspec.json.Encoder().encode
_NOTHING: Final = (b"[]", b"null")


class _Usage(msgspec.Struct):
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    total_tokens: Count | None = None


class _Error(msgspec.Struct):
    message: str = "the engine failed"
    code: int | str | None = None
    type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A task as it goes to the engine, and what has to be put back into its answer."""

    job: Job
    id: str
    """Completion id, after OpenAI's fashion."""
    model: bytes
    """The model's name as the client wrote it: a JSON value."""
    usage_asked: bool

    @classmethod
    def of(cls, task: Task, path: str) -> Request:
        """Read a task; raises `ClientFault` for a body that is no request."""
        if path not in PATHS:
            raise ClientFault(404, error(f"This model has no /v1/{path}.", "invalid_request_error", "unknown_url"))
        try:
            body = _object.decode(task.data)
            options = _object.decode(body["stream_options"]) if _given(body, "stream_options") else {}
        except (msgspec.DecodeError, RecursionError) as fault:
            raise ClientFault(400, error(str(fault), "invalid_request_error")) from fault
        usage_asked = bytes(options.get("include_usage", b"")) == b"true"
        data = bytes(task.data)
        if task.stream and not usage_asked:
            body["stream_options"] = msgspec.Raw(_encode(options | {"include_usage": msgspec.Raw(b"true")}))
            data = _encode(body)
        prefix = "chatcmpl" if path == DEFAULT_PATH else "cmpl"
        return cls(
            job=Job(path=path, body=data),
            id=f"{prefix}-{task.request_id}",
            model=bytes(body.get("model", b'""')),
            usage_asked=usage_asked,
        )


class Answer:
    """Turns one attempt's payloads into the client's, and counts."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._id = msgspec.Raw(_encode(request.id))
        self._model = msgspec.Raw(request.model)
        self.chunks = 0
        """Chunks with a choice so far: about as many as tokens."""
        self._usage: Tokens | None = None

    @property
    def usage(self) -> Tokens:
        """What the engine counted or, where it did not get to it, the chunks seen."""
        return self._usage or Tokens(completion_tokens=self.chunks, total_tokens=self.chunks)

    def events(self, payloads: Iterable[bytes]) -> list[bytes]:
        """The client's payloads; raises `ClientFault` or `AttemptFailed` for an error among them."""
        return [event for payload in payloads if (event := self._event(payload)) is not None]

    def whole(self, payload: bytes) -> bytes:
        """The client's answer; raises `AttemptFailed` when it is no JSON object."""
        answer = self._read(payload)
        self._count(answer)
        return self._signed(answer)

    def _event(self, payload: bytes) -> bytes | None:
        chunk = self._read(payload)
        usage_only = bytes(chunk.get("choices", b"null")) in _NOTHING
        self._count(chunk)
        if not usage_only:
            self.chunks += 1
        if not self._request.usage_asked:
            if usage_only and "usage" in chunk:
                return None
            chunk.pop("usage", None)
        return self._signed(chunk)

    def _read(self, payload: bytes) -> _Object:
        if not payload.isascii():
            # A byte that is no text would end the client's stream in an exception of its decoder. It becomes `?`:
            # U+FFFD would be three bytes, and an answer of the largest size larger than a node takes.
            payload = payload.decode(errors="surrogateescape").encode(errors="replace")
        try:
            answer = _object.decode(payload)
            if not _given(answer, "error"):
                return answer
            fault = msgspec.json.decode(answer["error"], type=_Error, strict=False)
        except (msgspec.DecodeError, RecursionError) as broken:
            raise AttemptFailed(f"the engine sent no valid JSON: {broken}") from broken
        code = fault.code
        if isinstance(code, int) and 400 <= code < 500 and code not in (401, 404, 408, 429):
            raise ClientFault(code, error(fault.message, fault.type or "invalid_request_error"))
        raise AttemptFailed(f"the engine sent an error: {' '.join(fault.message.split())[:300]}")

    def _count(self, answer: _Object) -> None:
        if not _given(answer, "usage"):
            return
        try:
            usage = msgspec.json.decode(answer["usage"], type=_Usage)
        except msgspec.DecodeError:
            return
        prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
        self._usage = Tokens(prompt, completion, usage.total_tokens or prompt + completion)

    def _signed(self, answer: _Object) -> bytes:
        if "id" in answer:
            answer["id"] = self._id
        if "model" in answer:
            answer["model"] = self._model
        return _encode(answer)


def error(message: str, kind: str, code: str | None = None) -> bytes:
    """OpenAI's error envelope as JSON."""
    return _encode(error_body(message, kind, code))


def _given(thing: _Object, key: str) -> bool:
    return key in thing and bytes(thing[key]) != b"null"
