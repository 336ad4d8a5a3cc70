"""Ports that the kernel picked once and that are used again.

A broker that returns on another port never gets its clients back, and a task names its API node by URL.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from worker_embed.queue.nats_server import free_port


def recorded_port(file: Path, name: str) -> int:
    """The port recorded under `name`; picked by the kernel and recorded when there is none yet."""
    try:
        ports: dict[str, int] = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        ports = {}
    if name not in ports:
        ports[name] = free_port()
        part = file.with_suffix(".part")
        part.write_text(json.dumps(ports))
        os.replace(part, file)
    return ports[name]
