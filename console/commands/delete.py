"""`uplion delete`: drain AIModels and remove everything of them."""

from __future__ import annotations

import argparse
import sys

from console.commands.box import called, chosen, folder_of, key_of, name_of, no_such, on_box, text_of
from console.commands.errors import CommandError, UsageError, tell
from console.commands.waiting import settle
from operator_embed.aimodel import AIModel
from operator_embed.box.fleet import BoxFleet
from operator_embed.fleet.models import ModelView
from operator_embed.manifest import ManifestError, parse
from screens.format import plural


def delete(options: argparse.Namespace) -> int:
    """Ask where a terminal is there to answer, then delete what is there and name what is not."""
    if not options.names and not options.files:
        raise UsageError("name what to delete: uplion delete NAME, or -f FILE")
    keys = [key_of(name, options.namespace) for name in options.names]
    keys += [key for file in options.files for key in _named(file)]
    ask = not options.yes and sys.stdin.isatty() and "-" not in options.files

    async def act(fleet: BoxFleet) -> int:
        stored = {model.key for model in fleet.store().list()}
        there = [key for key in dict.fromkeys(keys) if key in stored]
        if there and ask and not _agreed(chosen((await fleet.known()).models, there, None)):
            print("nothing was deleted")
            return 1
        for key in there:
            await fleet.models.delete(key)
            print(f"{name_of(key)} deleted", flush=True)
        for key in keys:
            if key not in stored:
                tell(no_such(key))
        failed = int(len(there) < len(set(keys)))
        if not there:
            return failed
        return await settle(fleet, there, _there, wait=options.wait, timeout_s=options.timeout) or failed

    return on_box(act)


def _named(file: str) -> list[str]:
    """The keys of what a file names."""
    try:
        return [one.model.key for one in parse(text_of(file), base_dir=folder_of(file))]
    except ManifestError as error:
        raise CommandError("\n".join(f"{called(file)}: {line}" for line in error.errors)) from error


def _agreed(models: list[ModelView]) -> bool:
    for model in models:
        print(f"{name_of(model.key)}: {_lost(model)}")
    try:
        return input(f"Delete {plural(len(models), 'model')}? [y/N] ").strip().lower() in {"y", "yes"}
    except EOFError:
        print()
        return False


def _lost(model: ModelView) -> str:
    """What goes with it."""
    replicas = plural(model.ready, "ready replica")
    if model.in_flight is None or model.queued is None:
        return f"stops {replicas}; how many requests wait is not known"
    return f"stops {replicas} ({model.in_flight} in flight: drained for up to 30 s), drops {model.queued} queued"


def _there(model: AIModel | None) -> str:
    """What still is, in words."""
    if model is None:
        return ""
    return f"{plural(model.status.ready, 'replica')} to drain" if model.status.ready else "is being removed"
