"""Which logs of replicas that are gone are kept."""

from __future__ import annotations

import os
from pathlib import Path

from operator_embed.box.replica_logs import drop_logs


def log(folder: Path, name: str, written_s: float) -> None:
    (folder / name).write_text("")
    os.utime(folder / name, (written_s, written_s))


def left(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_the_newest_that_are_gone_and_all_that_run_are_kept(tmp_path: Path) -> None:
    for number, replica in enumerate(["m-aaaaa", "m-bbbbb", "m-ccccc", "m-ddddd"]):
        log(tmp_path, f"{replica}.log", number)
        log(tmp_path, f"{replica}.out", 0)
    log(tmp_path, "m-aaaaa.log.1", 0)
    drop_logs(tmp_path, "m", {"m-aaaaa"}, keep=1)
    assert left(tmp_path) == {"m-aaaaa.log", "m-aaaaa.out", "m-aaaaa.log.1", "m-ddddd.log", "m-ddddd.out"}


def test_other_models_logs_stay(tmp_path: Path) -> None:
    others = {"m-x-aaaaa.log", "mm-aaaaa.log", "gateway.log", "m.log"}
    for name in others | {"m-aaaaa.log"}:
        log(tmp_path, name, 1)
    drop_logs(tmp_path, "m", (), keep=0)
    assert left(tmp_path) == others
