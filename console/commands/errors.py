"""Refusals of commands, and how errors are told."""

from __future__ import annotations

import sys

from operator_embed.fleet.text import safe_text


class CommandError(Exception):
    """A command cannot do what was asked; the text says why, a line each."""


class UsageError(CommandError):
    """The flags make no sense together."""


def tell(text: str) -> None:
    """Each line of `text` as an error on standard error."""
    for line in text.splitlines():
        print(f"error: {safe_text(line)}", file=sys.stderr)
