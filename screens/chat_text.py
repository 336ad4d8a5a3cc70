"""A conversation with a model, as values and as lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from operator_embed.fleet.requests import Piece
from screens.format import Spans, rate, safe_text

STREAMS = "..."
STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One question and what was answered so far."""

    prompt: str
    text: str = ""
    figures: Piece = Piece()
    """The newest of each figure that the stream carried."""
    ended: bool = False
    trouble: str = ""
    """Why it ended without an end of its own, in words."""

    def plus(self, piece: Piece) -> Turn:
        """With one more part of the stream."""
        old = self.figures
        return replace(
            self,
            text=self.text + piece.text,
            figures=Piece(
                request_id=piece.request_id or old.request_id,
                ttft_s=old.ttft_s if piece.ttft_s is None else piece.ttft_s,
                tok_s=old.tok_s if piece.tok_s is None else piece.tok_s,
                prompt_tokens=old.prompt_tokens if piece.prompt_tokens is None else piece.prompt_tokens,
                completion_tokens=old.completion_tokens if piece.completion_tokens is None else piece.completion_tokens,
                finish=piece.finish or old.finish,
            ),
        )

    def end(self, trouble: str = "") -> Turn:
        """Nothing more comes; `trouble` says why when the model did not end it."""
        return replace(self, ended=True, trouble=trouble)

    def stop(self) -> Turn:
        """The user has seen enough."""
        return replace(self, ended=True, figures=replace(self.figures, finish=STOPPED))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is sent beside the question."""

    system: str = ""
    temperature: float | None = None

    @property
    def says(self) -> tuple[str, str]:
        """Both in words."""
        temperature = "default" if self.temperature is None else f"{self.temperature:g}"
        return f"temperature {temperature}", "system prompt set" if self.system else "no system prompt"


def messages(turns: Sequence[Turn], settings: Settings) -> list[tuple[str, str]]:
    """The conversation as (role, content); an answer that did not come is left out."""
    said = [("system", settings.system)] if settings.system else []
    for turn in turns:
        said.append(("user", turn.prompt))
        if turn.text:
            said.append(("assistant", turn.text))
    return said


def figures(turn: Turn) -> str:
    """What the answer cost: `first token 0.21 s   41.3 tok/s   12 + 34 tokens   stop`; `~` what was counted here."""
    parts = []
    f = turn.figures
    about = "~" if f.finish in {"", STOPPED} else ""
    if f.ttft_s is not None:
        parts.append(f"first token {f.ttft_s:.2f} s")
    if f.tok_s is not None:
        parts.append(f"{about}{rate(f.tok_s)} tok/s")
    if f.prompt_tokens is not None and f.completion_tokens is not None:
        parts.append(f"{f.prompt_tokens} + {f.completion_tokens} tokens")
    elif f.completion_tokens is not None:
        parts.append(f"{about}{f.completion_tokens} tokens")
    if f.finish:
        parts.append(f.finish)
    return "   ".join(parts)


def said(text: str) -> Iterator[str]:
    """Text of a person or a model, line by line, safe to paint."""
    return (safe_text(line, 100_000) for line in text.split("\n"))


def lines(turns: Sequence[Turn]) -> Iterator[Spans]:
    """The whole conversation."""
    for turn in turns:
        for number, line in enumerate(said(turn.prompt)):
            yield (("> " if number == 0 else "  ", "accent"), (line, "accent"))
        yield ()
        if turn.text:
            for line in said(turn.text):
                yield ((line, ""),)
        elif not turn.ended:
            yield ((STREAMS, "muted"),)
        if turn.trouble:
            yield (("! ", "error"), (safe_text(turn.trouble), "error"))
        if summary := figures(turn):
            yield ((summary, "muted"),)
        yield ()
