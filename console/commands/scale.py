"""`uplion scale`: the replicas of an AIModel, or its autoscaler."""

from __future__ import annotations

import argparse

from console.commands.box import key_of, name_of, note, on_box
from console.commands.errors import UsageError
from console.commands.waiting import not_ready, settle
from operator_embed.box.fleet import BoxFleet
from operator_embed.fleet.models import Scale
from screens.scale_text import verdict


def scale(options: argparse.Namespace) -> int:
    """Store the change; whether its replicas fit is said beside it."""
    key = key_of(options.name, options.namespace)
    change = Scale(
        replicas=options.replicas,
        min_replicas=options.min,
        max_replicas=options.max,
        threshold=options.threshold,
        paused=options.paused,
    )
    if change == Scale():
        raise UsageError("nothing to change: give --replicas, --min, --max, --threshold, --pause or --resume")

    async def act(fleet: BoxFleet) -> int:
        if fleet.leader() is not None:
            await fleet.known()
            preview = await fleet.models.preview(key, change)
            for line in filter(None, (verdict(preview.lines, wide=False), *preview.advice)):
                note(f"note: {line}")
        await fleet.models.scale(key, change)
        print(f"{name_of(key)} scaled", flush=True)
        return await settle(fleet, [key], not_ready, wait=options.wait, timeout_s=options.timeout)

    return on_box(act)
