"""What a box has written into its accounts."""

from __future__ import annotations

import sqlite3
from collections.abc import Set
from contextlib import closing

from tests.real.box import Box


def usage(box: Box) -> dict[str, tuple[str, int, int]]:
    """Outcome, prompt and completion tokens of each request that was recorded."""
    with closing(sqlite3.connect(f"file:{box.home.root / 'accounts.db'}?mode=ro", uri=True)) as accounts:
        rows = accounts.execute("SELECT request_id, status, prompt_tokens, completion_tokens FROM usage").fetchall()
    assert len(rows) == len({row[0] for row in rows})
    return {id: (status, prompt, completion) for id, status, prompt, completion in rows}


def replicas_that_answered(box: Box, ids: Set[str]) -> set[str]:
    """Who worked on these requests."""
    with closing(sqlite3.connect(f"file:{box.home.root / 'accounts.db'}?mode=ro", uri=True)) as accounts:
        return {replica for id, replica in accounts.execute("SELECT request_id, replica FROM usage") if id in ids}
