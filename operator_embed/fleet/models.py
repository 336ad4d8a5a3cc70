"""AIModels and their replicas as a screen shows them, and what can be done to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

History = tuple[float | None, ...]
"""Samples of one figure, oldest first; `None` is a gap."""


class State(StrEnum):
    """`status.state` of an AIModel."""

    PENDING = "Pending"
    RUNNING = "Running"
    FAILED = "Failed"
    STOPPED = "Stopped"
    IDLE = "Idle"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionView:
    """One condition of an AIModel."""

    type: str
    status: bool
    reason: str
    message: str
    since_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaNeed:
    """What one more replica of a model takes."""

    mem_mib: float | None = None
    """Over all its GPUs, or of RAM; `None` while nobody knows."""
    estimated: bool = True
    """Computed, not measured on a replica like it."""
    gpus: int | tuple[str, ...] | None = None
    """How many, or which by UUID; 0 is the CPU; `None` is one where there is any, else the CPU."""
    missing: str = ""
    """Why none can start at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelView:
    """One AIModel as a screen shows it."""

    key: str
    """`namespace/name`, unique in a context."""
    version: int
    """From the fleet's one counter: new whenever another field changes, also when a name is deleted and used again."""
    name: str
    namespace: str = "default"
    context: str = ""
    """Where it is, in a fleet of several contexts; empty in one."""
    type: str = "local"
    model: str = ""
    """Name on the wire: what the topic is named after."""
    engine: str = "auto"
    topic: str = ""
    generation: int = 1
    ready: int = 0
    desired: int = 0
    replicas: int = 1
    """`spec.replicas`, the user's."""
    min_replicas: int | None = None
    """With the autoscaler's other bound; `None` when none runs."""
    max_replicas: int | None = None
    threshold: int | None = None
    paused: bool = False
    state: State = State.PENDING
    degraded: str = ""
    """Reason of the condition Degraded; empty when it is not."""
    progress: str = ""
    """What says more than the state: `Load 62%`, `Draining`, `Updating`; empty when nothing is under way."""
    message: str = ""
    backlog: int | None = None
    """Requests queued, delayed or in flight on the model's topic; `None` until the queue was asked."""
    queued: int | None = None
    in_flight: int | None = None
    slots: int = 0
    trend: int = 0
    """1 and -1: the last 10 s against the 20 s before, beyond 10 % and 2."""
    backlog_2min: History = ()
    """16 samples, 7.5 s each."""
    oldest_s: float | None = None
    """Age of the oldest queued request; `None` when none is queued or the queue was never asked."""
    req_s: float | None = None
    tok_s: float | None = None
    generates: bool = True
    """False for models that generate no tokens."""
    ttft_p95_s: float | None = None
    kv_pct: float | None = None
    """How much of the room for context its replicas use; `None` where no engine tells."""
    busy_pct: float | None = None
    """Use of the GPUs that it holds; of the CPU on a box without GPU."""
    busy_stale: bool = False
    """Who measures that is silent, and this is what was heard last."""
    on_gpu: bool = False
    vram_mib: float | None = None
    need: ReplicaNeed = ReplicaNeed()
    restarts: int = 0
    created_s: float = 0.0
    """Unix time."""
    failure: str = ""
    """Reason of the newest failure."""
    failure_count: int = 0
    failure_s: float = 0.0
    """Unix time of the newest failure."""
    dead: int = 0
    """Requests that were given up and are kept."""
    queue_stale: bool = False
    store_stale: bool = False
    conditions: tuple[ConditionView, ...] = ()
    why: str = ""
    """A short paragraph: what is so, the cause, what to do next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaView:
    """One replica of one AIModel."""

    key: str
    """Its name, unique in a context."""
    version: int
    model: str
    """Key of its AIModel."""
    state: str = "Pending"
    reason: str = ""
    message: str = ""
    place: str = ""
    """`GPU 2`, `GPU 0,1`, `CPU`; empty while it has none."""
    pid: int | None = None
    mem_mib: float | None = None
    """VRAM that it holds; resident memory on a CPU."""
    busy: int | None = None
    slots: int | None = None
    req_s: float | None = None
    tok_s: float | None = None
    cpu_cores: float | None = None
    kv_pct: float | None = None
    ttft_p95_s: float | None = None
    """The model's, which the API node measures; unknown of one replica among several."""
    tok_per_j: float | None = None
    restarts: int = 0
    started_s: float | None = None
    next_try_s: float | None = None
    stale: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """An AIModel as text to read and to edit."""

    yaml: str
    """As stored, without status; secrets masked."""
    status_yaml: str
    resource_version: str
    """Given back with `apply`, so that a change by somebody else is noticed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What `apply` did with one AIModel."""

    key: str
    action: str
    """`created`, `configured`, `unchanged`."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What `check` found in a text before it is applied."""

    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    diff: tuple[str, ...] = ()
    """Unified diff against what is stored, without file headers; empty when nothing differs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """A change of scale; `None` leaves a bound as it is."""

    replicas: int | None = None
    min_replicas: int | None = None
    max_replicas: int | None = None
    threshold: int | None = None
    paused: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedReplica:
    """One line of a placement preview."""

    number: int
    name: str
    """Empty for one that does not run yet."""
    place: str
    mem_mib: float | None
    estimated: bool
    """`mem_mib` is an estimate, not a measurement."""
    fits: bool
    text: str
    """`running, 2 in flight`, `fits: 50.8 free after a margin of 1.0`, `does not fit: ...`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalePreview:
    """What a change of scale would do."""

    wanted: int
    lines: tuple[PlannedReplica, ...]
    advice: tuple[str, ...] = ()


class Models(Protocol):
    """What can be done to AIModels. An intent returns once it is stored; that it was done is seen in a later view.

    All of them raise `FleetError` when refused: unknown key, conflict, read-only context, invalid text.
    """

    async def apply(self, text: str, *, base_dir: str = ".", resource_version: str | None = None) -> Sequence[Applied]:
        """Create or change what the YAML names; with a `resource_version` only if nobody changed it since."""

    async def check(self, text: str, *, base_dir: str = ".") -> Checked:
        """Validate without storing."""

    async def manifest(self, key: str) -> Manifest: ...

    async def objects(self) -> Sequence[Mapping[str, Any]]:
        """All AIModels as an API server returns them, sorted by namespace and name; secrets masked."""

    async def scale(self, key: str, change: Scale) -> None:
        """Refused with the way out where `replicas` belongs to the autoscaler."""

    async def preview(self, key: str, change: Scale) -> ScalePreview:
        """Which replicas of that many would fit where."""

    async def restart(self, key: str) -> None:
        """Replace all replicas, one after the other, drained."""

    async def delete(self, key: str) -> None:
        """Drain and remove everything; returns once the wish is stored."""

    async def undo(self, key: str) -> Checked:
        """What taking the last change back would be; `apply` of `previous` does it."""

    async def previous(self, key: str) -> Manifest:
        """The spec before its last change; refused when there is none."""

    async def kill(self, replica: str) -> None:
        """SIGKILL a replica now; it comes back by itself."""

    async def restart_replica(self, replica: str) -> None:
        """Drain one replica and start it again."""
