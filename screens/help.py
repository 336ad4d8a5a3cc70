"""The keys of a screen, from the same table that binds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult

from operator_embed.fleet.fleet import Fleet
from screens.actions import ACTIONS, BY_ID, Action, Hint, Scope, keys_text
from screens.base import ALWAYS, FleetScreen
from screens.format import Tone
from screens.widgets.columns import Column
from screens.widgets.head import Fields
from screens.widgets.table import Table


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One action as help shows it."""

    action: Action
    keys: str
    refused: str
    """Why it cannot be done here; empty when it can."""
    version: int = 1

    @property
    def key(self) -> str:
        return self.action.id


def key_rows(scopes: Sequence[Scope], keymap: Mapping[str, str], read_only: bool) -> Sequence[KeyRow]:
    """The actions of `scopes` that have a key, in their order, with the keys of a key map.

    Inner scopes come first: what is known everywhere has no key here that the map gave to one of them.
    """
    moved = {key for id_, keys in keymap.items() if BY_ID[id_].scope in scopes for key in keys.split(",")}
    return [
        KeyRow(action, keys, "read-only" if read_only and action.mutates else "")
        for scope in scopes
        for action in ACTIONS
        if action.scope == scope
        and (keys := keys_text(action, keymap))
        and (action.id in keymap or not moved.issuperset(action.keys.split(",")))
    ]


def _tone(row: KeyRow) -> Tone:
    return "muted" if row.refused else ""


COLUMNS: Sequence[Column[KeyRow]] = (
    Column("KEY", 12, lambda r, _: r.keys, tone=lambda r: "muted" if r.refused else "accent", gap=2),
    Column("WHERE", 10, lambda r, _: r.action.scope, tone=lambda r: "muted"),
    Column("DOES", 30, lambda r, _: (f"{r.refused}: " if r.refused else "") + r.action.help, tone=_tone, grow=True),
    Column("ID", 26, lambda r, _: r.action.id, tone=lambda r: "muted", drop=1, since=160),
)


class HelpScreen(FleetScreen):
    """Lists, filters and does what the keys of the screen below do."""

    HINTS: ClassVar[Sequence[Hint]] = (Hint("everywhere.back"), Hint("table.open", "do it"), ALWAYS[0])

    def __init__(self, fleet: Fleet, scopes: Sequence[Scope], keymap: Mapping[str, str], *, read_only: bool) -> None:
        super().__init__(fleet)
        self.rows = key_rows(scopes, keymap, read_only)

    def body(self) -> ComposeResult:
        table = Table(COLUMNS, id="keys", noun="key", copies=lambda r: r.keys)
        table.styles.height = "1fr"
        yield table

    def totals(self, wide: bool) -> Fields:
        return ((1, (("Keys of this screen", "title"),)), (28, (("ctrl+p finds them by name", "muted"),)))

    def draw(self) -> None:
        self.query_one("#keys", Table).show(self.rows, self.view.at_s)

    @on(Table.Opened)
    def do(self, event: Table.Opened) -> None:
        """Go back and press the key."""
        row = next(row for row in self.rows if row.key == event.key)
        if not row.refused:
            self.dismiss()
            self.app.call_later(self.app.simulate_key, self.app.key_of(row.key))
