"""What a leader leaves to the next one: figures that nobody misses for long, so none may keep it from leading."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from operator_embed.box.store import Store, StoreError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that is remembered from one leader to the next."""

    key: str
    export: Callable[[], str]
    load: Callable[[str], object]
    """Given what `export` made, perhaps in an older program."""


def leave(store: Store, notes: Iterable[Note]) -> None:
    """Write all of them down."""
    for note in notes:
        try:
            store.put_soft(note.key, note.export())
        except StoreError as error:
            log.error("%s are not left to the next leader: %s", note.key, error)


def take_up(store: Store, notes: Iterable[Note]) -> None:
    """Read what the leader before us left; what cannot be understood is as good as nothing."""
    for note in notes:
        if saved := store.soft(note.key):
            try:
                note.load(saved)
            except (ValueError, TypeError, LookupError, AttributeError) as error:
                log.warning("%s of the leader before us are not understood: %s", note.key, error)
