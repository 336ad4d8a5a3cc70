"""Asking a model from the console."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a streamed answer; figures before the last one are what was seen so far, a token a part."""

    text: str = ""
    request_id: str = ""
    ttft_s: float | None = None
    tok_s: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish: str = ""
    """`stop`, `length`, ...; empty until the end."""


class Requests(Protocol):
    """Chat through the API node, as any client would."""

    @property
    def base_url(self) -> str:
        """`http://127.0.0.1:8080/v1`."""

    def chat(
        self,
        model: str,
        messages: Sequence[tuple[str, str]],
        *,
        temperature: float | None = None,
        max_tokens: int | None = None,
    ) -> AsyncIterator[Piece]:
        """Stream an answer to (role, content) messages; closing the iterator cancels. Raises `FleetError`."""
