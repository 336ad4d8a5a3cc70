"""A fleet in which nothing happens by itself, rows with what a test cares about, and eyes for what was painted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from textual.app import App
from textual.pilot import Pilot

from operator_embed.fleet.fleet import ContextView, EventView, FailureView, FleetError, FleetView, SourceView
from operator_embed.fleet.gpus import GpuProcessView, GpuView
from operator_embed.fleet.logs import LogLine
from operator_embed.fleet.models import (
    Applied,
    Checked,
    History,
    Manifest,
    ModelView,
    PlannedReplica,
    ReplicaView,
    Scale,
    ScalePreview,
    State,
)
from operator_embed.fleet.queues import DeadLetterView, QueueView
from operator_embed.fleet.requests import Piece

T = TypeVar("T")
NOW_S = 1_700_000_000.0
"""A Unix time; the tests' clock stands still there."""
BOX = ContextView(name="gpu-01", headline="live", leader_pid=4120, api_url="http://127.0.0.1:8080/v1")


def model(name: str, **fields: Any) -> ModelView:
    """A model that runs, with what a test cares about replaced."""
    runs = ModelView(
        key=f"default/{name}", version=1, name=name, model=name, engine="llama", topic=f"model-{name}", ready=1,
        desired=1, state=State.RUNNING, backlog=0, queued=0, in_flight=0, slots=1, req_s=0.0, tok_s=0.0,
        busy_pct=0.0, created_s=NOW_S - 3_600,
    )  # fmt: skip
    return replace(runs, **fields)


def replica(name: str, of: str, **fields: Any) -> ReplicaView:
    """A ready replica of the model `of`."""
    ready = ReplicaView(
        key=name, version=1, model=f"default/{of}", state="Ready", place="CPU", pid=4200, mem_mib=400.0, busy=0,
        slots=1, req_s=0.0, tok_s=0.0, started_s=NOW_S - 3_600,
    )  # fmt: skip
    return replace(ready, **fields)


def gpu(index: int, **fields: Any) -> GpuView:
    """An idle GPU of 80 GiB."""
    idle = GpuView(
        key=f"GPU-{index}f7723c0e", version=1, index=index, name="NVIDIA A100-SXM4-80GB", util_pct=0.0, used_mib=0.0,
        ours_mib=0.0, total_mib=81_920.0, power_w=60.0, power_limit_w=400.0, temp_c=40.0, sm_mhz=1_410.0,
        pcie="4 x16",
    )  # fmt: skip
    return replace(idle, **fields)


def gpu_process(pid: int, **fields: Any) -> GpuProcessView:
    """A process of ours on GPU 0."""
    ours = GpuProcessView(
        key=str(pid), version=1, gpus="0", pid=pid, user="us", name="llama-server", ours=True, used_mib=1_024.0,
        sm_pct=0.0, started_s=NOW_S - 3_600,
    )  # fmt: skip
    return replace(ours, **fields)


def queue(name: str, **fields: Any) -> QueueView:
    """An empty queue with one ready replica."""
    empty = QueueView(
        key=f"model-{name}", version=1, model=f"default/{name}", name=name, queued=0, in_flight=0, slots=1, in_s=0.0,
        out_s=0.0, ready=1, desired=1, autoscaler="off: fixed 1",
    )  # fmt: skip
    return replace(empty, **fields)


def failure(subject: str, reason: str, message: str = "", **fields: Any) -> FailureView:
    """Something severe that happened once, ten seconds ago."""
    bad = FailureView(
        key=f"{subject} {reason}", version=1, severe=True, since_s=NOW_S - 10, count=1, subject=subject, reason=reason,
        message=message,
    )  # fmt: skip
    return replace(bad, **fields)


def event(reason: str, message: str = "", **fields: Any) -> EventView:
    """Something ordinary that happened a minute ago."""
    happened = EventView(
        key=reason, version=1, at_s=NOW_S - 60, count=1, severe=False, warning=False, reason=reason, source="you",
        model="", message=message,
    )  # fmt: skip
    return replace(happened, **fields)


