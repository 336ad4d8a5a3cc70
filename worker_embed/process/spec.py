"""What a supervised process is, without knowing what it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from worker_embed.report import Change


class Phase(StrEnum):
    """Where a supervised process is in its life."""

    STARTING = "Starting"
    READY = "Ready"
    STOPPING = "Stopping"
    CRASHED = "Crashed"
    BACKOFF = "Backoff"
    GONE = "Gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """SIGTERM to the shell, which drains; after `drain_s` SIGTERM to the group; `kill_s` later SIGKILL to it."""

    drain_s: float = 30.0
    kill_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """One child process; equal specs mean that a running one needs no replacement."""

    id: str
    """Also its log's name and the value of `UPLION_CHILD` in its environment."""
    role: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the allow-listed part of our own environment."""
    ready: Callable[[], Awaitable[bool]] = field(compare=False, repr=False)
    """Asked every 50 ms until it answers True; a crash of the child ends the asking."""
    alive: Callable[[], Awaitable[bool]] | None = field(default=None, compare=False, repr=False)
    """Asked at a slow pace once it is ready; a child that is silent for too long is killed, and started again."""
    stop: Stop = Stop()
    log: Path
    """stdout and stderr are appended; the child rotates it unless it cannot."""
    events: Path | None = None
    """Where the child writes its `Change` lines, if it does."""
    own_session: bool = True
    """True: survives us (setsid). False: dies with us (PDEATHSIG)."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Kept in the record and given back at adoption, for example `model=default/smollm2`."""

    version: str = ""
    """Of the program behind `argv`, where an upgrade of it asks for a new process."""

    @property
    def spec_hash(self) -> str:
        """Changes when argv, environment or version do; a running child with another hash is due for replacement."""
        import hashlib
        import json

        text = json.dumps([self.role, self.argv, sorted(self.env.items()), self.version])
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessState:
    """What is known of one supervised process."""

    id: str
    role: str
    phase: Phase
    pid: int | None
    spec_hash: str
    labels: Mapping[str, str]
    started_s: float
    """Unix time of the newest start."""
    ready_s: float | None = None
    restarts: int = 0
    exit: str = ""
    """Why it ended last: `exit 1`, `SIGKILL`, `killed by an operator`; empty while it never did."""
    silent_s: float | None = None
    """Unix time since which it runs and does not answer; `None` while it does."""
    next_try_s: float | None = None
    """Unix time of the next start while in `BACKOFF`."""
    stderr_tail: tuple[str, ...] = ()
    """The last lines before the newest crash."""
    change: Change | None = None
    """The newest line of its events file."""


class Processes(Protocol):
    """Whoever keeps processes running, as somebody sees it who only decides which."""

    def states(self) -> Mapping[str, ProcessState]:
        """What is known of each process that should run or still does, by id."""

    def run(self, spec: ProcessSpec) -> None:
        """From now on `spec` should run."""

    async def retire(self, id: str, *, drain: bool = True) -> None:
        """End a process as its `Stop` says, without the draining if so wished; returns when all of it is gone."""
