"""The one place where concrete classes are chosen: a box, its leader, its API node, and the console on it."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING

from console.settings import Settings
from operator_embed.box.home import Home, HomeError
from operator_embed.box.lock import Lock
from operator_embed.fleet.fleet import FleetError
from worker_embed.process.spec import ProcessSpec, Stop

if TYPE_CHECKING:
    from operator_embed.box.children import NodePlace
    from operator_embed.box.leadership import Leadership

log = logging.getLogger(__name__)

SERVE = (sys.executable, "-m", "console", "serve")
DRAIN_S = 30.0
TRY_EVERY_S = 1.0
"""How often a follower looks whether anybody leads."""


def log_to(home: Home) -> None:
    """Everything that is worth a line goes to `logs/uplion.log`; nothing is ever printed over the screen."""
    home.prepare()
    handler = RotatingFileHandler(home.logs / "uplion.log", maxBytes=4 << 20, backupCount=2, delay=True)
    form = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    form.converter = time.gmtime
    handler.setFormatter(form)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.raiseExceptions = False  # a log that cannot be written is no page of Python on a terminal
    logging.getLogger("httpx").setLevel(logging.WARNING)


def leadership(home: Home, settings: Settings, lock: Lock, *, serve: bool) -> Leadership:
    """This process's part in leading the box; loads what a leader needs, which takes a while."""
    from operator_embed.box.children import Settings as EngineSettings
    from operator_embed.box.leadership import Leadership
    from worker_embed.process.program import allow_files

    allow_files()
    parts = EngineSettings(
        api_node=lambda place: api_node(place, settings),
        api_url=settings.api_url,
        api_is_open=settings.api_is_open,
        serve=serve,
    )
    return Leadership(home, parts, SERVE, lock)


def api_node(place: NodePlace, settings: Settings) -> ProcessSpec:
    """The API node as a child process of its own session."""
    from worker_embed.process.program import our_version

    async def ready() -> bool:
        try:
            async with asyncio.timeout(1.0):
                reader, writer = await asyncio.open_connection(settings.api_local_host, settings.api_port)
                writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                status = await reader.readline()
                writer.close()
        except (OSError, TimeoutError):
            return False
        # 503 is a node whose connections are all taken: the last one that should be killed for it.
        return status.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 503 "))

    return ProcessSpec(
        id="gateway",
        role="api",
        argv=(sys.executable, "-m", "console.gateway"),
        version=our_version(),
        env={
            "UPLION_API_HOST": settings.api_host,
            "UPLION_API_PORT": str(settings.api_port),
            "UPLION_NODE_PORT": str(place.node_port),
            "UPLION_TIMEOUT_S": str(settings.timeout_s),
            "UPLION_COMPAT": str(settings.compat).lower(),
            "PULSAR_URL": place.queue_url,
            "UPLION_QUEUE_TOKEN_FILE": str(place.queue_token_file),
            "UPLION_BEAT": str(place.beat),
            "UPLION_EVENTS": str(place.events),
            "UPLION_LOG": str(place.log),
        },
        ready=ready,
        stop=Stop(drain_s=DRAIN_S),
        log=place.out,
        events=place.events,
    )


class EngineThread:
    """The engine beside a console: one thread with its own loop, which the screen never waits for."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self._home, self._settings = home, settings
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = Lock(home.lock)
        self._leadership: Leadership | None = None
        self._running: asyncio.Task[None] | None = None
        self._closing = threading.Event()
        self._refused = ""
        """Why the lock of the box could not even be tried, when it was last."""

    def start(self) -> None:
        """Begin to follow, and to lead where nobody does; raises `FleetError` where that is tried and fails."""
        if self._thread is not None and self._thread.is_alive():
            if self._refused:
                raise FleetError(f"cannot lead: {self._refused}")
            return
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def leads(self) -> bool:
        """Whether this process runs the models, or has begun to: from then on nobody else can."""
        return self._lock.held

    async def keep_running(self) -> None:
        """Hand over to `uplion serve`; raises `FleetError`, and leads on, when that fails."""
        from operator_embed.box.leadership import HandOverError

        try:
            await self._on_leader(lambda leader: leader.keep_running())
        except HandOverError as error:
            raise FleetError(str(error)) from error

    async def stop_all(self) -> None:
        """Drain and end all that runs on this box."""
        await self._on_leader(lambda leader: leader.stop_all())

    def close(self) -> None:
        """End the thread; what runs, runs on."""
        self._closing.set()
        if self._loop is not None and self._running is not None:
            self._loop.call_soon_threadsafe(self._running.cancel)
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except asyncio.CancelledError:
            pass
        except Exception:
            log.exception("the engine ended")

    async def _main(self) -> None:
        """Follow until nobody else leads; a console that only follows never loads an engine."""
        self._loop, self._running = asyncio.get_running_loop(), asyncio.current_task()
        try:
            # Whoever closes before there is a loop to tell finds this.
            while not self._closing.is_set():
                if self._acquired():
                    self._leadership = leadership(self._home, self._settings, self._lock, serve=False)
                    await self._leadership.run()
                await asyncio.sleep(TRY_EVERY_S)
        finally:
            self._loop = self._leadership = None
            self._lock.release()

    def _acquired(self) -> bool:
        try:
            acquired = self._lock.try_acquire()
        except HomeError as error:
            log.error("cannot lead: %s", error)
            self._refused = str(error)
            return False
        self._refused = ""
        return acquired

    async def _on_leader(self, ask: Callable[[Leadership], Awaitable[None]]) -> None:
        """Ask in the engine's thread, which may be loading what a leader needs: then it is asked once it leads."""

        async def asked() -> None:
            if self._leadership is not None:
                await ask(self._leadership)

        if self._loop is not None:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asked(), self._loop))
