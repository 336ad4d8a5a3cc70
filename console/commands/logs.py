"""`uplion logs`: what replicas and the parts of a box write."""

from __future__ import annotations

import argparse
import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from console.commands.box import key_of, name_of, note, on_box
from console.commands.errors import CommandError
from operator_embed.box.fleet import BoxFleet
from operator_embed.fleet.logs import LogLine

LOOK_EVERY_S = 0.5


def logs(options: argparse.Namespace) -> int:
    """Print the last lines; with `--follow` new ones too, also of replicas that come later."""
    key = key_of(options.name, options.namespace)

    async def act(fleet: BoxFleet) -> int:
        sources = [options.replica] if options.replica else await _sources(fleet, key, options.name)
        if options.follow:
            await _follow(fleet, key, sources, options)
        else:
            async for lines in fleet.logs.follow(sources, tail=options.tail, previous=options.previous, follow=False):
                _print(lines, options.timestamps, several=len(sources) > 1)
        return 0

    return on_box(act)


async def _sources(fleet: BoxFleet, key: str, name: str) -> list[str]:
    """Replicas that run, else the one that ran last; a name that is no AIModel's is a log's own."""
    written = list(await fleet.logs.sources(key))
    if not written:
        if fleet.store().get(key) is not None:
            raise CommandError(f"{key}: no replica of it has a log yet; uplion describe says why")
        return [name]
    running = {replica.key for replica in (await fleet.known()).replicas if replica.model == key}
    return [source for source in written if source in running] or written[:1]


async def _follow(fleet: BoxFleet, key: str, sources: Sequence[str], options: argparse.Namespace) -> None:
    """Follow `sources`, and each replica of the model that begins to write.

    Ends with the first that fails, or with the model, as `kubectl logs -f` does with its pod.
    """
    known = {*sources, *await fleet.logs.sources(key)}
    read: list[str] = []
    model = _model_of(fleet, key)

    async def follow(source: str, tail: int) -> None:
        read.append(source)
        async for lines in fleet.logs.follow([source], tail=tail):
            _print(lines, options.timestamps, several=len(read) > 1)

    try:
        async with asyncio.TaskGroup() as group:
            readers = [group.create_task(follow(source, options.tail)) for source in sources]
            while model is None or fleet.store().get(model) is not None:
                await asyncio.sleep(LOOK_EVERY_S)
                for source in [] if options.replica else await fleet.logs.sources(key):
                    if source not in known:
                        known.add(source)
                        readers.append(group.create_task(follow(source, options.tail)))
            await asyncio.sleep(LOOK_EVERY_S)  # for their last words
            for reader in readers:
                reader.cancel()
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    note(f"{name_of(model)} was deleted")


def _model_of(fleet: BoxFleet, key: str) -> str | None:
    """The AIModel whose log this is, or whose replica's; `None` for a part of the box."""
    named = (key, re.sub(r"-[a-z0-9]{5}$", "", key))
    return next((one for one in named if fleet.store().get(one) is not None), None)


def _print(lines: Sequence[LogLine], timestamps: bool, *, several: bool) -> None:
    for line in lines:
        parts = (
            line.source if several else "",
            _time(line.at_s) if timestamps else "",
            line.level,
            line.text,
        )
        print(" ".join(filter(None, parts)))
    print(end="", flush=True)


def _time(at_s: float | None) -> str:
    """In UTC, as Kubernetes writes it; `-` where the line says nothing of it."""
    if at_s is None:
        return "-"
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
