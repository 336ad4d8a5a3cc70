"""A replica of an AIModel as a process: what is started, and when it would have to be started anew."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Awaitable, Callable, Mapping

from operator_embed.aimodel import RESTARTED_AT, AIModel
from operator_embed.box.facts import Hold
from operator_embed.box.home import Home
from operator_embed.worker_env import Place, worker_env
from worker_embed.gpu.placement import Placed, pin_env
from worker_embed.process.program import our_version
from worker_embed.process.spec import ProcessSpec

ROLE = "worker"


def template_of(model: AIModel, queue_url: str) -> str:
    """Changes with all that a running worker cannot take over."""
    env = worker_env(model, Place(queue_url=queue_url))
    text = json.dumps([sorted(env.items()), model.spec.gpus, model.spec.api_key_from, model.annotation(RESTARTED_AT)])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def worker_spec(
    model: AIModel,
    name: str,
    placed: Placed,
    *,
    home: Home,
    queue_url: str,
    template: str,
    ready: Callable[[], Awaitable[bool]],
    alive: Callable[[], Awaitable[bool]],
) -> ProcessSpec:
    """The worker `name` in its place; its labels tell the next leader what it was given."""
    procs = home.procs
    secret = (model.spec.api_key_from or "").removeprefix("secret:")
    place = Place(
        queue_url=queue_url,
        queue_token_file=home.nats / "token",
        api_key_file=home.secrets / f"{secret}.key" if secret else None,
        weights=home.weights,
        log=home.logs / f"{name}.log",
        events=procs / f"{name}.events",
        beat=home.beat_socket,
        inflight=procs / f"{name}.inflight",
        devices=pin_env(placed),
    )
    return ProcessSpec(
        id=name,
        role=ROLE,
        argv=(sys.executable, "-m", "worker_embed"),
        version=our_version(),
        env=worker_env(model, place),
        ready=ready,
        alive=alive,
        log=home.logs / f"{name}.out",
        events=place.events,
        labels={
            "model": model.key,
            "uid": model.uid,
            "template": template,
            "topic": model.topic,
            "gpus": ",".join(placed.uuids),
            "each_mib": f"{placed.each_mib:.1f}",
        },
    )


def hold_of(labels: Mapping[str, str]) -> Hold:
    """What the worker with these labels was given."""
    gpus = tuple(uuid for uuid in labels.get("gpus", "").split(",") if uuid)
    return Hold(gpus=gpus, each_mib=float(labels.get("each_mib", 0)))
