"""The AIModel resource: the original's eight fields, ours beside them, and nothing of how it is stored or run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

GROUP = "model.youxam.com"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "AIModel"
PLURAL = "aimodels"
RESTARTED_AT = "uplion.io/restartedAt"
"""Annotation whose change replaces all replicas, one after the other."""
PAUSED = "uplion.io/paused"
"""Annotation that holds the autoscaler at the number of replicas it has; its value is that number."""
DEFAULT_MAX_PROCESS_NUM = 128


class Engine(StrEnum):
    """What runs the model."""

    AUTO = "auto"
    LLAMA = "llama"
    REMOTE = "remote"
    STATIC = "static"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """`spec` of an AIModel; `None` is "not set", and defaults are applied where they are used."""

    type: str
    model: str
    image: str | None = None
    replicas: int | None = None
    base_url: str | None = None
    api_key: str | None = None
    """Never stored: `apply` moves it into a file and leaves `api_key_from`."""
    max_process_num: int | None = None
    msg_backlog_threshold: int | None = None
    engine: Engine = Engine.AUTO
    source: str | None = None
    context_length: int | None = None
    parallel: int | None = None
    gpus: int | tuple[str, ...] | None = None
    """How many GPUs a replica needs, or which ones by UUID; `None` takes one when the box has one that fits."""
    min_replicas: int | None = None
    max_replicas: int | None = None
    cooldown_seconds: int | None = None
    api_key_from: str | None = None
    """`env:NAME` or `file:PATH` as the user wrote it, `secret:NAME` once stored."""

    @property
    def slots(self) -> int:
        """Most requests that one replica works on at once; engines may do with fewer."""
        most = self.max_process_num or DEFAULT_MAX_PROCESS_NUM
        return min(most, self.parallel) if self.parallel else most

    @property
    def slots_known(self) -> bool:
        """False where the engine decides how many requests it works on at once."""
        return self.parallel is not None or self.max_process_num is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition as on Kubernetes."""

    type: str
    status: bool
    reason: str
    message: str = ""
    since_s: float = 0.0
    """Unix time of the last change of `status` or `reason`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What the reconcile loop found; `state` and `message` are the original's."""

    state: str = ""
    message: str = ""
    ready: int = 0
    desired: int = 0
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()
    epoch: int = 0
    """Term of the leader that wrote it; an older term's write is refused."""

    def condition(self, type: str) -> Condition | None:
        """The condition of that type, if it was ever set."""
        return next((c for c in self.conditions if c.type == type), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class AIModel:
    """One AIModel with its metadata."""

    namespace: str
    name: str
    spec: Spec
    uid: str = ""
    generation: int = 1
    resource_version: str = ""
    created_s: float = 0.0
    deleted_s: float | None = None
    """Unix time of `deletionTimestamp`."""
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    status: Status = Status()

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    @property
    def topic(self) -> str:
        """The queue that its replicas read, by the original's naming."""
        return f"model-{self.spec.model}"

    @property
    def stopped(self) -> bool:
        """`replicas: 0` by the user; under an autoscaler `replicas` has no say."""
        return self.spec.replicas == 0 and self.spec.msg_backlog_threshold is None

    def annotation(self, name: str) -> str | None:
        """An annotation's value, if it is there."""
        return next((value for key, value in self.annotations if key == name), None)
