"""What happens on a box as events: who tells, in which words, and what was told before."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from operator_embed.aimodel import AIModel, Status
from operator_embed.autoscaler import Decision
from operator_embed.box.database import StoreError
from operator_embed.box.events import Event
from operator_embed.box.news import SCALED
from operator_embed.box.store import Store
from operator_embed.fleet.fleet import EventView
from operator_embed.fleet.text import safe_text
from operator_embed.reconcile import WORKER_ERRORS
from worker_embed.process.spec import Phase, ProcessState
from worker_embed.queue.port import DeadLetter
from worker_embed.report import Change

log = logging.getLogger(__name__)

SHOWN = 1_000


@dataclass(slots=True)
class Chronicle:
    """Records events and keeps the newest of them as rows."""

    store: Store
    _views: dict[int, EventView] = field(default_factory=dict)
    _seen_rv: int = 0
    _told: dict[str, tuple[Phase, Change | None]] = field(default_factory=dict)
    """By process: what its last event was about."""
    _silent: set[str] = field(default_factory=set)
    """Processes that were told to be silent."""

    def know(self, state: ProcessState) -> None:
        """Take a process as told: the leader before us did."""
        self._told[state.id] = (state.phase, state.change)

    def process(self, state: ProcessState) -> None:
        """Tell what is new about a child process."""
        before, change_before = self._told.get(state.id, (None, None))
        self._told[state.id] = (state.phase, state.change)
        model = state.labels.get("model", "")
        if state.phase is Phase.GONE:
            del self._told[state.id]
        elif state.phase is Phase.CRASHED and before is not Phase.CRASHED:
            if state.exit == "exit 0":
                self._record("Restarted", "drained and started again", state.id, model)
            else:
                self._record("Crashed", last_words(state), state.id, model, warning=True)
        elif state.phase is Phase.BACKOFF and before is Phase.CRASHED and state.restarts:
            message = f"after restart {state.restarts}: {last_words(state)}"
            self._record("CrashLoopBackOff", message, state.id, model, warning=True)
        self._silence(state, model)
        change = state.change
        if change is None or change == change_before:
            return
        if change.reason == "Ready":
            took_s = change.at - state.started_s
            message = change.message or (f"ready in {took_s:.1f} s" if 0 <= took_s < 3600 else "ready")
            self._record("Ready", message, state.id, model)
        elif change.reason in WORKER_ERRORS or change.reason == "Paused":
            self._record(change.reason, change.message, state.id, model, warning=True)

    def _silence(self, state: ProcessState, model: str) -> None:
        """Tell that it does not answer, and when it does again by itself."""
        if state.silent_s is not None and state.id not in self._silent:
            self._silent.add(state.id)
            self._record("Silent", "runs and does not answer", state.id, model, warning=True)
        elif state.silent_s is None and state.id in self._silent:
            self._silent.remove(state.id)
            if state.phase is Phase.READY:
                self._record("Answers", "answers again", state.id, model)

    def status(self, model: AIModel, new: Status) -> None:
        """Tell what became wrong with an AIModel."""
        before, after = model.status.condition("Degraded"), new.condition("Degraded")
        if after is None or not after.status or after.reason in WORKER_ERRORS | {"CrashLoopBackOff"}:
            return
        if before is None or not before.status or before.reason != after.reason:
            self._record(after.reason, after.message, "launcher", model.key, warning=True, severe=new.ready == 0)

    def scaled(self, model: AIModel, before: int, decision: Decision) -> None:
        """Tell a change of the number of replicas."""
        source = "autoscaler" if decision.active else "you"
        self._record(SCALED, f"{before} to {decision.desired}: {decision.message}", source, model.key)

    def dead_letters(self, model: AIModel, new: int, last: DeadLetter | None) -> None:
        """Tell that requests were given up, and of the last of them which one and why."""
        text = f"{new} request{'s' if new != 1 else ''} gave up after all attempts"
        if last is not None:
            text += f"{', the last one' if new != 1 else ''}: {last_cause(last)} (request {last.id})"
        self._record("DeadLetter", text, "queue", model.key, warning=True, severe=True)

    def said(self, reason: str, message: str, source: str, *, severe: bool = False) -> None:
        """Tell something about the box itself."""
        self._record(reason, message, source, "", warning=severe, severe=severe)

    def tell(self, event: Event) -> None:
        """Record an event; one that cannot be written is only logged, as what it tells about must go on."""
        try:
            self.store.record(event)
        except StoreError as error:
            log.error("event %s of %s (%s) is not kept: %s", event.reason, event.source, event.message, error)

    def views(self) -> tuple[EventView, ...]:
        """The newest events, newest first."""
        for event in self.store.events(SHOWN, since_rv=self._seen_rv):
            self._seen_rv = max(self._seen_rv, event.rv)
            self._views.pop(event.id, None)
            self._views[event.id] = _view(event)
        rows = sorted(self._views.values(), key=lambda view: -view.at_s)[:SHOWN]
        if len(self._views) > 2 * SHOWN:
            self._views = {int(row.key): row for row in reversed(rows)}
        return tuple(rows)

    def _record(
        self, reason: str, message: str, source: str, model: str, *, warning: bool = False, severe: bool = False
    ) -> None:
        self.tell(Event(reason=reason, message=message, source=source, model=model, warning=warning, severe=severe))


def last_cause(letter: DeadLetter) -> str:
    """Why a request was given up, in one line."""
    return " ".join((letter.error or letter.reason).split())[:300]


def last_words(state: ProcessState) -> str:
    """How a process ended, with the last that it said."""
    last = next((line for line in reversed(state.stderr_tail) if line.strip()), "")
    return f"{state.exit}: {last}" if last else state.exit


def _view(event: Event) -> EventView:
    return EventView(
        key=str(event.id),
        version=0,
        at_s=event.at_s,
        count=event.count,
        severe=event.severe,
        warning=event.warning,
        reason=safe_text(event.reason),
        source=safe_text(event.source),
        model=event.model,
        message=safe_text(event.message),
    )
