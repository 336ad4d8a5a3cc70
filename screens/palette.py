"""The palette's entries: the actions that are alive on the screen below."""

from __future__ import annotations

from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from screens.actions import key_text
from screens.live import LiveAction, live_actions

BASIC = "table.move_"
"""Nobody looks for a cursor key by its name."""


class ActionsProvider(Provider):
    """Finds actions by title, id and help."""

    async def startup(self) -> None:
        live = live_actions(self.screen)
        self.entries = {words(entry): entry for id_, entry in live.items() if not id_.startswith(BASIC)}

    async def discover(self) -> Hits:
        for text, entry in self.entries.items():
            yield DiscoveryHit(text, partial(self.app.call_next, entry), help=entry.action.help)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for text, entry in self.entries.items():
            if score := max(matcher.match(text), matcher.match(entry.action.help) / 2):
                yield Hit(score, matcher.highlight(text), partial(self.app.call_next, entry), help=entry.action.help)


def words(entry: LiveAction) -> str:
    """`scale  (s)  model.scale`."""
    action, key = entry.action, key_text(entry.key)
    return f"{action.title}  ({key})  {action.id}" if key else f"{action.title}  {action.id}"
