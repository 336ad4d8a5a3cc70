"""`uplion edit`: an AIModel in the user's editor, until it is valid or given up."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from itertools import dropwhile
from pathlib import Path

from console.commands.box import STORED, key_of, name_of, note, on_box
from console.commands.errors import CommandError, tell
from operator_embed.box.fleet import BoxFleet
from operator_embed.fleet.fleet import FleetError
from operator_embed.fleet.text import safe_text
from operator_embed.manifest import ManifestError, parse
from screens.outside import editor_command

HEAD = (
    "Change the AIModel below and save. These lines on top are left out; an empty file changes nothing.",
    "What is wrong with it is told here when the file opens again.",
)


def edit(options: argparse.Namespace) -> int:
    """Edit, check, store; what could not be stored is kept in a file."""
    key = key_of(options.name, options.namespace)
    return on_box(lambda fleet: _edit(fleet, key))


async def _edit(fleet: BoxFleet, key: str) -> int:
    manifest = await fleet.models.manifest(key)
    draft = _draft(key)
    text = manifest.yaml
    wrong: tuple[str, ...] = ()
    while True:
        before, text = text, _edited(draft, text, wrong, stored=manifest.yaml)
        if not text.strip() or text == manifest.yaml:
            draft.unlink()
            print("edit cancelled, no changes made" if text.strip() else "edit cancelled, the file was empty")
            return 0
        if wrong and text == before:
            tell("\n".join(wrong))
            note(f"edit cancelled, no valid changes were saved; your text is kept in {draft}")
            return 1
        if not (wrong := _wrong(text, key)):
            break
    try:
        [applied] = await fleet.models.apply(text, resource_version=manifest.resource_version)
    except FleetError as refusal:
        tell(str(refusal))
        note(f"your text is kept in {draft}")
        return 1
    draft.unlink()
    print(f"{name_of(key)} {'edited' if applied.action == 'configured' else applied.action}")
    for warning in applied.warnings:
        note(f"warning: {safe_text(warning)}")
    if fleet.leader() is None:
        note(STORED)
    return 0


def _draft(key: str) -> Path:
    """A new file that only its owner can read."""
    handle, path = tempfile.mkstemp(prefix=f"uplion-edit-{key.rpartition('/')[2]}-", suffix=".yaml")
    os.close(handle)
    return Path(path)


def _edited(draft: Path, text: str, wrong: Sequence[str], *, stored: str) -> str:
    """The text after the user's editor, without our lines on top; raises `CommandError` when it fails.

    What differs from the text that is `stored` is kept then.
    """
    head = [f"# {line}".rstrip() for line in (*HEAD, *(["", *wrong] if wrong else []))]
    draft.write_text("\n".join((*head, text)), encoding="utf-8")
    command = editor_command()
    try:
        ended = subprocess.run([*shlex.split(command), str(draft)], check=False)
    except (OSError, ValueError) as error:
        draft.unlink()
        why = error.strerror if isinstance(error, OSError) else error
        raise CommandError(f"cannot run the editor {command!r}: {why}; set EDITOR") from error
    try:
        lines = draft.read_text(encoding="utf-8").splitlines(keepends=True)
    except UnicodeDecodeError as error:
        raise CommandError(f"{draft}: is not UTF-8 text any more; it is kept as it is") from error
    edited = "".join(dropwhile(lambda line: line.startswith("#"), lines))
    if ended.returncode and edited == stored:
        draft.unlink()
        raise CommandError(f"the editor {command!r} ended with {ended.returncode}; nothing was changed")
    if ended.returncode:
        raise CommandError(f"the editor {command!r} ended with {ended.returncode}; your text is kept in {draft}")
    return edited


def _wrong(text: str, key: str) -> tuple[str, ...]:
    """Why this text cannot take the place of the AIModel; empty when it can."""
    try:
        parsed = parse(text, base_dir=".")
    except ManifestError as error:
        return tuple(map(safe_text, (*error.errors, *error.warnings)))
    if [one.model.key for one in parsed] != [key]:
        return (
            f"metadata: expected the one AIModel {key}; another name or namespace is a new model, see uplion apply",
        )
    return ()
