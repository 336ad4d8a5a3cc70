"""Ending a process that holds a GPU."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from operator_embed.fleet.fleet import FleetError, FleetView


class BoxGpus:
    """The facet `gpus` of a box."""

    def __init__(self, view: Callable[[], FleetView]) -> None:
        self._view = view

    async def kill(self, pid: int) -> None:
        """SIGKILL a process that is seen on a GPU; raises `FleetError` when it may not."""
        view = self._view()
        if view.gpu_panel.stale or view.context.leader_pid is None:
            raise FleetError(
                f"process {pid}: nobody knows whether it is still the one that was seen; wait for new figures"
            )
        if not any(process.pid == pid for process in view.gpu_processes):
            raise FleetError(f"process {pid} is on no GPU any more")
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            raise FleetError(f"process {pid} has just ended") from None
        except PermissionError:
            raise FleetError(f"process {pid} belongs to another user; ask them, or root") from None
