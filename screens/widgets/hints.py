"""The last line of a screen: its most used keys, which can be clicked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.reactive import reactive
from textual.screen import Screen
from textual.strip import Strip

from screens.actions import BY_ID, Hint, key_text
from screens.widgets.painted import Painted

WIDE_CELLS = 120
LAST_TO_GO = ("everywhere.help", "everywhere.command_line", "table.filter")
FIRST_TO_GO = "everywhere.leave"


@dataclass(frozen=True, slots=True)
class KeyHint:
    """One key and what it does, ready to be drawn."""

    id: str
    key: str
    """Textual's name of the key a click stands for."""
    shown: str
    title: str
    wide: str
    dead: bool = False
    """Bound, but a right is missing."""

    def text(self, wide: bool) -> str:
        """`s scale`."""
        return f"{self.shown} {self.wide if wide and self.wide else self.title}"


def fit_hints(hints: Sequence[KeyHint], width: int) -> tuple[KeyHint, ...]:
    """The hints that fit into `width` cells; left out from the right, the keys of every screen last, `?` never."""
    wide = width >= WIDE_CELLS
    going = [h for h in reversed(hints) if h.id not in LAST_TO_GO]
    going.sort(key=lambda hint: hint.id != FIRST_TO_GO)
    going += [h for i in reversed(LAST_TO_GO[1:]) for h in hints if h.id == i]
    kept = list(hints)
    while going and 1 + sum(cell_len(h.text(wide)) + (3 if wide else 2) for h in kept) - 2 > width:
        kept.remove(going.pop(0))
    return tuple(kept)


class Hints(Painted):
    """Follows the bindings that are alive on its screen."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"hints--key", "hints--dead"}
    DEFAULT_CSS = """
    Hints {
        dock: bottom;
        height: 1;
        color: $footer-description-foreground;
        background: $footer-background;
        & > .hints--key { color: $footer-key-foreground; text-style: bold; }
        & > .hints--dead { color: $text-disabled; }
    }
    """

    shown: reactive[tuple[KeyHint, ...]] = reactive(())

    def __init__(self, hints: Sequence[Hint]) -> None:
        super().__init__()
        self.hints = tuple(hints)

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self.follow)
        self.follow(self.screen)

    def offer(self, hints: Sequence[Hint]) -> None:
        """Name other keys."""
        if self.hints != tuple(hints):
            self.hints = tuple(hints)
            self.follow(self.screen)

    def follow(self, screen: Screen[object]) -> None:
        """Take the keys from the live bindings, so that a key map shows its own."""
        if not screen.is_mounted or screen is not self.screen:
            return
        alive = {active.binding.id: active for active in reversed(screen.active_bindings.values())}
        self.shown = tuple(
            KeyHint(
                hint.id,
                alive[hint.id].binding.key,
                hint.keys or key_text(alive[hint.id].binding.key),
                hint.title or BY_ID[hint.id].title,
                hint.wide,
                not alive[hint.id].enabled,
            )
            for hint in self.hints
            if hint.id in alive
        )

    def render_line(self, y: int) -> Strip:
        wide = self.size.width >= WIDE_CELLS
        base = self.look()
        key_style = self.look("hints--key")
        dead_style = self.look("hints--dead")
        segments: list[Segment] = []
        for hint in fit_hints(self.shown, self.size.width):
            click = Style.from_meta({"@click": f"app.simulate_key({hint.key!r})"})
            title = hint.text(wide).removeprefix(hint.shown)
            segments.append(Segment("   " if segments and wide else "  " if segments else " ", base))
            segments.append(Segment(hint.shown, (dead_style if hint.dead else key_style) + click))
            segments.append(Segment(title, (dead_style if hint.dead else base) + click))
        return Strip(segments).adjust_cell_length(self.size.width, base)
