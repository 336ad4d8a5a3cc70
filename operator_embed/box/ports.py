"""Ports that the kernel picked once and that are used again.

A broker that returns on another port never gets its clients back, and a task names its API node by URL.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec

from worker_embed.queue.nats_server import free_port

Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]


def recorded_port(file: Path, name: str) -> int:
    """The port recorded under `name`; picked by the kernel and recorded when there is none yet."""
    try:
        ports = msgspec.json.decode(file.read_bytes(), type=dict[str, Port])
    except (FileNotFoundError, msgspec.DecodeError):
        ports = {}
    if name not in ports:
        ports[name] = free_port()
        part = file.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(ports))
        os.replace(part, file)
    return ports[name]
