"""Actions that are alive now: what a key would do on this screen, for who runs it by its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from textual.app import App
from textual.dom import DOMNode
from textual.screen import Screen

from screens.actions import ACTIONS, Action


@dataclass(frozen=True, slots=True)
class LiveAction:
    """An action and where it would be done."""

    action: Action
    node: DOMNode
    run: str
    """As Textual's `run_action` takes it."""
    key: str
    """As Textual names it."""

    async def __call__(self) -> None:
        app: App[object] = self.node.app
        await app.run_action(self.run, self.node)


def live_actions(screen: Screen[object]) -> Mapping[str, LiveAction]:
    """By id, in the order of the registry; what is dead for lack of a right is left out."""
    alive = {a.binding.id: a for a in reversed(screen.active_bindings.values()) if a.enabled}
    return {
        action.id: LiveAction(action, found.node, found.binding.action, found.binding.key)
        for action in ACTIONS
        if (found := alive.get(action.id))
    }
