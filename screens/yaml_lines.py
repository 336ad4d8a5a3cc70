"""YAML and diffs as lines in tones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import unified_diff

from screens.format import safe_text
from screens.widgets.text_lines import Line, Paint

FIELD = re.compile(r"(\s*(?:- )*)([\w./-]+:)( .*|)")
SIGNS: dict[str, Paint] = {"+": "added", "-": "removed", "@": "muted"}


def yaml_line(text: str) -> Line:
    """One line of YAML: names of fields and comments apart from values."""
    text = safe_text(text)
    if text.lstrip().startswith("#"):
        return ((text, "muted"),)
    if field := FIELD.fullmatch(text):
        indent, name, value = field.groups()
        return (indent, ""), (name, "history"), (value, "")
    return ((text, ""),)


def yaml_lines(text: str) -> Iterator[Line]:
    """All lines of a YAML text."""
    return map(yaml_line, text.splitlines())


def diff_lines(diff: Iterable[str]) -> Iterator[Line]:
    """Lines of a unified diff."""
    return (((safe_text(line), SIGNS.get(line[:1], "")),) for line in diff)


def difference(old: str, new: str) -> list[str]:
    """Unified diff of two texts, without file headers."""
    return list(unified_diff(old.splitlines(), new.splitlines(), lineterm=""))[2:]


def line_of(text: str, field: str) -> int:
    """Number of the first line, from 0, that sets `field`; 0 when none does."""
    name = field.rpartition(".")[2]
    return next((n for n, line in enumerate(text.splitlines()) if line.strip().lstrip("- ").startswith(f"{name}:")), 0)
