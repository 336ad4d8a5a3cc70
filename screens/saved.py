"""What is on a screen as text, as a picture and as objects, and the file it is written to."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

KINDS: Mapping[str, str] = {
    ".txt": "as text",
    ".svg": "as a picture",
    ".json": "its objects, as -o json prints them",
}
"""Endings of a file's name, and what such a file holds."""


def file_name(what: str, at_s: float) -> str:
    """`models-20261122-224103.txt`, in local time."""
    return f"{what}-{datetime.fromtimestamp(at_s):%Y%m%d-%H%M%S}.txt"


def instant(at_s: float | None) -> str | None:
    """A Unix time as objects have it: `2026-11-22T22:41:03.000Z`."""
    if at_s is None:
        return None
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def row_object(row: DataclassInstance) -> dict[str, Any]:
    """A row of a table as an object; its version is nobody's but the screen's."""
    fields = asdict(row)
    fields.pop("version", None)
    return fields


def object_list(objects: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Several stored objects as one that `apply` takes."""
    return {"apiVersion": "v1", "kind": "List", "items": list(objects)}


def json_text(value: object) -> str:
    """A value as `-o json` prints it."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def write_new(path: Path, text: str) -> None:
    """Write a file that only its owner can read, since a prompt or a log may hold a secret; raises `OSError`.

    What is there already stays: `FileExistsError`. What cannot be written whole leaves no file.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text if text.endswith("\n") else f"{text}\n")
    except OSError:
        path.unlink(missing_ok=True)
        raise
