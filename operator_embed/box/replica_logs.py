"""Logs of replicas that are gone: the newest can still be read, the others make room."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path


def drop_logs(folder: Path, model: str, running: Collection[str], *, keep: int) -> None:
    """Remove the logs of all replicas of that model's name but the `keep` newest and those that are `running`."""
    by_replica: dict[str, list[Path]] = {}
    for file in folder.glob(f"{model}-?????.*"):
        by_replica.setdefault(file.name.partition(".")[0], []).append(file)
    gone = [files for name, files in by_replica.items() if name not in running]
    gone.sort(key=lambda files: -max(map(written_s, files)))
    for files in gone[keep:]:
        for file in files:
            file.unlink(missing_ok=True)


def written_s(file: Path) -> float:
    """Unix time of the newest line; 0 for a log that is removed just now."""
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return 0.0
