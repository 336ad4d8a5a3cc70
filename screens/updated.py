"""A console whose program was updated on disk while it runs: what it has not imported yet does not fit any more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from textual.actions import ActionParseResult
from textual.dom import DOMNode
from textual.worker import WorkerFailed

from screens.keys_in_order import KeysInOrder

R = TypeVar("R")


class OutlivesUpdates(KeysInOrder[R]):
    """What needs a part that cannot be imported is not done and said so; all else goes on."""

    def say_updated(self, missing: ImportError) -> None:
        """Tell what to do, in one line."""
        self.notify(
            f"the program was updated on disk: restart the console; models go on ({missing})",
            severity="error",
            markup=False,
        )

    async def run_action(
        self,
        action: str | ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        try:
            return await super().run_action(action, default_namespace, namespaces)
        except ImportError as missing:
            self.say_updated(missing)
            return True

    def _handle_exception(self, error: Exception) -> None:
        """Textual's own ends the app, also for an action that runs as a worker."""
        cause = error.error if isinstance(error, WorkerFailed) else error
        if isinstance(cause, ImportError):
            self.say_updated(cause)
        else:
            super()._handle_exception(error)
