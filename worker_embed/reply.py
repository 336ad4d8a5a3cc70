"""The seam between a running task and whoever waits for its answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Protocol

from worker_embed.wire import Tokens, Verdict


class Stop(Enum):
    """Why an attempt is to end before its engine has finished."""

    CLIENT_LEFT = auto()
    NODE_LOST = auto()
    DRAINED = auto()


OnStop = Callable[[Stop], None]


class NodeLost(Exception):
    """Whoever waits for the answer cannot be reached now."""


class Reply(Protocol):
    """Where the answer of one attempt goes; every method raises `NodeLost`."""

    @property
    def begun(self) -> bool:
        """Whether the client may have seen a part of the answer."""

    async def open(self) -> Verdict:
        """Ask whether the attempt may run."""

    async def events(self, payloads: Sequence[bytes]) -> None:
        """Send JSON payloads of a stream; waits while more than a buffer's worth has not left."""

    async def final(self, status: int, body: bytes, usage: Tokens, retry_after_s: float | None = None) -> None:
        """End the answer with a JSON body, empty after a stream that went well; returns when it has arrived."""

    async def give_back(self) -> None:
        """Tell that the attempt was not made after all; whoever does not hear it will find out by himself."""

    def close(self) -> None:
        """Forget the attempt."""
