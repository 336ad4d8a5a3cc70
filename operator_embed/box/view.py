"""Everything that a screen needs at one moment, made from what the engine knows."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from operator_embed.aimodel import AIModel
from operator_embed.box import gpu_rows
from operator_embed.box.facts import Facts
from operator_embed.box.failures import failures
from operator_embed.box.model_figures import Figures, figures_of
from operator_embed.box.model_rows import model_row, replica_row
from operator_embed.box.queue_rows import queue_row
from operator_embed.box.roster import oldest
from operator_embed.box.rows import Rows
from operator_embed.fleet.fleet import ContextView, EventView, FailureView, FleetView, SourceView
from operator_embed.fleet.gpus import GpuProcessView, GpuView
from operator_embed.fleet.models import ModelView, ReplicaView
from operator_embed.fleet.queues import QueueView


class Made(NamedTuple):
    """A row, and what it was made from."""

    model: AIModel
    figures: Figures
    row: ModelView


class ViewBuilder:
    """Builds one view after the other, so that unchanged rows can be told from changed ones."""

    def __init__(self) -> None:
        versions = itertools.count(time.time_ns() // 1_000)
        self._made: dict[str, Made] = {}
        """By key of the AIModel."""
        self._models: Rows[ModelView] = Rows(lambda: next(versions))
        self._replicas: Rows[ReplicaView] = Rows(lambda: next(versions))
        self._queues: Rows[QueueView] = Rows(lambda: next(versions))
        self._gpus: Rows[GpuView] = Rows(lambda: next(versions))
        self._processes: Rows[GpuProcessView] = Rows(lambda: next(versions))
        self._failures: Rows[FailureView] = Rows(lambda: next(versions))
        self._events: Rows[EventView] = Rows(lambda: next(versions))
        self._sources: Rows[SourceView] = Rows(lambda: next(versions))

    def build(self, facts: Facts, now_s: float) -> FleetView:
        """The view at Unix time `now_s`."""
        models = self._models.keep(self._model_rows(facts, now_s))
        queues = self._queues.keep([queue_row(model, facts, now_s) for model in _one_a_queue(facts.models)])
        gpus = self._gpus.keep(gpu_rows.gpu_rows(facts, now_s))
        replicas = [
            replica_row(model, replica, facts, now_s)
            for model in facts.models
            if model.key in facts.observed
            for replica in facts.observed[model.key].replicas
        ]
        return FleetView(
            context=_context(facts, gpus, now_s),
            models=models,
            replicas=self._replicas.keep(replicas),
            queues=queues,
            gpus=gpus,
            gpu_processes=self._processes.keep(gpu_rows.process_rows(facts, now_s)),
            gpu_panel=gpu_rows.panel(facts, now_s),
            host=gpu_rows.host_view(facts),
            failures=self._failures.keep(failures(facts, models, queues, gpus, now_s)),
            events=self._events.keep(facts.news.events),
            sources=self._sources.keep(facts.sources),
            at_s=now_s,
        )

    def _model_rows(self, facts: Facts, now_s: float) -> list[ModelView]:
        """Most AIModels of a large box do nothing, and their rows are not made again."""
        before, self._made = self._made, {}
        for model in facts.models:
            figures = figures_of(model, facts, now_s)
            made = before.get(model.key)
            if made is None or made.model is not model or made.figures != figures:
                made = Made(model, figures, model_row(model, figures))
            self._made[model.key] = made
        return [made.row for made in self._made.values()]


def _one_a_queue(models: Iterable[AIModel]) -> Iterator[AIModel]:
    """The one that scales on it, or any where all are being deleted."""
    on: dict[str, list[AIModel]] = {}
    for model in models:
        on.setdefault(model.topic, []).append(model)
    return (oldest(several) or several[0] for several in on.values())


def _context(facts: Facts, gpus: tuple[GpuView, ...], now_s: float) -> ContextView:
    headline, tone = "live", ""
    if facts.queue_down_s is not None:
        headline, tone = f"QUEUE DOWN {now_s - facts.queue_down_s:.0f}s", "error"
    elif facts.api_down_s is not None:
        headline, tone = f"API DOWN {now_s - facts.api_down_s:.0f}s", "error"
    elif starting := [source.key for source in facts.sources if source.status == ".."]:
        headline, tone = f"loading: {', '.join(starting)}", "warning"
    elif any(gpu.name.startswith("FAKE ") for gpu in gpus):
        headline, tone = "FAKE GPU", "warning"
    elif facts.serve:
        headline = "serve leads"
    return ContextView(
        name=facts.name,
        kind="box",
        headline=headline,
        tone=tone,
        leader_pid=facts.pid,
        leader_is_serve=facts.serve,
        api_url=facts.api_url,
        queue=f"nats on {facts.queue_text}" if facts.queue_text else "",
    )
