"""Replicas on a box: worker processes, each placed on GPUs or the CPU, started and retired to match an AIModel."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from operator_embed.aimodel import RESTARTED_AT, AIModel, Engine
from operator_embed.box.facts import Hold, claims
from operator_embed.box.footprints import Footprints, kind
from operator_embed.box.home import Home
from operator_embed.box.needs import Missing, engine_of, need_of
from operator_embed.box.replicas import replica_of
from operator_embed.box.rollout import Running, plan
from operator_embed.box.telemetry import Telemetry
from operator_embed.reconcile import ANSWERING, Observed, Phase, Replica
from operator_embed.worker_env import Place, worker_env
from worker_embed.engines.llama_build import LlamaBuild
from worker_embed.gpu.placement import Need, Placed, Refused, Rooms, pin_env, place, rooms_of
from worker_embed.gpu.samples import ASKING
from worker_embed.process import spec as process
from worker_embed.process.spec import ProcessSpec, ProcessState
from worker_embed.process.supervisor import Supervisor

ROLE = "worker"
SAY_AGAIN_S = 10.0
"""A reason with other figures is worth another write so often."""
SUFFIX_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


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

    home: Home
    supervisor: Supervisor
    telemetry: Telemetry
    queue_url: str
    now: Callable[[], float]
    llama: LlamaBuild | None = None
    """`None` until it was asked."""
    footprints: Footprints = field(default_factory=Footprints)
    waiting: dict[str, dict[str, Waiting]] = field(default_factory=dict)
    """By key of the AIModel, then by name of the replica."""
    _retiring: set[asyncio.Task[None]] = field(default_factory=set)

    def converge(self, model: AIModel, wanted: int, *, queue_ready: bool) -> Observed:
        """Start and retire what one step allows; call it again when a worker's state has changed."""
        template = self._template(model)
        waiting = self.waiting.setdefault(model.key, {})
        lost = self.lost()
        running = [
            self._running(state, lost) for state in self.states(model.key) if state.labels.get("uid") == model.uid
        ]
        running += [Running(name=name, template=template) for name in waiting]
        step = plan(wanted, running, template, room=model.key not in self.short())
        for name in step.retire:
            if waiting.pop(name, None) is None:
                self._retire(name)
        for state in self.states(model.key):
            if state.labels.get("uid") != model.uid and state.phase is not process.Phase.STOPPING:
                self._retire(state.id)
        for _ in range(step.start):
            waiting[self._new_name(model.name)] = Waiting(reason="Starting", message="", since_s=self.now())
        fits = self._start_waiting(model, template, queue_ready, lost)
        if not waiting:
            del self.waiting[model.key]
        return Observed(replicas=self._replicas(model, template, lost), fits=fits)

    def states(self, key: str) -> list[ProcessState]:
        """The worker processes of one AIModel."""
        return [s for s in self.supervisor.states().values() if s.role == ROLE and s.labels.get("model") == key]

    def holds(self) -> dict[str, Hold]:
        """What each worker process was given."""
        return {s.id: _hold(s.labels) for s in self.supervisor.states().values() if s.role == ROLE}

    def rooms(self) -> Rooms | None:
        """What the GPUs and the host can still hold; `None` before it is known whether there are GPUs."""
        sample = self.telemetry.sample
        if sample is None or (sample.notice == ASKING and not sample.gpus):
            return None
        return rooms_of(sample, claims(self.holds(), self.supervisor.states()))

    def need(self, model: AIModel) -> Need | Missing | None:
        """What one more replica takes, by measure where there was one like it; `None` before that can be told."""
        rooms = self.rooms()
        if rooms is None or (self.llama is None and engine_of(model) == Engine.LLAMA):
            return None
        need = need_of(model, self.home.weights, self.llama or LlamaBuild(), has_gpus=bool(rooms.gpus))
        if isinstance(need, Missing):
            return need
        asked = int(bool(rooms.gpus)) if need.gpus is None else need.gpus
        number = asked if isinstance(asked, int) else len(asked)
        peak_mib = self.footprints.peak_mib.get(kind(self._template(model), number))
        return need if peak_mib is None else replace(need, mem_mib=peak_mib, estimated=False)

    def short(self) -> set[str]:
        """Keys of the AIModels that wait for room."""
        return {
            key for key, waiting in self.waiting.items() if any(w.reason == "NothingFits" for w in waiting.values())
        }

    def learn(self) -> set[str]:
        """Note what ready replicas take; the keys of the AIModels for which that was news."""
        holds = self.holds()
        news = set()
        for state in self.supervisor.states().values():
            if state.role == ROLE and state.phase is process.Phase.READY and state.pid is not None:
                gpus = holds[state.id].gpus
                used_mib = self.telemetry.memory_mib({state.pid}, on_gpu=bool(gpus))
                if used_mib and self.footprints.saw(kind(state.labels["template"], len(gpus)), used_mib):
                    news.add(state.labels["model"])
        return news

    def lost(self) -> dict[str, str]:
        """Why a replica cannot go on, by replica: the driver has lost a GPU that it was given."""
        sample = self.telemetry.sample
        if sample is None or sample.notice:
            return {}
        here = {gpu.uuid: f"GPU {gpu.index} is lost: {gpu.lost}" if gpu.lost else "" for gpu in sample.gpus}
        found = {}
        for name, hold in self.holds().items():
            reasons = (here.get(uuid, f"the driver does not list {uuid} any more") for uuid in hold.gpus)
            if reason := next(filter(None, reasons), ""):
                found[name] = reason
        return found

    def forget(self, key: str) -> None:
        """The AIModel is gone."""
        self.waiting.pop(key, None)

    def _start_waiting(self, model: AIModel, template: str, queue_ready: bool, lost: Mapping[str, str]) -> int | None:
        """Give each waiting replica a place, or a reason; returns how many replicas fit where that is limited."""
        waiting = self.waiting[model.key]
        fits: int | None = None
        need = self.need(model)
        for name in list(waiting):
            stay = [s for s in self.states(model.key) if s.phase is not process.Phase.STOPPING and s.id not in lost]
            placed, rooms = len(stay), self.rooms()
            if isinstance(need, Missing):
                self._wait(waiting, name, need.reason, need.message)
                continue
            if need is None or rooms is None:
                continue
            found = place(replace(need, who=f"replica {placed + 1}"), rooms)
            if isinstance(found, Refused):
                self._wait(waiting, name, "NothingFits", found.reason)
                fits = placed
            elif not queue_ready:
                self._wait(waiting, name, "QueueDown", "the queue does not answer")
            else:
                del waiting[name]
                self.supervisor.run(self._spec(model, name, template, found))
        return fits

    def _wait(self, waiting: dict[str, Waiting], name: str, reason: str, message: str) -> None:
        before, now_s = waiting[name], self.now()
        if before.reason != reason:
            waiting[name] = Waiting(reason=reason, message=message, since_s=now_s, told_s=now_s)
        elif before.message != message and now_s - before.told_s >= SAY_AGAIN_S:
            waiting[name] = replace(before, message=message, told_s=now_s)

    def _retire(self, name: str) -> None:
        task = asyncio.get_running_loop().create_task(self.supervisor.retire(name))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def _spec(self, model: AIModel, name: str, template: str, placed: Placed) -> ProcessSpec:
        env = worker_env(model, self._place(model, name, placed))
        events = self.home.procs / f"{name}.events"

        async def ready() -> bool:
            state = self.supervisor.states().get(name)
            return state is not None and state.change is not None and state.change.reason == "Ready"

        return ProcessSpec(
            id=name,
            role=ROLE,
            argv=(sys.executable, "-m", "worker_embed"),
            env=env,
            ready=ready,
            log=self.home.logs / f"{name}.out",
            events=events,
            labels={
                "model": model.key,
                "uid": model.uid,
                "template": template,
                "gpus": ",".join(placed.uuids),
                "each_mib": f"{placed.each_mib:.1f}",
            },
        )

    def resume(self, model: AIModel) -> None:
        """Ask for the workers of `model` that were adopted, as they were started."""
        for state in self.states(model.key):
            hold = _hold(state.labels)
            placed = Placed(uuids=hold.gpus, each_mib=hold.each_mib, left_mib=0.0)
            spec = self._spec(model, state.id, state.labels["template"], placed)
            if spec.spec_hash == state.spec_hash:
                self.supervisor.run(spec)

    def _place(self, model: AIModel, name: str, placed: Placed) -> Place:
        secret = (model.spec.api_key_from or "").removeprefix("secret:")
        procs = self.home.procs
        return Place(
            queue_url=self.queue_url,
            queue_token_file=self.home.nats / "token",
            api_key_file=self.home.secrets / f"{secret}.key" if secret else None,
            weights=self.home.weights,
            log=self.home.logs / f"{name}.log",
            events=procs / f"{name}.events",
            beat=self.home.beat_socket,
            inflight=procs / f"{name}.inflight",
            devices=pin_env(placed),
        )

    def _template(self, model: AIModel) -> str:
        """Changes with all that a running worker cannot take over."""
        env = worker_env(model, Place(queue_url=self.queue_url))
        text = json.dumps(
            [sorted(env.items()), model.spec.gpus, model.spec.api_key_from, model.annotation(RESTARTED_AT)]
        )
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def _running(self, state: ProcessState, lost: Mapping[str, str]) -> Running:
        figures = self.telemetry.workers.get(state.id)
        replica = replica_of(state, "")
        return Running(
            name=state.id,
            template="" if state.id in lost else state.labels["template"],
            ready=replica.phase in ANSWERING and not replica.reason and state.id not in lost,
            leaving=state.phase is process.Phase.STOPPING or replica.phase is Phase.DRAINING,
            started_s=state.started_s,
            busy=figures.beat.busy if figures else 0,
        )

    def _replicas(self, model: AIModel, template: str, lost: Mapping[str, str]) -> tuple[Replica, ...]:
        replicas = [
            replace(replica_of(state, template), reason="GPULost", message=lost[state.id], ready_s=None)
            if state.id in lost
            else replica_of(state, template)
            for state in self.states(model.key)
        ]
        for name, why in self.waiting.get(model.key, {}).items():
            replicas.append(
                Replica(name=name, phase=Phase.PENDING, reason=why.reason, message=why.message, since_s=why.since_s)
            )
        return tuple(sorted(replicas, key=lambda r: r.name))

    def _new_name(self, model: str) -> str:
        while True:
            name = f"{model}-{''.join(secrets.choice(SUFFIX_LETTERS) for _ in range(5))}"
            if name not in self.supervisor.states():
                return name


def _hold(labels: Mapping[str, str]) -> Hold:
    gpus = tuple(uuid for uuid in labels.get("gpus", "").split(",") if uuid)
    return Hold(gpus=gpus, each_mib=float(labels.get("each_mib", 0)))
