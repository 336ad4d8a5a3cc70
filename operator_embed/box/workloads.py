"""Replicas on a box: worker processes, each placed on GPUs or the CPU, started and retired to match an AIModel."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from operator_embed.aimodel import AIModel
from operator_embed.box.ledger import Ledger
from operator_embed.box.needs import Missing
from operator_embed.box.replica_logs import drop_logs
from operator_embed.box.replicas import replica_of
from operator_embed.box.rollout import Running, plan
from operator_embed.box.worker_spec import hold_of, template_of, worker_spec
from operator_embed.reconcile import ANSWERING, Observed, Phase, Replica
from worker_embed.gpu.placement import Need, Placed, Refused, place, promised
from worker_embed.process import spec as process
from worker_embed.process.liveness import awake
from worker_embed.process.spec import Processes, ProcessSpec, ProcessState

SAY_AGAIN_S = 10.0
"""A reason with other figures is worth another write so often."""
SUFFIX_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
LOGS_KEPT = 10
"""Replicas that are gone and whose logs can still be read, of each AIModel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A replica that should run and has no process yet."""

    reason: str
    message: str
    since_s: float
    told_s: float = 0.0
    """When the message was new: its figures move all the time."""


@dataclass(slots=True)
class Workloads:
    """All workers of a box; `converge` takes one step for one AIModel and says what it found."""

    ledger: Ledger
    processes: Processes
    now: Callable[[], float]
    waiting: dict[str, dict[str, Waiting]] = field(default_factory=dict)
    """By key of the AIModel, then by name of the replica."""
    stopping: bool = False
    """The box is being stopped: nothing is to run, whatever is wanted."""
    _retiring: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    """By name; a process is not seen to stop at once."""
    _strange: set[str] = field(default_factory=set)
    """Adopted workers that would be started otherwise today, by another Python for example."""

    def converge(
        self, model: AIModel, wanted: int, need: Need | Missing | None, *, queue_trouble: str = ""
    ) -> Observed:
        """Start and retire what one step allows; call it again when a worker's state has changed.

        While there is `queue_trouble`, a text for users, nothing is started.
        """
        template = template_of(model, self.ledger.queue_url)
        waiting = self.waiting.setdefault(model.key, {})
        lost = self.ledger.lost()
        ours = [state for state in self.states(model.key) if state.labels.get("uid") == model.uid]
        running = [self._running(state, lost) for state in ours]
        running += [Running(name=name, template=template, waiting=True) for name in waiting]
        old = [r.name for r in running if r.template != template]
        step = plan(0 if self.stopping else wanted, running, template, crowded=self._crowded(waiting, need, old))
        for name in step.retire:
            if waiting.pop(name, None) is None:
                self._retire(name)
        for state in self.states(model.key):
            if state.labels.get("uid") != model.uid:
                self._retire(state.id)
        for _ in range(step.start):
            waiting[self._new_name(model.name)] = Waiting(reason="Starting", message="", since_s=self.now())
        fits = self._start_waiting(model, template, need, lost, queue_trouble)
        if not waiting:
            del self.waiting[model.key]
        return Observed(replicas=self._replicas(model, template, lost), fits=fits)

    def states(self, key: str) -> list[ProcessState]:
        """The worker processes of one AIModel."""
        return [state for state in self.ledger.workers().values() if state.labels.get("model") == key]

    def reads(self, topic: str) -> bool:
        """Whether a worker takes requests from there, of an older spec perhaps."""
        return any(state.labels.get("topic") == topic for state in self.ledger.workers().values())

    def short(self) -> set[str]:
        """Keys of the AIModels that wait for room."""
        return {key for key, waiting in self.waiting.items() if _short(waiting)}

    def resume(self, model: AIModel) -> None:
        """Ask for the workers of `model` that were adopted; those that differ are replaced, one after the other."""
        for state in self.states(model.key):
            hold = hold_of(state.labels)
            placed = Placed(uuids=hold.gpus, each_mib=hold.each_mib, left_mib=0.0)
            spec = self._spec(model, state.id, state.labels["template"], placed)
            if spec.spec_hash == state.spec_hash:
                self.processes.run(spec)
            else:
                self._strange.add(state.id)

    def keep_only(self, keys: Collection[str]) -> None:
        """Retire the workers of AIModels that are not there any more."""
        for state in self.ledger.workers().values():
            if state.labels.get("model") not in keys:
                self._retire(state.id)

    def forget(self, model: AIModel) -> None:
        """The AIModel is gone, and its logs go too."""
        self.waiting.pop(model.key, None)
        drop_logs(self.ledger.home.logs, model.name, self.ledger.workers(), keep=0)

    def close(self) -> None:
        """Wait for no process any more; what is being retired is the next leader's."""
        for task in self._retiring.values():
            task.cancel()

    def _start_waiting(
        self, model: AIModel, template: str, need: Need | Missing | None, lost: Mapping[str, str], queue_trouble: str
    ) -> int | None:
        """Give each waiting replica a place, or a reason; returns how many replicas fit where that is limited."""
        waiting, rooms = self.waiting[model.key], self.ledger.rooms()
        staying = (s for s in self.states(model.key) if s.phase is not process.Phase.STOPPING and s.id not in lost)
        placed, refused = sum(1 for _ in staying), None
        for name in list(waiting):
            if isinstance(need, Missing):
                self._wait(waiting, name, need.reason, need.message)
            elif need is not None and rooms is not None:
                found = refused or place(replace(need, who=f"replica {placed + 1}"), rooms)
                if isinstance(found, Refused):
                    refused = found
                    self._wait(waiting, name, "NothingFits", found.reason)
                elif queue_trouble:
                    self._wait(waiting, name, "QueueDown", queue_trouble)
                else:
                    del waiting[name]
                    self.processes.run(self._spec(model, name, template, found))
                    placed, rooms = placed + 1, promised(rooms, found)
        return placed if refused else None

    def _crowded(self, waiting: Mapping[str, Waiting], need: Need | Missing | None, old: Collection[str]) -> bool:
        """Whether one waits for room that there would be without the old ones."""
        rooms = self.ledger.rooms()
        if rooms is None or not isinstance(need, Need) or not _short(waiting):
            return False
        return isinstance(place(need, rooms), Refused) and isinstance(
            place(need, self.ledger.without(rooms, old)), Placed
        )

    def _wait(self, waiting: dict[str, Waiting], name: str, reason: str, message: str) -> None:
        before, now_s = waiting[name], self.now()
        if before.reason != reason:
            waiting[name] = Waiting(reason=reason, message=message, since_s=now_s, told_s=now_s)
        elif before.message != message and now_s - before.told_s >= SAY_AGAIN_S:
            waiting[name] = replace(before, message=message, told_s=now_s)

    def _retire(self, name: str) -> None:
        if name not in self._retiring:
            task = self._retiring[name] = asyncio.get_running_loop().create_task(self.processes.retire(name))
            task.add_done_callback(partial(self._retired, name))

    def _retired(self, name: str, task: asyncio.Task[None]) -> None:
        del self._retiring[name]
        self._strange.discard(name)
        if not task.cancelled():
            drop_logs(self.ledger.home.logs, name.rpartition("-")[0], self.ledger.workers(), keep=LOGS_KEPT)

    def _spec(self, model: AIModel, name: str, template: str, placed: Placed) -> ProcessSpec:
        def state() -> ProcessState | None:
            return self.processes.states().get(name)

        def pid() -> int | None:
            return found.pid if (found := state()) else None

        async def ready() -> bool:
            return (found := state()) is not None and found.change is not None and found.change.reason == "Ready"

        return worker_spec(
            model,
            name,
            placed,
            home=self.ledger.home,
            queue_url=self.ledger.queue_url,
            template=template,
            ready=ready,
            alive=awake(pid),
        )

    def _running(self, state: ProcessState, lost: Mapping[str, str]) -> Running:
        figures = self.ledger.telemetry.workers.get(state.id)
        replica = replica_of(state)
        stops = state.phase is process.Phase.STOPPING or state.id in self._retiring
        return Running(
            name=state.id,
            template="" if state.id in lost else self._template(state),
            ready=replica.phase in ANSWERING and not replica.reason and state.id not in lost,
            leaving=stops or replica.phase is Phase.DRAINING,
            started_s=state.started_s,
            busy=figures.beat.busy if figures else 0,
        )

    def _replicas(self, model: AIModel, template: str, lost: Mapping[str, str]) -> tuple[Replica, ...]:
        replicas = [
            replace(replica_of(state), reason="GPULost", message=lost[state.id], ready_s=None)
            if state.id in lost
            else replica_of(state, current=self._template(state) == template)
            for state in self.states(model.key)
        ]
        for name, why in self.waiting.get(model.key, {}).items():
            replicas.append(
                Replica(name=name, phase=Phase.PENDING, reason=why.reason, message=why.message, since_s=why.since_s)
            )
        return tuple(sorted(replicas, key=lambda r: r.name))

    def _template(self, state: ProcessState) -> str:
        return "" if state.id in self._strange else state.labels["template"]

    def _new_name(self, model: str) -> str:
        while True:
            name = f"{model}-{''.join(secrets.choice(SUFFIX_LETTERS) for _ in range(5))}"
            if name not in self.processes.states():
                return name


def _short(waiting: Mapping[str, Waiting]) -> bool:
    return any(w.reason == "NothingFits" for w in waiting.values())
