"""The seam between a worker and what computes its answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from worker_embed.wire import ErrorKind


class EngineFailed(Exception):
    """The engine cannot be started; the text is one line for a user."""

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class ClientFault(Exception):
    """The request itself was refused; its client gets this status and body, and the model is none the worse."""

    def __init__(self, status: int, body: bytes, retry_after_s: float | None = None) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.body = body
        """OpenAI's error envelope as JSON."""
        self.retry_after_s = retry_after_s


class AttemptFailed(Exception):
    """This attempt ended without an answer and counts; another may do better."""

    def __init__(self, reason: str, *, retry_at_once: bool = False) -> None:
        super().__init__(reason)
        self.retry_at_once = retry_at_once


class Unavailable(Exception):
    """The engine takes no requests for now, whichever they are."""

    def __init__(self, message: str, *, kind: ErrorKind | None, pause_s: float | None = None, counts: bool) -> None:
        super().__init__(message)
        self.kind = kind
        """`None` for a pause that is nobody's error, such as a rate limit."""
        self.pause_s = pause_s
        """How long it asked to be left alone; `None` when it did not say."""
        self.counts = counts
        """Whether the attempt that met it counts: False where waiting will surely help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One request as an engine gets it."""

    path: str
    """OpenAI route without the version: `chat/completions`."""
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What an engine knows of itself; `None` is unknown."""

    pid: int = 0
    kv_pct: float | None = None
    load_pct: float | None = None
    """How much of the weights is in memory, while they are being loaded."""
    generated: int | None = None
    """Tokens so far of all the answers that it works on, streamed or not."""


class Engine(Protocol):
    """Computes answers; its requests are cancelled by cancelling the task that waits for them.

    `stream` and `complete` raise `ClientFault`, `AttemptFailed` or `Unavailable`, and nothing else.
    """

    @property
    def slots(self) -> int:
        """How many requests it works on at once."""

    async def start(self) -> None:
        """Return once requests are answered; raises `EngineFailed`. Called again after `died` returned."""

    async def check(self) -> None:
        """Raise `Unavailable` if that is known without a request; silence promises nothing."""

    def stream(self, job: Job) -> AsyncGenerator[list[bytes], None]:
        """JSON payloads of the events as they arrive, no batch empty; ends where `[DONE]` was seen, without it."""

    async def complete(self, job: Job) -> bytes:
        """The whole answer as JSON."""

    async def suspect(self) -> None:
        """A request got nothing for too long: look, and end an engine that hangs."""

    async def died(self) -> str:
        """Return the reason, in one line, once an engine that was started is gone."""

    async def figures(self) -> Figures: ...

    async def stop(self) -> None:
        """End it now; what it was working on is lost."""
