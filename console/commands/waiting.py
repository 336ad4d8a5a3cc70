"""`--wait`: follow what was asked for until it is so, and say meanwhile why it is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from console.commands.box import STORED, name_of, note
from console.commands.errors import CommandError
from operator_embed.aimodel import AIModel
from operator_embed.box.fleet import BoxFleet

Missing = Callable[[AIModel | None], str]
"""What is still missing, in words; empty when nothing is. It gets `None` for a model that is gone."""


async def settle(fleet: BoxFleet, keys: Iterable[str], missing: Missing, *, wait: bool, timeout_s: float) -> int:
    """The end of each command that stores wishes: say so where nobody leads, wait where that was asked for."""
    if fleet.leader() is None:
        note(STORED)
        return 1 if wait else 0
    if wait:
        await _until(fleet, list(keys), missing, timeout_s)
    return 0


def not_ready(model: AIModel | None) -> str:
    """Why not all replicas that are wanted can answer."""
    if model is None:
        return "it was deleted"
    status = model.status
    if status.observed_generation < model.generation:
        return "not looked at yet"
    for type_ in ("Degraded", "Progressing"):
        if (condition := status.condition(type_)) and condition.status:
            message = f": {condition.message}" if condition.message else ""
            return f"{status.ready} of {status.desired} ready, {condition.reason}{message}"
    return ""


async def _until(fleet: BoxFleet, keys: list[str], missing: Missing, timeout_s: float) -> None:
    """Return when nothing is missing of any; raises `CommandError` after the timeout."""
    said: dict[str, str] = {}
    try:
        async with asyncio.timeout(timeout_s):
            async for _ in fleet.changes():
                now = {key: what for key in keys if (what := missing(fleet.store().get(key)))}
                for key, what in now.items():
                    if said.get(key) != what:
                        note(f"waiting for {name_of(key)}: {what}")
                said = now
                if not now:
                    return
    except TimeoutError:
        late = [f"{name_of(key)}: not done after {timeout_s:g} s: {what}" for key, what in said.items()]
        raise CommandError("\n".join(late)) from None
