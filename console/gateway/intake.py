"""What is read of a client's request: a few fields of the body, and the headers that go into the queue."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import urlsplit

import msgspec

from console.gateway.errors import (
    ENCODED,
    FOREIGN_ORIGIN,
    INVALID_JSON,
    MALFORMED,
    TOO_LARGE,
    Failure,
    Refused,
    invalid,
)
from worker_embed.wire import MAX_BODY_BYTES

SECRET = frozenset({b"authorization", b"proxy-authorization", b"cookie", b"x-api-key", b"api-key", b"x-goog-api-key"})
LOOKED_AT = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"content-encoding", b"origin", b"traceparent"}
)
REDACTED = ["[redacted]"]
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})

_TRACE = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool | None = None


class _Common(msgspec.Struct, frozen=True):
    model: str
    stream: bool | None = None


class _Options(_Common, frozen=True):
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    n: int | None = None


class ChatBody(_Options, frozen=True, kw_only=True):
    """The fields of a chat completion that are checked here; all others are the engine's to judge."""

    messages: list[msgspec.Raw]
    max_completion_tokens: int | None = None


class CompletionBody(_Options, frozen=True, kw_only=True):
    """The fields of a text completion that are checked here."""

    prompt: str | list[msgspec.Raw]


class OriginalBody(_Common, frozen=True):
    """All that the original's API node checks."""


class Asked(msgspec.Struct, frozen=True):
    """What a client wants, as far as this process needs to know."""

    model: str
    stream: bool


class Read(msgspec.Struct, frozen=True):
    """A request's headers."""

    metadata: dict[str, list[str]]
    """For the queue: canonical names, secrets redacted, without `Host`."""
    trace: str | None
    """A well-formed `traceparent`."""


@lru_cache(maxsize=256)
def _canonical(name: bytes) -> str:
    """`Content-Type`, as Go writes header names."""
    return "-".join(part.capitalize() for part in name.decode("latin-1").split("-"))


def read_headers(headers: Sequence[tuple[bytes, bytes]]) -> Read:
    """Raises `Refused` for what can be refused before the body is read."""
    metadata: dict[str, list[str]] = {}
    trace = None
    for name, value in headers:
        if name in SECRET:
            metadata[_canonical(name)] = REDACTED
            continue
        if name in LOOKED_AT:
            _refuse(name, value)
            if name == b"host":
                continue
            if name == b"traceparent" and _TRACE.fullmatch(value):
                trace = value.decode()
        canonical = _canonical(name)
        if canonical in metadata:
            metadata[canonical].append(value.decode("latin-1"))
        else:
            metadata[canonical] = [value.decode("latin-1")]
    return Read(metadata, trace)


def _refuse(name: bytes, value: bytes) -> None:
    if name == b"content-length" and int(value) > MAX_BODY_BYTES:
        raise Refused(TOO_LARGE)
    if name == b"transfer-encoding" and value.lower() != b"chunked":
        raise Refused(MALFORMED)
    if name == b"content-encoding" and value.lower() != b"identity":
        raise Refused(ENCODED)
    if name == b"origin" and not _local(value):
        raise Refused(FOREIGN_ORIGIN)


def _local(origin: bytes) -> bool:
    """Whether a page of this host asks, or an app that is no page: other pages could spend the user's GPU unasked."""
    try:
        parts = urlsplit(origin.decode("latin-1"))
        return (parts.scheme not in ("http", "https") and origin != b"null") or parts.hostname in LOCAL_HOSTS
    except ValueError:
        return False


_decoders: dict[type[_Common], msgspec.json.Decoder[_Common]] = {
    body: msgspec.json.Decoder(body) for body in (ChatBody, CompletionBody, OriginalBody)
}


def read_body(data: bytes, kind: type[ChatBody | CompletionBody | OriginalBody]) -> Asked:
    """Check the fields that matter here; raises `Refused` with the field's name."""
    try:
        if not data.isascii():
            data.decode()
        body = _decoders[kind].decode(data)
    except msgspec.ValidationError as error:
        raise Refused(_wrong_field(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(INVALID_JSON) from None
    stream = body.stream is True
    if isinstance(body, _Options):
        _check(body, stream)
    return Asked(body.model, stream)


def _check(body: _Options, stream: bool) -> None:
    if body.stream_options is not None and not stream:
        raise Refused(invalid("stream_options", "'stream_options' is only allowed when 'stream' is true."))
    _at_least_one("max_tokens", body.max_tokens)
    _at_least_one("n", body.n)
    if isinstance(body, ChatBody):
        _at_least_one("max_completion_tokens", body.max_completion_tokens)
        if not body.messages:
            raise Refused(invalid("messages", "'messages' must not be empty."))


def _at_least_one(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise Refused(invalid(name, f"'{name}' must be at least 1, got {value}."))


_NAMED = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?")
_MISSING = re.compile(r"Object missing required field `(.*)`")


def _wrong_field(text: str) -> Failure:
    """msgspec's text in OpenAI's words."""
    named = _NAMED.fullmatch(text)
    what, path = (named["what"], named["path"] or None) if named else (text, None)
    if missing := _MISSING.fullmatch(what):
        path = f"{path}.{missing[1]}" if path else missing[1]
        return invalid(path, f"Missing required parameter: '{path}'.")
    if path is None:
        return INVALID_JSON
    return invalid(path, f"Invalid value for '{path}': {what[0].lower()}{what[1:].replace('`', '')}.")
