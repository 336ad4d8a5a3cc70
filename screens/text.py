"""What screens of text share: one pager, and searching in it."""

from __future__ import annotations

from textual import getters

from screens.base import FleetScreen
from screens.widgets.head import Fields
from screens.widgets.hints import Hints
from screens.widgets.pager import Pager
from screens.widgets.search_line import SearchLine


def title(path: str, *says: str) -> Fields:
    """The second line of the head: where this is, then what is so, as far as there is room."""
    return ((1, ((path, ""),)), *((0, ((f"  {what}", "muted"),)) for what in says if what))


class TextScreen(FleetScreen):
    """A screen with a pager; `/ n N` search in it, escape ends the search before it leaves."""

    pager = getters.query_one(Pager)

    def as_text(self) -> str:
        """The whole text, also what is not in sight."""
        return "\n".join(self.pager.texts)

    async def action_search(self) -> None:
        await self.query(SearchLine).remove()
        await self.mount(SearchLine(self.pager), before=self.query_one(Hints))

    def action_next_match(self) -> None:
        self.pager.next_hit(1)

    def action_previous_match(self) -> None:
        self.pager.next_hit(-1)

    async def action_end_search(self) -> None:
        self.pager.search("")
        await self.query(SearchLine).remove()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "end_search":
            return self.is_mounted and bool(self.pager.needle)
        return super().check_action(action, parameters)
