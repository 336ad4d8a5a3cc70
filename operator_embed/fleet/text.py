"""Text from outside, made safe to paint."""

from unicodedata import category


def safe_text(text: str, limit: int = 2_000) -> str:
    """One line of `text` that cannot steer a terminal: control and format characters become U+FFFD."""
    text = text[:limit]
    if text.isprintable():
        return text
    return "".join(" " if c in "\n\t" else "\ufffd" if category(c) in {"Cc", "Cf", "Cs"} else c for c in text)
