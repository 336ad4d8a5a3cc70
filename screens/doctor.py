"""What of this box works, what is missing, and how to get it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import getters
from textual.app import ComposeResult

from operator_embed.fleet.fleet import SourceView
from screens.actions import Hint
from screens.base import FleetScreen
from screens.format import Tone, age, safe_text
from screens.saved import row_object
from screens.widgets.head import Fields
from screens.widgets.pager import Pager
from screens.widgets.text_lines import Line

TONES: dict[str, Tone] = {"!": "error", "..": "warning", "-": "muted"}
KEY_CELLS = 10


def source_line(source: SourceView, at_s: float) -> Line:
    """One part of the box."""
    tone = TONES.get(source.status, "")
    since = f"   for {age(at_s - source.since_s)}" if source.status in {"!", ".."} and source.since_s else ""
    return (
        (f"  {source.status:2}  ", tone),
        (f"{safe_text(source.key):{KEY_CELLS}}", "title"),
        (safe_text(source.text), "muted" if source.status == "-" else ""),
        (since, tone),
    )


class DoctorScreen(FleetScreen):
    """One line a part of the box; a long one wraps."""

    CSS_PATH = "doctor.tcss"
    HINTS: ClassVar[Sequence[Hint]] = (
        Hint("everywhere.back"),
        Hint("everywhere.reread"),
        Hint("everywhere.command_line"),
        Hint("everywhere.help"),
    )

    pager = getters.query_one(Pager)

    def body(self) -> ComposeResult:
        yield Pager(id="sources", wrap=True, hang=6 + KEY_CELLS)

    async def as_objects(self) -> object:
        return [row_object(source) for source in self.view.sources]

    def totals(self, wide: bool) -> Fields:
        broken = sum(source.status == "!" for source in self.view.sources)
        said = f"{broken} broken" if broken else "all that is needed works"
        return ((1, (("Doctor", ""), (f"   {said}", "error" if broken else "muted"))),)

    def draw(self) -> None:
        view = self.view
        context = view.context
        leader = "nobody leads" if context.leader_pid is None else f"pid {context.leader_pid} leads"
        serve = " (uplion serve)" if context.leader_is_serve else ""
        lines: list[Line] = [
            (),
            ((f"  {context.name}", "title"), (f"   {leader}{serve}   {context.queue}", "muted")),
            (),
            *(source_line(source, view.at_s) for source in view.sources),
        ]
        self.pager.show(lines)
