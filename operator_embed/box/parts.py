"""Parts of a leader: one that fails is no reason to leave the box without a leader."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine

from operator_embed.box.store import Deposed, StoreError

log = logging.getLogger(__name__)

FIRST_AGAIN_S, LAST_AGAIN_S = 0.1, 10.0
STEADY_S = 60.0
"""A part that ran for so long begins again at once."""


def leaving() -> bool:
    """Whether this task was cancelled: cleaning up may put another exception in the place of the cancellation."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def for_ever(name: str, part: Callable[[], Coroutine[object, object, None]]) -> None:
    """Run `part` until it returns; begin it again, later and later, when it raises anything but `Deposed`."""
    again_s = FIRST_AGAIN_S
    while True:
        began_s = time.monotonic()
        try:
            return await part()
        except Deposed:
            raise
        except StoreError as error:
            log.error("%s: %s", name, error)
        except Exception:
            log.exception("%s failed; begun again", name)
        if leaving():
            return None
        if time.monotonic() - began_s > STEADY_S:
            again_s = FIRST_AGAIN_S
        await asyncio.sleep(again_s)
        again_s = min(2 * again_s, LAST_AGAIN_S)
