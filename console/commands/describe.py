"""`uplion describe`: all about AIModels, as text to read."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from console.commands.box import chosen, in_shell, on_box, warn_unled
from console.commands.events import OF_MODEL, WIDEST
from console.commands.table import laid_out, table, widths
from operator_embed.box.fleet import BoxFleet
from operator_embed.fleet.fleet import FleetView
from operator_embed.fleet.models import ModelView, ReplicaView
from screens.format import age, count, gib, rate, safe_text, stale
from screens.tones import model_word

KEY_CELLS = 18
EVENTS = 20
WIDTH = 100


def describe(options: argparse.Namespace) -> int:
    """Print one block a model."""

    async def act(fleet: BoxFleet) -> int:
        view = await fleet.known()
        warn_unled(view)
        objects = {f"{o['metadata']['namespace']}/{o['metadata']['name']}": o for o in await fleet.models.objects()}
        blocks = [
            "\n".join(_block(model, objects.get(model.key, {}), view))
            for model in chosen(view.models, options.names, options.namespace)
        ]
        print("\n\n\n".join(blocks))
        return 0

    return on_box(act)


def _block(model: ModelView, stored: Mapping[str, Any], view: FleetView) -> Iterator[str]:
    metadata = stored.get("metadata", {})
    named = {
        "Name": model.name,
        "Namespace": model.namespace,
        "Labels": metadata.get("labels"),
        "Annotations": metadata.get("annotations"),
        "API Version": stored.get("apiVersion"),
        "Kind": stored.get("kind"),
        "Created": f"{metadata.get('creationTimestamp', '?')} ({age(view.at_s - model.created_s)} ago)",
        "Generation": model.generation,
        "Resource Version": metadata.get("resourceVersion"),
    }
    yield from _fields(named)
    yield "Spec:"
    yield from _fields(stored.get("spec", {}), "  ")
    yield "Status:"
    yield from _fields(_status(model), "  ")
    if model.why:
        yield "Why:"
        why = in_shell(safe_text(model.why), model.key)
        yield from textwrap.wrap(why, WIDTH, initial_indent="  ", subsequent_indent="  ")
    conditions = [
        (c.type, str(c.status), c.reason, age(view.at_s - c.since_s), safe_text(c.message) or "-")
        for c in model.conditions
    ]
    yield from _section("Conditions", ("TYPE", "STATUS", "REASON", "AGE", "MESSAGE"), conditions)
    replicas = [_replica(replica, view.at_s) for replica in view.replicas if replica.model == model.key]
    titles = ("NAME", "STATE", "PLACE", "PID", "MEM GiB", "BUSY", "RESTARTS", "AGE", "MESSAGE")
    yield from _section("Replicas", titles, replicas)
    events = [event for event in view.events if event.model == model.key][:EVENTS]
    if events:
        yield "Events:"
        yield from (f"  {line}" for line in table(OF_MODEL, reversed(events), view.at_s, WIDEST))
    else:
        yield "Events: <none>"


def _status(model: ModelView) -> dict[str, object]:
    """What the view knows, in the figures of the main screen."""
    old = model.queue_stale
    parts = f"{count(model.queued)} queued, {count(model.in_flight)} in flight of {model.slots}"
    autoscaler = f"{model.min_replicas} to {model.max_replicas} replicas, one for each {model.threshold} requests"
    return {
        "State": stale(model_word(model), model.store_stale),
        "Ready": stale(f"{model.ready} of {model.desired}", model.store_stale),
        "Autoscaler": "off" if model.max_replicas is None else autoscaler + (", paused" if model.paused else ""),
        "Engine": model.engine,
        "Topic": model.topic,
        "Backlog": f"{stale(count(model.backlog), old)} ({parts})",
        "Oldest": "-" if model.oldest_s is None else stale(age(model.oldest_s), old),
        "Requests/s": rate(model.req_s),
        "Tokens/s": count(model.tok_s) if model.generates else "-",
        "First Token p95": "-" if model.ttft_p95_s is None else f"{model.ttft_p95_s:.2f}s",
        "Restarts": model.restarts,
        "Message": model.message,
    }


def _replica(replica: ReplicaView, at_s: float) -> tuple[str, ...]:
    started_s = replica.started_s
    says = ": ".join(filter(None, (replica.reason, replica.message)))
    if replica.next_try_s is not None and replica.next_try_s > at_s:
        says = f"{says}; next try in {age(replica.next_try_s - at_s)}".removeprefix("; ")
    return (
        replica.key,
        replica.state,
        replica.place or "-",
        "-" if replica.pid is None else str(replica.pid),
        gib(replica.mem_mib),
        "-" if replica.busy is None else f"{replica.busy}/{count(replica.slots)}",
        str(replica.restarts),
        "-" if started_s is None else age(at_s - started_s),
        safe_text(says) or "-",
    )


def _fields(fields: Mapping[str, object], indent: str = "") -> Iterator[str]:
    """`Name:   value`; a mapping or list takes a line an entry, what is not set says so."""
    cells = KEY_CELLS - len(indent)
    for name, value in fields.items():
        if isinstance(value, Mapping):
            texts = [f"{key}={text}" for key, text in value.items()]
        elif isinstance(value, list):
            texts = [str(text) for text in value]
        else:
            texts = [str(value) if value not in (None, "") else "<none>"]
        for number, text in enumerate(texts):
            yield f"{indent}{f'{name}:' if number == 0 else '':{cells}} {safe_text(text)}"


def _section(name: str, titles: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[str]:
    if not lines:
        yield f"{name}: <none>"
        return
    yield f"{name}:"
    whole = [titles, *lines]
    yield from (f"  {line}" for line in laid_out(whole, widths(whole)))
