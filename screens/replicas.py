"""All replicas of all models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import getters, on, work
from textual.app import ComposeResult
from textual.binding import BindingType

from operator_embed.fleet.models import ReplicaView
from screens.actions import Hint, Scope, bindings
from screens.base import ALWAYS, FleetScreen
from screens.detail_text import replica_detail
from screens.format import Spans, plural
from screens.replica_columns import ALL
from screens.tones import TONE_OF_MARK, fails, replica_mark
from screens.widgets.head import Fields
from screens.widgets.table import Table


class ReplicasScreen(FleetScreen):
    """One row a replica."""

    CSS_PATH = "replicas.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("replica")
    SCOPES: ClassVar[tuple[Scope, ...]] = ("replica",)
    HINTS: ClassVar[Sequence[Hint]] = (
        Hint("table.open", "logs"), Hint("replica.previous_logs"), Hint("replica.restart"), Hint("replica.kill"),
        Hint("replica.why"), *ALWAYS,
    )  # fmt: skip

    table = getters.query_one("#replicas", Table)

    def body(self) -> ComposeResult:
        yield Table(
            ALL,
            id="replicas",
            noun="replica",
            sort="NAME",
            fields={"slots": lambda r: r.slots, "reason": lambda r: r.reason, "cpu": lambda r: r.cpu_cores},
            detail=lambda replica, size: replica_detail(self.view, replica, size),
        )

    def totals(self, wide: bool) -> Fields:
        replicas = self.view.replicas
        marks = [replica_mark(replica) for replica in replicas]
        trouble: Spans = tuple((f"   {m} {marks.count(m)}", TONE_OF_MARK[m]) for m in "!~?z" if m in marks)
        ready = sum(replica.state == "Ready" and not fails(replica) for replica in replicas)
        busy = sum(replica.busy or 0 for replica in replicas)
        slots = sum(replica.slots or 0 for replica in replicas)
        return (
            (1, ((plural(len(replicas), "replica"), ""), *trouble)),
            (32 if wide else 28, ((f"{ready} ready", ""),)),
            (43 if wide else 38, ((f"in flight {busy}/{slots}", ""),)),
        )

    def draw(self) -> None:
        self.table.note = "No replicas: no model wants one."
        self.table.show(self.view.replicas, self.view.at_s)

    @property
    def replica(self) -> ReplicaView | None:
        row: ReplicaView | None = self.table.row
        return row

    @on(Table.Opened)
    def action_logs(self) -> None:
        self._logs(previous=False)

    def action_previous_logs(self) -> None:
        self._logs(previous=True)

    def _logs(self, *, previous: bool) -> None:
        from screens.logs import LogsScreen

        if replica := self.replica:
            self.app.push_screen(LogsScreen(self.fleet, replica.model, replica=replica.key, previous=previous))

    def action_why(self) -> None:
        if replica := self.replica:
            self.app.open_model(replica.model)

    @work
    async def action_restart(self) -> None:
        happens = "Finishes its requests in flight for up to 30 s, then starts again; queued requests wait."
        for replica in await self._agreed("Restart", happens, loses=False):
            await self.intend(self.fleet.models.restart_replica(replica.key))

    @work
    async def action_kill(self) -> None:
        happens = "SIGKILL now. Its requests in flight are tried again elsewhere; it is started again."
        for replica in await self._agreed("Kill", happens, loses=True):
            await self.intend(self.fleet.models.kill(replica.key))

    async def _agreed(self, verb: str, happens: str, *, loses: bool) -> Sequence[ReplicaView]:
        """The chosen replicas, once the user agreed."""
        from screens.confirm import ConfirmDialog

        chosen: Sequence[ReplicaView] = self.table.chosen
        names = chosen[0].key if len(chosen) == 1 else plural(len(chosen), "replica")
        dialog = ConfirmDialog(f"{verb} {names}", happens, verb=verb.lower(), keep="leave it", loses=loses)
        agreed = bool(chosen) and await self.app.push_screen_wait(dialog) is True
        return chosen if agreed else ()
