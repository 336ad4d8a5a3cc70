"""Editing a text in the user's own editor."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

EDITORS = ("UPLION_EDITOR", "VISUAL", "EDITOR")
"""Variables that name it; the first that is set counts."""


class EditorError(Exception):
    """The editor could not be used; the text is one line for the user."""


def editor_command(environ: Mapping[str, str] = os.environ) -> str:
    """The command line of the user's editor, else `vi`."""
    return next((named for name in EDITORS if (named := environ.get(name))), "vi")


def edited(text: str, name: str, environ: Mapping[str, str] = os.environ) -> str:
    """`text` after the user's editor was closed; blocks until then. Raises `EditorError`."""
    command = editor_command(environ)
    with TemporaryDirectory(prefix="uplion-") as folder:
        file = Path(folder, f"{name}.yaml")
        file.write_text(text, encoding="utf-8")
        try:
            ended = subprocess.run([*shlex.split(command), str(file)], check=False)
        except (OSError, ValueError) as problem:
            raise EditorError(f"{command}: {problem}; set EDITOR to one that is installed") from None
        if ended.returncode:
            raise EditorError(f"{command} ended with {ended.returncode}; nothing was taken over")
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as problem:
            raise EditorError(f"{command} left no text: {problem}") from None
