"""Lines in tones as Textual content, for what wraps by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from textual.content import Content

from screens.format import Spans, Tone

# `$text-muted` is a contrast colour with an opacity, which content takes for plain white.
STYLES: Mapping[Tone, str] = {
    "error": "bold $text-error",
    "warning": "$text-warning",
    "muted": "$foreground 70%",
    "accent": "bold $text-accent",
    "history": "$primary",
    "title": "bold",
}


def content(lines: Iterable[Spans]) -> Content:
    """The lines below each other; text is never read as markup."""
    return Content("\n").join(
        Content.assemble(*((text, STYLES[tone]) if tone else text for text, tone in line)) for line in lines
    )
