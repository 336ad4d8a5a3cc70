"""What the next leader must know of a child, one file each: enough to adopt it, and how often it crashed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from worker_embed.process import proc
from worker_embed.process.spec import Phase, ProcessSpec, ProcessState, Stop

_log = logging.getLogger(__name__)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """`run/procs/<id>.json`; it holds no environment, which may hold secrets."""

    state: ProcessState
    """Its `pid` is also the child's process group and session."""
    start_ticks: int
    boot_id: str
    own_session: bool
    stop: Stop
    log: str
    log_start: int
    """Size of the log when the child was started."""
    events: str | None
    events_read: int
    """Bytes of the events file that were already told."""
    crashes: int
    """In a row; the backoff follows from it."""

    @classmethod
    def of(
        cls,
        spec: ProcessSpec,
        now_s: float,
        *,
        crashes: int = 0,
        restarts: int = 0,
        exit: str = "",
        stderr_tail: tuple[str, ...] = (),
    ) -> Record:
        """Of a process that is about to start."""
        return cls(
            state=ProcessState(
                id=spec.id,
                role=spec.role,
                phase=Phase.STARTING,
                pid=None,
                spec_hash=spec.spec_hash,
                labels=dict(spec.labels),
                started_s=now_s,
                restarts=restarts,
                exit=exit,
                stderr_tail=stderr_tail,
            ),
            start_ticks=0,
            boot_id=proc.boot_id(),
            own_session=spec.own_session,
            stop=spec.stop,
            log=str(spec.log),
            log_start=spec.log.stat().st_size if spec.log.exists() else 0,
            events=str(spec.events) if spec.events else None,
            events_read=0,
            crashes=crashes,
        )


class Records:
    """The records of one home, in a folder that only its owner can read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def save(self, record: Record) -> None:
        """Replace the file at once or not at all; a full disk is logged, since the children must be watched on."""
        path = self._path(record.state.id)
        new = path.with_suffix(".new")
        try:
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(msgspec.json.encode(record))
            new.replace(path)
        except OSError as error:
            _log.error("%s: not written, the next leader cannot adopt this process: %s", path, error.strerror)

    def remove(self, id: str) -> None:
        self._path(id).unlink(missing_ok=True)

    def load(self) -> Iterator[Record]:
        """Every record that can be read; others, of an older version for example, are removed."""
        for path in sorted(self._folder.glob("*.json")):
            try:
                yield msgspec.json.decode(path.read_bytes(), type=Record)
            except msgspec.DecodeError as error:
                _log.warning("%s: removed, it is no record: %s", path, error)
                path.unlink()

    def _path(self, id: str) -> Path:
        return self._folder / f"{id}.json"
