"""Keys are done one after the other, and reach the screen that the one before them opened."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TypeVar

from textual import events, work
from textual.app import App
from textual.message_pump import MessagePump

R = TypeVar("R")

LONGEST_S = 2.0
"""What a key may take before the next one no longer waits for it."""


class KeysInOrder(App[R]):
    """Textual hands keys on as they are read: one that is text overtakes the one before it, which is an action.

    A slow line brings keys in bursts: without this, backspace and `2` delete the `2`, and `s` `4` shows view 4.
    """

    def __init__(self) -> None:
        super().__init__()
        self._typed: asyncio.Queue[events.Key | events.Paste] = asyncio.Queue()

    def on_mount(self) -> None:
        self._hand_on()

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, (events.Key, events.Paste)) and not event.is_forwarded:
            self._typed.put_nowait(event)
        else:
            await super().on_event(event)

    @work
    async def _hand_on(self) -> None:
        while True:
            typed = await self._typed.get()
            with suppress(TimeoutError):
                async with asyncio.timeout(LONGEST_S):
                    await self._done(typed)

    async def _done(self, typed: events.Key | events.Paste) -> None:
        """Hand it on to what has the focus, and wait until all that it may bubble to have seen it."""
        await _caught_up(self.screen)  # one that opens takes the focus first
        target = self.focused or self.screen
        await super().on_event(typed)
        for node in target.ancestors_with_self:
            await _caught_up(node)


async def _caught_up(node: MessagePump) -> None:
    done = asyncio.Event()
    if node.call_later(done.set):
        await done.wait()
