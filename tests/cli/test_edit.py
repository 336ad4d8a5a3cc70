"""`uplion edit` with editors that are scripts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cli.box import Box, manifest


@pytest.fixture
def edited(served: Box) -> Box:
    """A box with a stopped model as it was first written."""
    served.says("apply", "-f", "-", text=manifest("edited", replicas=0))
    return served


def editor(box: Box, script: str) -> str:
    path = Path(box.file("editor.sh", f"#!/bin/sh\n{script}\n"))
    path.chmod(0o700)
    return str(path)


def test_nothing_changed(edited: Box) -> None:
    assert edited.says("edit", "edited", EDITOR="true") == "edit cancelled, no changes made\n"
    emptied = editor(edited, ': > "$1"')
    assert edited.says("edit", "edited", EDITOR=emptied) == "edit cancelled, the file was empty\n"


def test_a_change_is_stored(edited: Box) -> None:
    change = editor(edited, 'sed -i "s/parallel: 2/parallel: 7/" "$1"')
    assert edited.says("edit", "edited", EDITOR=change) == "aimodel/edited edited\n"
    assert edited.object("edited")["spec"]["parallel"] == 7


def test_an_invalid_text_comes_back_with_the_error_on_top(edited: Box) -> None:
    seen = edited.home / "seen"
    mend = editor(
        edited,
        f'if grep -q "^# spec.parallel: -1 is not" "$1"; then cp "$1" {seen}\n'
        'sed -i "s/parallel: -1/parallel: 3/" "$1"\n'
        'else sed -i "s/parallel: 2/parallel: -1/" "$1"; fi',
    )
    assert edited.says("edit", "edited", EDITOR=mend) == "aimodel/edited edited\n"
    assert "parallel: -1\n" in seen.read_text()
    assert edited.object("edited")["spec"]["parallel"] == 3


def test_giving_up_keeps_the_text(edited: Box) -> None:
    spoil = editor(edited, 'sed -i "s/parallel: .*/parallel: -1/" "$1"')
    said = edited.refuses("edit", "edited", EDITOR=spoil, TMPDIR=str(edited.home))
    wrong, end = said.splitlines()
    assert wrong.startswith("error: spec.parallel: -1 is not within 1 to 65536 (line ")
    assert end.startswith("edit cancelled, no valid changes were saved; your text is kept in ")
    kept = Path(said.split()[-1])
    assert "parallel: -1" in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0


def test_somebody_else_was_faster(edited: Box) -> None:
    slow = editor(
        edited, f'{sys.executable} -m console scale edited --replicas 1 >&2; sed -i "s/parallel: 2/parallel: 5/" "$1"'
    )
    said = edited.refuses("edit", "edited", EDITOR=slow, TMPDIR=str(edited.home))
    *_, refusal, kept = said.splitlines()
    assert refusal.startswith("error: default/edited: was changed by somebody else since it was read")
    assert kept.startswith("your text is kept in ")
    assert edited.object("edited")["spec"]["parallel"] == 2


def test_another_name_is_another_model(edited: Box) -> None:
    rename = editor(edited, 'sed -i "s/name: edited/name: other/" "$1"')
    assert "no valid changes were saved" in edited.refuses("edit", "edited", EDITOR=rename, TMPDIR=str(edited.home))
    assert "other" not in edited.says("get", "models", "-o", "name")


def test_an_editor_that_cannot_be_run(edited: Box) -> None:
    said = edited.refuses("edit", "edited", EDITOR="no-such-editor")
    assert said == "error: cannot run the editor 'no-such-editor': No such file or directory; set EDITOR\n"


def test_an_editor_that_fails_leaves_nothing_behind_but_what_was_typed(edited: Box) -> None:
    temporary = edited.home / "tmp"
    temporary.mkdir()
    said = edited.refuses("edit", "edited", EDITOR="false", TMPDIR=str(temporary))
    assert said == "error: the editor 'false' ended with 1; nothing was changed\n"
    assert list(temporary.iterdir()) == []
    typed = editor(edited, 'sed -i "s/parallel: 2/parallel: 6/" "$1"; exit 3')
    said = edited.refuses("edit", "edited", EDITOR=typed, TMPDIR=str(temporary))
    assert "ended with 3; your text is kept in " in said
    assert "parallel: 6" in Path(said.split()[-1]).read_text()
