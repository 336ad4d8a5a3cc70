"""Answers of the JetStream API, as far as they are read here.

Source: https://docs.nats.io/reference/reference-protocols/nats_api_reference
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, TypeVar

import msgspec

from worker_embed.queue.port import QueueError

ID: Final = "Nats-Msg-Id"


class Refusal(msgspec.Struct, frozen=True):
    """The broker's error, as every answer of its API may carry one."""

    code: int
    description: str = ""
    err_code: int = 0


class Answer(msgspec.Struct, frozen=True):
    error: Refusal | None = None


class Published(Answer, frozen=True):
    seq: int = 0


class StreamConfig(msgspec.Struct, frozen=True):
    name: str
    max_msgs_per_subject: int = -1


class StreamState(msgspec.Struct, frozen=True):
    messages: int = 0
    subjects: dict[str, int] = {}


class StreamInfo(Answer, frozen=True):
    config: StreamConfig | None = None
    state: StreamState = StreamState()


class StreamPage(Answer, frozen=True):
    """Part of a list."""

    total: int = 0
    streams: list[StreamInfo] = []


class Sequence(msgspec.Struct, frozen=True):
    stream_seq: int = 0


class ConsumerInfo(Answer, frozen=True):
    name: str = ""
    delivered: Sequence = Sequence()
    """The last message handed out for the first time; they go out in the order of the stream."""
    num_ack_pending: int = 0
    num_pending: int = 0
    num_waiting: int = 0


class Stored(msgspec.Struct, frozen=True):
    seq: int
    time: datetime
    hdrs: bytes = b""
    data: bytes = b""

    @property
    def id(self) -> str:
        """Of the product, without what makes it unique in the stream."""
        start = f"{ID}: "
        lines = self.hdrs.decode().split("\r\n")
        return next((id_of(line.removeprefix(start)) for line in lines if line.startswith(start)), "")


class Got(Answer, frozen=True):
    message: Stored | None = None


A = TypeVar("A", bound=Answer)


def id_of(msg_id: str) -> str:
    """The request's id in a `Nats-Msg-Id` of `publish`, with or without an attempt."""
    return msg_id.rpartition(":")[0] or msg_id


def checked(answer: A) -> A:
    """The answer, unless it is a refusal."""
    if answer.error:
        raise QueueError(f"the queue's broker refused: {answer.error.description or answer.error.code}")
    return answer
