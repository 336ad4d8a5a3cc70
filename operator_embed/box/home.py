"""Where a box keeps its things: one folder for files, one for sockets."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import platformdirs


class HomeError(Exception):
    """The folder cannot be used; the text is one line that says why and what to do."""


@dataclass(frozen=True, slots=True)
class Home:
    """`$UPLION_HOME`, all of it readable by its owner only."""

    root: Path

    @classmethod
    def default(cls) -> Home:
        """`$UPLION_HOME`, else the user's data folder."""
        named = os.environ.get("UPLION_HOME")
        return cls((Path(named) if named else platformdirs.user_data_path("uplion")).expanduser().absolute())

    @property
    def store(self) -> Path:
        return self.root / "store.db"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def config(self) -> Path:
        return self.root / "config.toml"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets"

    @property
    def weights(self) -> Path:
        return self.root / "models"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def nats(self) -> Path:
        return self.root / "nats"

    @property
    def ports(self) -> Path:
        """Ports that the kernel picked once and that are used again: nats, callback."""
        return self.root / "run" / "ports.json"

    @property
    def procs(self) -> Path:
        """Records of child processes, their events and the deliveries in their hands."""
        return self.root / "run" / "procs"

    @property
    def sockets(self) -> Path:
        """A short path: a socket's may not be longer than 107 bytes."""
        name = f"uplion-{hashlib.blake2b(bytes(self.root), digest_size=4).hexdigest()}"
        runtime = os.environ.get("XDG_RUNTIME_DIR")
        base = Path(runtime) if runtime and os.access(runtime, os.W_OK) else Path(tempfile.gettempdir())
        return base / (name if runtime and base == Path(runtime) else f"{name}-{os.getuid()}")

    @property
    def engine_socket(self) -> Path:
        return self.sockets / "engine.sock"

    @property
    def beat_socket(self) -> Path:
        """Where workers and API nodes send their figures."""
        return self.sockets / "beat.sock"

    @property
    def bells(self) -> Path:
        return self.sockets / "bell"
