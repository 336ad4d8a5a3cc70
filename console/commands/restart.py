"""`uplion restart`: new replicas, one after the other."""

from __future__ import annotations

import argparse
import time

from console.commands.box import key_of, name_of, on_box
from console.commands.waiting import not_ready, settle
from operator_embed.aimodel import AIModel
from operator_embed.box.fleet import BoxFleet


def restart(options: argparse.Namespace) -> int:
    """Store the wish; the leader drains and replaces."""
    keys = [key_of(name, options.namespace) for name in options.names]

    async def act(fleet: BoxFleet) -> int:
        await fleet.known()
        asked_s = time.time()
        for key in keys:
            await fleet.models.restart(key)
            print(f"{name_of(key)} restarted", flush=True)

        def missing(model: AIModel | None) -> str:
            return not_ready(model) or (_old(fleet, model, asked_s) if model else "")

        return await settle(fleet, keys, missing, wait=options.wait, timeout_s=options.timeout)

    return on_box(act)


def _old(fleet: BoxFleet, model: AIModel, asked_s: float) -> str:
    """Which replicas are still those from before; a status alone does not tell that the wish was read."""
    old = [r.key for r in fleet.view().replicas if r.model == model.key and (r.started_s or 0.0) < asked_s]
    return f"still to be replaced: {', '.join(old)}" if old else ""
