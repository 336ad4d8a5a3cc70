"""How much a worker has done, up to the token that its engine generates at this moment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    """Counts since the worker's start, of which none ever falls.

    The tokens of a stream are counted as they pass; those of an answer in one piece by what the engine tells of them
    while it works, and what is missing at its end.
    """

    tokens: int = 0
    done: int = 0
    ended: int = 0
    """Answers that the engine works on no more, however they ended."""
    _whole: int = 0
    """Answers in one piece under way."""
    _streamed: int = 0
    """Tokens counted of streams under way."""
    _ahead: int = 0
    """Tokens counted of answers in one piece under way."""

    def begin(self, *, stream: bool) -> None:
        self._whole += not stream

    def passed(self, tokens: int) -> None:
        """More tokens of a stream."""
        self.tokens += tokens
        self._streamed += tokens

    def generated(self, tokens: int) -> None:
        """What the engine has generated so far of all answers under way; to be told while none of them ends."""
        if self._whole and (more := tokens - self._streamed - self._ahead) > 0:
            self.tokens += more
            self._ahead += more

    def end(self, *, stream: bool, counted: int = 0, tokens: int = 0) -> None:
        """An answer took `tokens`, of which `counted` have passed as a stream's."""
        self.ended += 1
        if stream:
            self._streamed -= counted
            self.tokens += max(0, tokens - counted)
            return
        self._whole -= 1
        known = min(tokens, self._ahead)
        self.tokens += tokens - known
        # An answer that came to nothing took its tokens all the same.
        self._ahead = self._ahead - known if self._whole else 0
