"""The port for clients: uvicorn's protocol without its server, whose signals, polling and logging are not wanted."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from console.gateway.config import Limits
from console.gateway.exchange import Message, Receive, Send
from console.gateway.protocol import GuardedHttp

SPARE_FILES = 256
"""For workers, the queue, the store and logs."""

AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]


class HttpServer:
    """Serves one ASGI application on one socket."""

    def __init__(self, app: AsgiApp, limits: Limits, *, websockets: bool = False) -> None:
        self._limits = limits
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        served: Any = app
        self._config = Config(
            served,
            http=GuardedHttp,
            ws="websockets-sansio" if websockets else "none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=int(limits.idle_s),
        )
        self._config.load()
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)

    @property
    def connections(self) -> int:
        return len(self._state.connections)

    async def start(self, sock: socket.socket) -> None:
        """Accept clients on a bound socket."""
        self.tick()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: GuardedHttp(self._limits, self._config, self._state), sock=sock)

    def tick(self) -> None:
        """Once a second: the `Date` header."""
        self._state.default_headers = [(b"date", formatdate(usegmt=True).encode())]

    def stop(self) -> None:
        """Accept nobody more and close what is idle; requests under way go on."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()

    async def close(self) -> None:
        """End what is left."""
        self.stop()
        for connection in list(self._state.connections):
            connection.transport.abort()
        if tasks := list(self._state.tasks):
            await asyncio.wait(tasks, timeout=5)


def allow_connections(wanted: int) -> int:
    """Raise the limit of open files for so many clients; returns how many of them fit under the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = wanted + SPARE_FILES
    if resource.RLIM_INFINITY in (soft, hard) or soft >= files:
        return wanted
    files = min(files, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return max(files - SPARE_FILES, 1)
