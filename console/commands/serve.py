"""`uplion serve`: the engine without a console."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal

from console import settings
from console.commands.box import in_shell
from console.commands.errors import CommandError
from console.settings import Settings
from console.wiring import leadership, log_to
from operator_embed.box.fleet import BoxFleet
from operator_embed.box.home import Home
from operator_embed.box.leadership import Leadership, take_over
from operator_embed.box.lock import Lock
from operator_embed.box.store import Store
from screens.tones import event_mark
from worker_embed.queue import nats_server


def serve(options: argparse.Namespace) -> int:
    """Lead, or follow until nobody else does. SIGTERM and SIGHUP leave the models running, SIGINT stops them."""
    settings.take_flags(options)
    home = Home.default()
    log_to(home)
    chosen = settings.load(home.config)
    Store(home).close()
    if missing := nats_server.missing():
        raise CommandError(missing)
    lock = Lock(home.lock) if options.lock_fd is None else Lock.from_fd(home.lock, options.lock_fd)
    try:
        asyncio.run(_serve(home, chosen, options, leadership(home, chosen, lock, serve=True)))
    except KeyboardInterrupt:
        _say("left before it led: what runs, runs on")
        raise
    return 0


async def _serve(home: Home, chosen: Settings, options: argparse.Namespace, ours: Leadership) -> None:
    loop, stops = asyncio.get_running_loop(), list[asyncio.Task[None]]()
    running = loop.create_task(ours.run() if options.handover_fd is None else take_over(ours, options.handover_fd))
    telling = loop.create_task(_tell(home, chosen, ours))

    def interrupted() -> None:
        if stops or not ours.lock.held:
            _say("leaving: what runs, runs on")
            running.cancel()
        else:
            _say("stopping all models: drains for up to 30 s; ctrl+c again leaves them running")
            stops.append(loop.create_task(_stop(ours, running)))

    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, running.cancel)
    loop.add_signal_handler(signal.SIGINT, interrupted)
    with contextlib.suppress(asyncio.CancelledError):
        await running
    telling.cancel()
    await asyncio.gather(telling, *stops, return_exceptions=True)


async def _stop(ours: Leadership, running: asyncio.Task[None]) -> None:
    await ours.stop_all()
    running.cancel()


async def _tell(home: Home, chosen: Settings, ours: Leadership) -> None:
    """Who leads, and each failure when it comes: what a console shows, for a terminal or a journal."""
    fleet = BoxFleet(home, chosen.api_url)
    if not ours.lock.held and (pid := fleet.leader()) is not None:
        _say(f"pid {pid} leads; waiting")
    await ours.leads.wait()
    _say(f"leads {home.root}, API {chosen.api_url}; ctrl+c stops all models, SIGTERM leaves them running")
    fleet.start()
    try:
        known = set[str]()
        async for _ in fleet.changes():
            failures = fleet.view().failures
            for failure in failures:
                if failure.key not in known:
                    _say(f"{event_mark(failure)} {failure.subject}: {failure.reason}: {in_shell(failure.message)}")
            known = {failure.key for failure in failures}
    finally:
        await fleet.close()


def _say(text: str) -> None:
    """A reader that went away is no reason to stop."""
    with contextlib.suppress(OSError):
        print(f"uplion serve: {text}", flush=True)
