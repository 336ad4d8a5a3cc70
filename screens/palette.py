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
        self.entries = [(words(entry), entry) for id_, entry in live.items() if not id_.startswith(BASIC)]

    async def discover(self) -> Hits:
        for text, entry in self.entries:
            yield DiscoveryHit(text, partial(self.app.call_next, entry), help=entry.action.help)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for text, entry in self.entries:
            action = entry.action
            if score := max(matcher.match(text), matcher.match(action.id), matcher.match(action.help) / 2):
                yield Hit(score, matcher.highlight(text), partial(self.app.call_next, entry), help=action.help)


def words(entry: LiveAction) -> str:
    """`scale  (s)`."""
    key = key_text(entry.key)
    return f"{entry.action.title}  ({key})" if key else entry.action.title
