"""The processes that every box runs beside its workers: the queue's broker and the API node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from operator_embed.box.home import Home
from operator_embed.box.ports import recorded_port
from worker_embed.process.spec import ProcessSpec
from worker_embed.queue import nats_server


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlace:
    """What the API node of a box needs to know."""

    home: Path
    queue_url: str
    queue_token_file: Path
    node_port: int
    beat: Path
    events: Path
    log: Path
    out: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a leader is told from above."""

    api_node: Callable[[NodePlace], ProcessSpec]
    api_url: str
    api_is_open: bool = False
    """Whether clients on other machines may reach it."""
    serve: bool
    """Without a console of its own."""


def fixed_children(home: Home, queue_url: str, settings: Settings) -> Iterator[ProcessSpec]:
    """In the order in which they need each other; once ready they are asked for ever whether they still are."""
    queue = nats_server.spec(home.nats, recorded_port(home.ports, "nats"), home.nats_log)
    node = settings.api_node(
        NodePlace(
            home=home.root,
            queue_url=queue_url,
            queue_token_file=home.nats / "token",
            node_port=recorded_port(home.ports, "node"),
            beat=home.beat_socket,
            events=home.procs / "gateway.events",
            log=home.logs / "gateway.log",
            out=home.logs / "gateway.out",
        )
    )
    yield queue
    yield replace(node, alive=node.ready)
