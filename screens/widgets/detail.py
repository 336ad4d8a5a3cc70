"""The pane that says more of what is under the cursor than fits into its line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from textual.screen import Screen

from screens.widgets.blocks import Blocks
from screens.widgets.lines import Lines
from screens.widgets.table import Table

Cursored = Table[Any] | Blocks


def detailed(screen: Screen[Any]) -> Iterator[Cursored]:
    """What on a screen has more to say of each row or block."""
    yield from (table for table in screen.query(Table) if table.detail)
    yield from (blocks for blocks in screen.query(Blocks) if blocks.detail)


class Detail(Lines):
    """Follows the cursor of one table or of blocks, and goes over to another when that gets the focus.

    Its height depends on nothing but the screen's: the rows above stay in their places while the cursor moves.
    """

    DEFAULT_CSS = """
    Detail { height: 30%; min-height: 5; max-height: 12; }
    """

    def __init__(self, of: Cursored) -> None:
        super().__init__(id="detail")
        self._of = of

    def on_mount(self) -> None:
        self.watch(self.screen, "view", self.follow, init=False)
        self.watch(self.screen, "focused", self.follow_focus, init=False)
        for source in detailed(self.screen):
            self.watch(source, "cursor", self.follow, init=False)
        self.follow()

    def follow(self) -> None:
        """Say what is so now of what is under the cursor now."""
        self.show(self._of.said_of_cursor)

    def follow_focus(self) -> None:
        """The cursor that counts is the one that keys move."""
        focused = self.screen.focused
        of = next((source for source in detailed(self.screen) if source is focused), self._of)
        if of is not self._of:
            self._of = of
            self.follow()
