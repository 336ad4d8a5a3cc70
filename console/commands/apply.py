"""`uplion apply`: create or change what files name."""

from __future__ import annotations

import argparse

from console.commands.box import called, folder_of, name_of, note, on_box, text_of
from console.commands.errors import tell
from console.commands.waiting import not_ready, settle
from operator_embed.box.fleet import BoxFleet
from operator_embed.fleet.fleet import FleetError
from operator_embed.fleet.text import safe_text


def apply(options: argparse.Namespace) -> int:
    """One file after the other; one that is refused does not keep the others from being applied."""
    texts = [(file, text_of(file)) for file in options.files]

    async def act(fleet: BoxFleet) -> int:
        keys: list[str] = []
        failed = 0
        for file, text in texts:
            try:
                keys += await _one(fleet, file, text)
            except FleetError as error:
                failed = 1
                tell("\n".join(f"{called(file)}: {line}" for line in str(error).splitlines()))
        if not keys:
            return 1
        return await settle(fleet, keys, not_ready, wait=options.wait, timeout_s=options.timeout) or failed

    return on_box(act)


async def _one(fleet: BoxFleet, file: str, text: str) -> list[str]:
    applied = await fleet.models.apply(text, base_dir=folder_of(file))
    for one in applied:
        print(f"{name_of(one.key)} {one.action}", flush=True)
        for warning in one.warnings:
            note(f"warning: {called(file)}: {safe_text(warning)}")
    return [one.key for one in applied]
