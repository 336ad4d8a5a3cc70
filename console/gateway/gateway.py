"""One API node: clients on one port, workers on another, a queue between them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from console.gateway.app import App
from console.gateway.config import GatewayConfig
from console.gateway.figures import Beater
from console.gateway.late_queue import TaskQueue
from console.gateway.listener import Listener
from console.gateway.log import Changes, LogFile, LogHandler
from console.gateway.node import Node
from console.gateway.ports import bind
from console.gateway.server import HttpServer
from operator_embed.directory import ModelDirectory
from worker_embed.wire import ErrorKind

LOST_QUEUE_S = 30.0
FLUSH_S = 2.0
POLL_S = 0.05

_log = logging.getLogger(__name__)


class Gateway:
    """Runs an API node inside a loop; queue and directory are the caller's to start and close."""

    def __init__(self, config: GatewayConfig, queue: TaskQueue, directory: ModelDirectory) -> None:
        self._config = config
        self._queue = queue
        self._file = LogFile(config.log)
        self._changes = Changes(config.events)
        self._beater = Beater(config.beat) if config.beat is not None else None
        self.node = Node(config.limits, max_attempts=config.max_attempts)
        self.app = App(config, queue, directory, self.node, log=self._file.add)
        self._listener = Listener(self.node)
        self._http = HttpServer(self.app, config.limits, websockets=config.compat)
        self._tasks: list[asyncio.Task[None]] = []
        self._handler = LogHandler(self._file)
        self.url = ""
        """Base URL for clients, without a version."""

    async def start(self) -> None:
        """Listen on both ports; raises `PortTaken`."""
        clients = bind(self._config.host, self._config.port, "UPLION_API_PORT")
        try:
            workers = bind("127.0.0.1", self._config.node_port, "UPLION_NODE_PORT")
        except Exception:
            clients.close()
            raise
        host, port = clients.getsockname()[:2]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self.app.inference.endpoint = self.url
        self.app.connections = lambda: self._http.connections
        logging.getLogger().addHandler(self._handler)
        await self._listener.start(workers)
        await self._http.start(clients)
        self._tasks = [asyncio.create_task(self._tick()), asyncio.create_task(self._follow_queue())]
        self._changes.say("Ready", f"{self.url}, workers call {self.node.url}")

    async def drain(self) -> None:
        """Refuse what is new, let what runs finish for a while, then tell the rest that it will not."""
        self._changes.say("Draining")
        self.app.inference.draining = True
        if not self._config.compat:
            self._http.stop()
        begun_s = self.node.clock()
        await _soon(lambda: self._nothing_is_to_come(begun_s), self._config.limits.drain_s)
        self.app.inference.stop()
        self._http.stop()
        await _soon(lambda: not self._http.connections, FLUSH_S)

    def _nothing_is_to_come(self, begun_s: float) -> bool:
        """Whether all is answered, or no worker has come that would; the original's do not stay connected."""
        if not self.node.waiting:
            return True
        alone_s = min(self.node.alone_s, self.node.clock() - begun_s)
        return alone_s >= self._config.limits.alone_s and not self._config.compat

    async def close(self) -> None:
        """Close both ports; requests still waiting are cut off."""
        await self._http.close()
        await self.app.inference.close()
        await self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._beater is not None:
            self._beater.close()
        self._changes.say("Stopped")
        logging.getLogger().removeHandler(self._handler)
        self._file.close()

    async def _tick(self) -> None:
        """What fails once must not end the deadlines of all requests to come."""
        while True:
            try:
                self._look()
            except Exception:
                _log.exception("a tick failed")
            await asyncio.sleep(self._config.limits.tick_s)

    def _look(self) -> None:
        self._http.tick()
        self.node.sweep()
        self.app.inference.sweep()
        self._file.flush()
        if self._beater is not None:
            self._beater.send(self.app.figures.beat(self.node.waiting, self._http.connections))

    async def _follow_queue(self) -> None:
        """A queue that is away for a moment is nobody's business."""
        loop = asyncio.get_running_loop()
        told = False

        def tell() -> None:
            nonlocal told
            told = True
            self._changes.say(ErrorKind.QUEUE_CONNECTION, f"no connection to the queue for {LOST_QUEUE_S:.0f} s")

        timer = None
        try:
            async for back in self._queue.lost():
                if timer is not None:
                    timer.cancel()
                timer = None if back else loop.call_later(LOST_QUEUE_S, tell)
                if back and told:
                    told = False
                    self._changes.say("Ready", self.url)
        finally:
            if timer is not None:
                timer.cancel()


async def _soon(happened: Callable[[], bool], limit_s: float) -> None:
    """Return when it has happened, or after `limit_s`."""
    for _ in range(round(limit_s / POLL_S)):
        if happened():
            return
        await asyncio.sleep(POLL_S)
