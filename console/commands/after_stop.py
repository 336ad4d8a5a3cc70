"""Who runs a box after its leader was told to stop everything."""

from __future__ import annotations

import time

from operator_embed.box.home import Home
from operator_embed.box.lock import Lock

TAKES_OVER_S = 2.5
"""Whoever waits to lead looks once a second, later on a machine that is busy."""
LOOK_EVERY_S = 0.1


def after_stop(home: Home) -> str:
    """What became of the models that were stopped: a console or another `uplion serve` may have waited for that."""
    lock, end_s = Lock(home.lock), time.monotonic() + TAKES_OVER_S
    while not (pid := lock.holder()) and time.monotonic() < end_s:
        time.sleep(LOOK_EVERY_S)
    if not pid:
        return "all models are stopped"
    return f"stopped, but pid {pid} waited to lead: it took over and runs them again; kill -INT {pid} stops them there"
