"""What an API node may serve, kept in memory so that a request costs no read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One AIModel as an API node sees it; models being deleted are not in the directory."""

    key: str
    """`namespace/name`."""
    name: str
    """`metadata.name`: the id that clients list and send."""
    model: str
    """`spec.model`: accepted as well, as the original's clients send it."""
    topic: str
    ready: int
    stopped: bool
    """`replicas: 0` by the user: nothing wakes it, so requests are refused at once."""
    created_s: float
    failed: str = ""
    """Why no worker can run before a user has done something; empty while one runs or may come."""
    failed_s: float = 0.0
    """Unix time since when."""


class ModelDirectory(Protocol):
    """Read by every request; follows the store by itself."""

    def find(self, name: str) -> Served | None:
        """By `metadata.name` first, then by `spec.model`; a dict look-up."""

    def all(self) -> Sequence[Served]:
        """Sorted by name."""

    @property
    def age_s(self) -> float:
        """Seconds since the store was last read without an error."""

    async def start(self) -> None:
        """Read once; raises when the store cannot be read at all. Afterwards changes arrive within a second."""

    async def close(self) -> None: ...
