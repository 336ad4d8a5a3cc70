"""Binding a TCP port, and who has it when it is taken."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

LISTENING = "0A"


class PortTaken(Exception):
    """The text is one line that names the holder and the way out."""


def bind(host: str, port: int, variable: str) -> socket.socket:
    """A bound socket; raises `PortTaken` when that is impossible."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(1024)
    except OSError as error:
        bound.close()
        if reason := foreign(host):
            raise PortTaken(f"{reason}; set {variable.replace('PORT', 'HOST')}") from None
        if error.errno != errno.EADDRINUSE:
            raise PortTaken(f"cannot listen on {host}:{port}: {error.strerror}; set {variable}") from None
        raise PortTaken(f"{host}:{port} is taken by {holder(port)}; end it or set {variable}") from None
    bound.setblocking(False)
    return bound


def foreign(host: str) -> str:
    """Why nothing can listen on `host` here, whatever the port; empty when it is an address of this machine."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.bind((host, 0))
    except OSError as error:
        return f"{host} is no address of this machine ({error.strerror})"
    return ""


def holder(port: int) -> str:
    """`pid 123 (python -m http.server)`, as far as /proc shows it to this user."""
    sockets = {f"socket:[{inode}]" for inode in _inodes(port)}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(os.readlink(fd) in sockets for fd in (process / "fd").iterdir()):
                argv = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                return f"pid {process.name} ({ascii(argv[:120])[1:-1]})"
    return "a process of another user"


def _inodes(port: int) -> Iterator[str]:
    """Of the sockets that listen on `port`; the tables are described in proc(5)."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]
