"""Keys for remote models: read once when a model is applied, then kept in files of their owner's."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final as Constant

from operator_embed.aimodel import Spec
from operator_embed.box.database import StoreError, explained
from operator_embed.schema import KEY_SOURCES

MAX_KEY_BYTES: Constant = 65_536


class Secrets:
    """The folder `secrets/` of a box."""

    def __init__(self, folder: Path, env: Mapping[str, str] = os.environ) -> None:
        self._folder, self._env = folder, env

    def path(self, name: str) -> Path:
        """The file of a secret, whether it is there or not."""
        if not re.fullmatch(KEY_SOURCES["secret"], name):
            raise StoreError(f"{name!a}: is not a name of a secret")
        return self._folder / f"{name}.key"

    def read(self, name: str) -> str | None:
        """The key, or `None` when there is none of that name."""
        path = self.path(name)
        with explained(path):
            return path.read_text(errors="replace").strip() if path.exists() else None

    @contextmanager
    def replacing(self, name: str, key: str | None) -> Iterator[bool]:
        """Store `key` after the block, unless it raises; gives whether it is another one than before.

        Whoever was kept from storing it may just try again: it is still another one. Nobody ever sees half of it.
        """
        if key is None or key == self.read(name):
            yield False
            return
        path = self.path(name)
        fresh = path.with_suffix(f".{os.getpid()}")
        try:
            with explained(path):
                fresh.unlink(missing_ok=True)
                with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                    file.write(key)
            yield True
            with explained(path):
                fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)

    def delete(self, name: str) -> None:
        """Remove a key; nothing when it is not there."""
        path = self.path(name)
        with explained(path):
            path.unlink(missing_ok=True)

    def given(self, spec: Spec) -> str | None:
        """The key that a spec brings with it or says where to read; `None` for none, and for one stored already.

        Raises `StoreError` where it cannot be read.
        """
        if spec.api_key is not None:
            return spec.api_key
        source, _, name = (spec.api_key_from or "").partition(":")
        match source:
            case "env":
                return _one_line(self._env.get(name, ""), f"the environment variable {name}")
            case "file":
                return _one_line(_head(Path(name)), name)
            case "secret" if self.read(name) is None:
                raise StoreError(f"spec.apiKeyFrom: there is no secret {name}; give the key with env or file once")
        return None


def _head(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_KEY_BYTES + 1).decode("utf-8", "replace")
    except OSError as error:
        raise StoreError(f"spec.apiKeyFrom: cannot read {path}: {error.strerror}") from error


def _one_line(text: str, where: str) -> str:
    key = text.strip()
    if not key or len(text) > MAX_KEY_BYTES or not key.isprintable():
        raise StoreError(f"spec.apiKeyFrom: {where} does not hold a key on one line; put it there, then apply")
    return key
