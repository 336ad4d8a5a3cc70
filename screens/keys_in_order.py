"""Keys reach the screen that the keys before them opened, however fast they are typed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TypeVar

from textual import events
from textual.actions import ActionParseResult
from textual.app import App
from textual.dom import DOMNode
from textual.message import Message

R = TypeVar("R")


class KeysInOrder(App[R]):
    """Textual hands a key to what has the focus when it is read, also when a key before it is about to move that."""

    _turned_s = 0.0
    """Monotonic time at which another screen came to the top."""

    def on_mount(self) -> None:
        self.screen_change_signal.subscribe(self, self._turn, immediate=True)

    def _turn(self, _: object) -> None:
        self._turned_s = Message().time

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key) and not event.is_forwarded:
            self._hand_on(event)
        else:
            await super().on_event(event)

    def _hand_on(self, key: events.Key) -> None:
        """Let the screen on top finish opening and take the focus first."""
        if not self.screen.call_later(super().on_event, key):
            self.call_later(self._hand_on, key)

    async def on_key(self, event: events.Key) -> None:
        """Take back a key that was on its way through one screen while another opened."""
        if event.time < self._turned_s:
            event.prevent_default()
            self._hand_on(events.Key(event.key, event.character))

    async def run_action(
        self,
        action: str | ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        done = await super().run_action(action, default_namespace, namespaces)
        await asyncio.sleep(0)  # an action that asks is a worker: its first step opens the dialog
        return done
