"""How a child tells its engine what it is doing: lines in a file for what must not be lost, datagrams for figures.

A state change is one JSON line `{"at": s, "reason": r, "message": m}` in the file named by `UPLION_EVENTS`. Figures go
once a second as one msgpack datagram to the Unix socket named by `UPLION_BEAT`; nobody waits for them. A worker sends
`Told` there after each line, so that nobody has to look for lines often.
"""

from __future__ import annotations

import msgspec


class Change(msgspec.Struct, frozen=True):
    """One line of `run/procs/<id>.events`."""

    at: float
    """Unix seconds."""
    reason: str
    """A replica state (`Starting`, `Loading`, `Ready`, `Paused`, `Draining`, `Stopped`) or an `ErrorKind`."""
    message: str = ""


class WorkerBeat(msgspec.Struct, frozen=True, tag="worker", array_like=True):
    """Figures of one worker, since its start where they count."""

    id: str
    at_s: float
    slots: int
    busy: int
    tokens: int
    """Tokens generated since the start."""
    done: int
    """Tasks finished since the start."""
    load_pct: float | None = None
    """How much of the weights is loaded; `None` when not loading or not known."""
    kv_pct: float | None = None
    engine_pid: int = 0


class ModelCount(msgspec.Struct, frozen=True, array_like=True):
    """One model's traffic at an API node since the node started."""

    topic: str
    requests: int
    """Published to the queue."""
    answered: int
    failed: int
    tokens: int
    ttft_p95_s: float | None
    """Over the last five minutes; `None` without an answer in them."""
    e2e_p95_s: float | None


class GatewayBeat(msgspec.Struct, frozen=True, tag="gateway", array_like=True):
    """Figures of one API node process."""

    id: str
    at_s: float
    waiting: int
    """Requests published and not yet answered."""
    connections: int
    models: list[ModelCount]


class Told(msgspec.Struct, frozen=True, tag="told", array_like=True):
    """A line was written."""


Beat = WorkerBeat | GatewayBeat
