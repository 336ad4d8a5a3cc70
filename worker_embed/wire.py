"""What travels between an API node, the queue and a worker.

The JSON of tasks, results and usage is the original UPLION's (field names and order); the frames of the subprotocol
`uplion.1` are ours. Nothing here touches a socket.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any
from typing import Final as Constant

import msgspec

SUBPROTOCOL: Constant = "uplion.1"
RESULT_TOPIC: Constant = "res-topic"
MAX_BODY_BYTES: Constant = 4 * 1024 * 1024
MOST_DIGITS: Constant = 15
"""Of a number in a header: as Unix milliseconds, the year 33,658."""


class Header:
    """Names of the headers of a queued task; a task without them comes from the original's producer."""

    ATTEMPT: Constant = "uplion-attempt"
    DEADLINE: Constant = "uplion-deadline"
    """Unix milliseconds after which nobody waits for the answer."""
    NODE: Constant = "uplion-node"
    """WebSocket URL of the API node process that waits."""
    PATH: Constant = "uplion-path"
    """OpenAI route without the version, `chat/completions` when missing."""
    TRACE: Constant = "traceparent"


def header_number(text: str | None, default: int = 0) -> int:
    """A count or a time in a header; foreign producers may write anything there, and `default` stands for that."""
    return int(text) if text and len(text) <= MOST_DIGITS and text.isascii() and text.isdigit() else default


class ErrorKind(StrEnum):
    """Why a worker cannot serve its model: the five reasons of the original's events."""

    CONFIGURATION = "ConfigurationError"
    AUTHENTICATION = "AuthenticationError"
    QUEUE_CONNECTION = "MessageQueueConnectionError"
    QUOTA = "APIQuotaExceededError"
    GENERAL = "GeneralError"


class Metadata(msgspec.Struct, frozen=True):
    """The client's HTTP headers, each name with its values; secrets are redacted by the API node."""

    headers: dict[str, list[str]] = msgspec.field(default_factory=dict)


class Task(msgspec.Struct, frozen=True):
    """One request as it lies in the queue."""

    request_id: str
    stream: bool
    data: msgspec.Raw
    """The client's JSON body, byte for byte."""
    endpoint: str
    """Where the original's workers send the answer."""
    metadata: Metadata = Metadata()


Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
"""What an answer may have of tokens: sums of what engines make up must stay numbers that travel."""


class Tokens(msgspec.Struct, frozen=True):
    """Token counts of one answer, as OpenAI's `usage` names them."""

    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    total_tokens: Annotated[int, msgspec.Meta(ge=0, le=2**32)] = 0


class UsageStatus(StrEnum):
    """How a task ended."""

    OK = "ok"
    CANCELLED = "cancelled"
    ERROR = "error"


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One record of `res-topic`: the original's five fields first, then ours."""

    request_id: str
    usage: Tokens
    model: str
    ai_model_name: str
    ai_model_namespace: str
    status: UsageStatus = UsageStatus.OK
    attempt: int = 1
    replica: str = ""
    started_ms: int = 0
    """Unix milliseconds at which the worker took the task."""
    first_token_ms: int = 0
    ended_ms: int = 0


class Verdict(StrEnum):
    """An API node's answer to `Start`."""

    GO = "go"
    GONE = "gone"
    """Unknown id, answered already, or the client left: ack and forget."""
    BUSY = "busy"
    """Another attempt was heard less than 3 s ago: give the task back for 2 s."""
    DEAD = "dead"
    """Started too often: dead letter; the client has its error."""


class Start(msgspec.Struct, frozen=True, tag="start", array_like=True):
    """Worker to node: may this attempt run?"""

    request_id: str
    attempt_uid: str
    attempt: int


class Answer(msgspec.Struct, frozen=True, tag="answer", array_like=True):
    """Node to worker: what to do with the attempt that asked."""

    attempt_uid: str
    verdict: Verdict


class Delta(msgspec.Struct, frozen=True, tag="delta", array_like=True):
    """Worker to node: the next bytes of a server-sent event stream, whole events only."""

    attempt_uid: str
    seq: int
    """Counts from 0 without a gap over the deltas and the final frame of an attempt."""
    data: bytes


class Final(msgspec.Struct, frozen=True, tag="final", array_like=True):
    """Worker to node: the end of an answer."""

    attempt_uid: str
    seq: int
    status: int
    """HTTP status for the client; 200 ends a stream with `[DONE]`, anything else with `body` as an error."""
    body: bytes
    """The JSON answer or error; for a stream that went well, its last events."""
    usage: Tokens | None = None
    retry_after_s: float | None = None


class GiveBack(msgspec.Struct, frozen=True, tag="back", array_like=True):
    """Worker to node: this attempt was not made and does not count; the task is in the queue again."""

    attempt_uid: str


class Received(msgspec.Struct, frozen=True, tag="received", array_like=True):
    """Node to worker: the final frame is here, the task may be acknowledged."""

    attempt_uid: str


class Cancel(msgspec.Struct, frozen=True, tag="cancel", array_like=True):
    """Node to worker: nobody waits any more; stop, acknowledge, send no more."""

    attempt_uid: str


FromWorker = Start | Delta | Final | GiveBack
FromNode = Answer | Received | Cancel


def error_body(message: str, kind: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """OpenAI's error envelope, always with all four keys."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
