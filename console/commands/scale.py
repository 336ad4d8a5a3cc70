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
    if change.replicas is not None and change.threshold:
        raise UsageError(
            "--replicas means nothing beside --threshold, which starts the autoscaler: bound it with --min and --max"
        )

    async def act(fleet: BoxFleet) -> int:
        advice = await _advice(fleet, key, change)
        await fleet.models.scale(key, change)
        for line in advice:
            note(f"note: {line}")
        print(f"{name_of(key)} scaled", flush=True)
        return await settle(fleet, [key], not_ready, wait=options.wait, timeout_s=options.timeout)

    return on_box(act)


async def _advice(fleet: BoxFleet, key: str, change: Scale) -> list[str]:
    """Whether its replicas would fit, as seen before the change; nobody sees it where nobody leads."""
    if fleet.leader() is None:
        return []
    await fleet.known()
    preview = await fleet.models.preview(key, change)
    return [line for line in (verdict(preview.lines, wide=False), *preview.advice) if line]
