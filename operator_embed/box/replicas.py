"""A worker process as the operator sees it."""

from __future__ import annotations

from operator_embed.box.chronicle import last_words
from operator_embed.reconcile import ANSWERING, WORKER_ERRORS, Phase, Replica
from worker_embed.process import spec as process
from worker_embed.process.spec import ProcessState
from worker_embed.wire import ErrorKind

SILENT = "runs and does nothing, as if it was frozen; it is started again if that goes on"
PHASES = {phase.value: phase for phase in Phase}


def replica_of(state: ProcessState, *, current: bool = True) -> Replica:
    """What the supervisor knows, refined by what the worker says while nobody ends it."""
    change = state.change
    said = change.reason if change else ""
    phase, reason, message = PHASES[state.phase], "", change.message if change else ""
    since_s = state.started_s
    if state.phase in (process.Phase.CRASHED, process.Phase.BACKOFF):
        reason = said if said in WORKER_ERRORS else ""
        message = message if reason else last_words(state)
    elif state.phase is process.Phase.READY and state.silent_s is not None:
        phase, reason, message = Phase.READY, ErrorKind.GENERAL, SILENT
    elif state.phase is process.Phase.STOPPING:
        phase = Phase.DRAINING if said == Phase.DRAINING else phase
    elif said in WORKER_ERRORS:
        # It runs, and takes nothing until that is over.
        phase, reason = Phase.PAUSED, said
    elif said in PHASES:
        phase = PHASES[said]
    ready_s = state.ready_s if phase in ANSWERING and not reason else None
    if change is not None:
        since_s = max(since_s, change.at)
        if ready_s is not None and phase is Phase.READY:
            ready_s = max(ready_s, change.at)
    return Replica(
        name=state.id,
        phase=phase,
        reason=reason,
        message=message,
        since_s=since_s,
        ready_s=ready_s,
        restarts=state.restarts,
        current=current,
    )