def source(key: str, status: str = "ok", text: str = "", **fields: Any) -> SourceView:
    """A part of the box that works."""
    return replace(SourceView(key=key, version=1, status=status, text=text), **fields)


def dead_letter(key: str, **fields: Any) -> DeadLetterView:
    """A request that timed out three times."""
    timed_out = DeadLetterView(
        key=key, version=1, topic="model-qwen3-32b", request_id=key, attempts=3, reason="EngineTimeout",
        error="no token for 120s", replica="qwen3-32b-x7k2q", body_bytes=31_900, died_s=NOW_S - 540,
    )  # fmt: skip
    return replace(timed_out, **fields)


class Facet:
    """Keeps what the user asked for, in order; refuses what a test told it to."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.refusals: dict[str, str] = {}
        """Sentence by name of the intent."""

    def take(self, intent: str, *parameters: Any) -> None:
        """Record an intent, or refuse it."""
        self.answer(intent)
        self.asked.append((intent, *parameters))

    def answer(self, question: str) -> None:
        """Refuse a question that a test wants refused."""
        if question in self.refusals:
            raise FleetError(self.refusals[question])


class StillModels(Facet):
    """AIModels that only remember what was wanted of them."""

    def __init__(self) -> None:
        super().__init__()
        self.manifests: dict[str, Manifest] = {}
        self.stored: Sequence[Mapping[str, Any]] = ()
        self.checked = Checked()
        self.planned = ScalePreview(wanted=1, lines=())

    async def apply(self, text: str, *, base_dir: str = ".", resource_version: str | None = None) -> Sequence[Applied]:
        self.take("apply", text, resource_version)
        return (Applied(key="default/applied", action="configured"),)

    async def check(self, text: str, *, base_dir: str = ".") -> Checked:
        self.answer("check")
        return self.checked

    async def manifest(self, key: str) -> Manifest:
        self.answer("manifest")
        if key in self.manifests:
            return self.manifests[key]
        name = key.partition("/")[2]
        yaml = f"kind: AIModel\nmetadata:\n  name: {name}\nspec:\n  replicas: 1\n"
        return Manifest(yaml=yaml, status_yaml="status:\n  state: Running\n", resource_version="7")

    async def objects(self) -> Sequence[Mapping[str, Any]]:
        self.answer("objects")
        return self.stored

    async def scale(self, key: str, change: Scale) -> None:
        self.take("scale", key, change)

    async def preview(self, key: str, change: Scale) -> ScalePreview:
        self.answer("preview")
        if self.planned.lines:
            return self.planned
        wanted = change.replicas or change.max_replicas or 1
        lines = (
            PlannedReplica(number=n, name="", place="CPU", mem_mib=400.0, estimated=True, fits=True, text="fits")
            for n in range(1, wanted + 1)
        )
        return ScalePreview(wanted=wanted, lines=tuple(lines))

    async def restart(self, key: str) -> None:
        self.take("restart", key)

    async def delete(self, key: str) -> None:
        self.take("delete", key)

    async def undo(self, key: str) -> Checked:
        self.take("undo", key)
        return self.checked

    async def previous(self, key: str) -> Manifest:
        return await self.manifest(key)

    async def kill(self, replica: str) -> None:
        self.take("kill", replica)

    async def restart_replica(self, replica: str) -> None:
        self.take("restart_replica", replica)


class StillGpus(Facet):
    async def kill(self, pid: int) -> None:
        self.take("kill", pid)


class StillQueues(Facet):
    """Queues whose dead letters a test lays out."""

    def __init__(self) -> None:
        super().__init__()
        self.letters: dict[str, tuple[DeadLetterView, ...]] = {}

    async def dead(self, topic: str) -> Sequence[DeadLetterView]:
        self.answer("dead")
        return self.letters.get(topic, ())

    async def requeue(self, topic: str, keys: Sequence[str]) -> int:
        self.take("requeue", topic, tuple(keys))
        return len(keys)

    async def discard(self, topic: str, keys: Sequence[str]) -> int:
        self.take("discard", topic, tuple(keys))
        return len(keys)

    async def purge(self, topic: str) -> int:
        self.take("purge", topic)
        return 1


class StillLogs(Facet):
    """Logs that a test writes with `write`."""

    def __init__(self) -> None:
        super().__init__()
        self.by_source: dict[str, list[LogLine]] = {}
        self.changed = asyncio.Condition()

    async def write(self, *lines: LogLine) -> None:
        """Append lines and wake who follows."""
        for line in lines:
            self.by_source.setdefault(line.source, []).append(line)
        async with self.changed:
            self.changed.notify_all()

    async def sources(self, model: str) -> Sequence[str]:
        self.answer("sources")
        return tuple(self.by_source)

    async def follow(
        self, sources: Sequence[str], *, tail: int = 1_000, previous: bool = False, follow: bool = True
    ) -> AsyncIterator[Sequence[LogLine]]:
        self.take("follow", tuple(sources), previous)
        seen = dict.fromkeys(sources, 0)
        while True:
            fresh = [line for name in sources for line in self.by_source.get(name, [])[seen[name] :]]
            seen = {name: len(self.by_source.get(name, [])) for name in sources}
            if fresh:
                yield fresh
            elif follow:
                async with self.changed:
                    await self.changed.wait()
            if not follow:
                return


class StillRequests(Facet):
    """Answers with the pieces a test laid out, and waits at the end while `held`."""

    base_url = "http://127.0.0.1:8080/v1"

    def __init__(self) -> None:
        super().__init__()
        self.pieces: Sequence[Piece] = (Piece(text="Hello"), Piece(finish="stop", ttft_s=0.2, tok_s=41.0))
        self.cancelled = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def chat(
        self,
        model: str,
        messages: Sequence[tuple[str, str]],
        *,
        temperature: float | None = None,
        max_tokens: int | None = None,
    ) -> AsyncIterator[Piece]:
        self.take("chat", model, tuple(messages), temperature)
        answered = False
        try:
            for piece in self.pieces:
                yield piece
            await self.go_on.wait()
            answered = True
        finally:
            self.cancelled += not answered


class StillFleet:
    """A fleet in which nothing happens by itself; `show` is what the world does."""

    def __init__(self, *models: ModelView, read_only: bool = False, **fields: Any) -> None:
        self.models = StillModels()
        self.gpus = StillGpus()
        self.queues = StillQueues()
        self.logs = StillLogs()
        self.requests = StillRequests()
        self.read_only = read_only
        self.histories: dict[str, History] = {}
        """Samples by series; the rest is all gaps."""
        self.refreshed = 0
        self._view = FleetView(**{"context": BOX, "models": models, "at_s": NOW_S, **fields})
        self._followers: list[asyncio.Event] = []

    def view(self) -> FleetView:
        return self._view

    def history(self, series: str, span_s: float, points: int, end_s: float | None = None) -> History:
        back = 0 if end_s is None else round((self._view.at_s - end_s) * points / span_s)
        samples = self.histories.get(series, ())
        samples = samples[: len(samples) - back][-points:]
        return (None,) * (points - len(samples)) + samples

    async def changes(self) -> AsyncIterator[None]:
        self._followers.append(changed := asyncio.Event())
        while await changed.wait():
            changed.clear()
            yield

    async def refresh(self) -> None:
        self.refreshed += 1

    def show(self, *models: ModelView, **fields: Any) -> None:
        """Put other rows in the view; what is not named stays as it was, the models too when none are given."""
        now = {name: getattr(self._view, name) for name in FleetView.__dataclass_fields__}
        self._view = FleetView(**{**now, **({"models": models} if models else {}), **fields})
        for changed in self._followers:
            changed.set()


def painted(app: App[T]) -> list[str]:
    """The lines on the screen, as painted."""
    return [strip.text for strip in app.screen._compositor.render_strips()]


async def until(pilot: Pilot[T], happened: Callable[[], object]) -> None:
    """Let the app run until `happened`; fails after 10 s."""
    async with asyncio.timeout(10):
        while not happened():
            await pilot.pause()


async def shows(pilot: Pilot[T], text: str) -> None:
    """Let the app run until a line on the screen holds `text`."""
    await until(pilot, lambda: any(text in line for line in painted(pilot.app)))
