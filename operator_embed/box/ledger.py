"""Memory of a box: what the replicas were given, what they were seen to take, and what one more would need."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from operator_embed.aimodel import AIModel, Engine
from operator_embed.box.facts import Hold, claims
from operator_embed.box.footprints import Footprints, kind
from operator_embed.box.home import Home
from operator_embed.box.needs import Missing, engine_of, need_of
from operator_embed.box.telemetry import Telemetry
from operator_embed.box.worker_spec import ROLE, hold_of, template_of
from worker_embed.engines.llama_build import LlamaBuild
from worker_embed.gpu.placement import Need, Placed, Rooms, promised, rooms_of
from worker_embed.gpu.samples import ASKING
from worker_embed.process.spec import Phase, Processes, ProcessState


@dataclass(slots=True)
class Ledger:
    """Asked by whoever starts replicas; figures of the sampler beside what was promised."""

    home: Home
    processes: Processes
    telemetry: Telemetry
    queue_url: str
    llama: LlamaBuild | None = None
    """`None` until it was asked."""
    footprints: Footprints = field(default_factory=Footprints)

    def workers(self) -> dict[str, ProcessState]:
        """The worker processes of all AIModels by name."""
        return {name: state for name, state in self.processes.states().items() if state.role == ROLE}

    def holds(self) -> dict[str, Hold]:
        """What each worker process was given."""
        return {name: hold_of(state.labels) for name, state in self.workers().items()}

    def rooms(self) -> Rooms | None:
        """What the GPUs and the host can still hold; `None` before it is known whether there are GPUs."""
        sample = self.telemetry.sample
        if sample is None or (sample.notice == ASKING and not sample.gpus):
            return None
        return rooms_of(sample, claims(self.holds(), self.processes.states()))

    def without(self, rooms: Rooms, leaving: Iterable[str]) -> Rooms:
        """`rooms` as if these workers had gone."""
        holds, states = self.holds(), self.processes.states()
        for name in leaving:
            hold = holds[name]
            used_mib = self.telemetry.memory_mib({states[name].pid or 0}, on_gpu=bool(hold.gpus)) or 0.0
            freed_mib = max(hold.each_mib, used_mib / max(1, len(hold.gpus)))
            rooms = promised(rooms, Placed(uuids=hold.gpus, each_mib=-freed_mib, left_mib=0.0))
        return rooms

    async def need(self, model: AIModel) -> Need | Missing | None:
        """What one more replica takes, by measure where there was one like it; `None` before that can be told.

        Its weights are looked at in a thread: a disk may take its time, and the loop of the engine must not.
        """
        rooms, has_weights = self.rooms(), engine_of(model) == Engine.LLAMA
        if rooms is None or (self.llama is None and has_weights):
            return None
        llama, has_gpus = self.llama or LlamaBuild(), bool(rooms.gpus)
        ask = partial(need_of, model, self.home.weights, llama, has_gpus=has_gpus)
        need = await asyncio.to_thread(ask) if has_weights else ask()
        if isinstance(need, Missing):
            return need
        asked = int(has_gpus) if need.gpus is None else need.gpus
        number = asked if isinstance(asked, int) else len(asked)
        peak_mib = self.footprints.peak_mib.get(kind(template_of(model, self.queue_url), number))
        return need if peak_mib is None else replace(need, mem_mib=peak_mib, estimated=False)

    def learn(self) -> set[str]:
        """Note what ready replicas take; the keys of the AIModels for which that was news."""
        news = set()
        for state in self.workers().values():
            if state.phase is Phase.READY and state.pid is not None:
                gpus = hold_of(state.labels).gpus
                used_mib = self.telemetry.memory_mib({state.pid}, on_gpu=bool(gpus))
                if used_mib and self.footprints.saw(kind(state.labels["template"], len(gpus)), used_mib):
                    news.add(state.labels["model"])
        return news

    def lost(self) -> Mapping[str, str]:
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
