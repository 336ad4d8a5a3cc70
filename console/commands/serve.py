"""`uplion serve`: the engine without a console."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import signal

from console import settings
from console.commands.after_stop import after_stop
from console.commands.box import in_shell
from console.commands.errors import CommandError
from console.gateway import ports
from console.settings import Settings
from console.wiring import leadership, log_to
from operator_embed.box.fleet import BoxFleet
from operator_embed.box.home import Home
from operator_embed.box.leadership import Leadership, take_over
from operator_embed.box.lock import Lock
from operator_embed.box.store import Store
from screens.tones import event_mark
from worker_embed.queue import nats_server

LOOK_EVERY_S = 1.0
FORGOTTEN_S = 300.0
"""A failure that comes back sooner, with other figures at most, is no news."""


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
        stopped = asyncio.run(_serve(home, chosen, options, leadership(home, chosen, lock, serve=True)))
    except KeyboardInterrupt:
        _say("left before it led: what runs, runs on")
        raise
    if stopped:
        _say(after_stop(home))
    return 0


async def _serve(home: Home, chosen: Settings, options: argparse.Namespace, ours: Leadership) -> bool:
    """Whether it ended because all models were stopped."""
    loop, stops = asyncio.get_running_loop(), list[asyncio.Task[None]]()
    left = asyncio.Event()
    running = loop.create_task(ours.run() if options.handover_fd is None else take_over(ours, options.handover_fd))
    telling = loop.create_task(_tell(home, chosen, ours))

    def leave() -> None:
        left.set()
        running.cancel()

    def interrupted() -> None:
        if stops or not ours.lock.held:
            _say("leaving: what runs, runs on")
            leave()
        else:
            _say("stopping all models: drains for up to 30 s; ctrl+c again leaves them running")
            stops.append(loop.create_task(_stop(ours, running)))

    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, leave)
    loop.add_signal_handler(signal.SIGINT, interrupted)
    with contextlib.suppress(asyncio.CancelledError):
        await running
    telling.cancel()
    await asyncio.gather(telling, *stops, return_exceptions=True)
    return bool(stops) and not left.is_set()


async def _stop(ours: Leadership, running: asyncio.Task[None]) -> None:
    await ours.stop_all()
    running.cancel()


async def _tell(home: Home, chosen: Settings, ours: Leadership) -> None:
    """Who leads, and each failure when it comes: what a console shows, for a terminal or a journal."""
    fleet = BoxFleet(home, chosen.api_url)
    await _waited(fleet, ours)
    nowhere = ports.foreign(chosen.api_host)
    api = f"no API: {nowhere}; set UPLION_API_HOST" if nowhere else f"API {chosen.api_url}"
    _say(f"leads {home.root}, {api}; ctrl+c stops all models, SIGTERM leaves them running")
    fleet.start()
    try:
        seen_s: dict[tuple[str, str], float] = {}
        async for _ in fleet.changes():
            now_s = fleet.view().at_s
            seen_s = {known: last_s for known, last_s in seen_s.items() if now_s - last_s < FORGOTTEN_S}
            for failure in fleet.view().failures:
                known = (failure.key, re.sub(r"\d+", "", failure.message))
                if known not in seen_s:
                    message = in_shell(failure.message, failure.model)
                    _say(f"{event_mark(failure)} {failure.subject}: {failure.reason}: {message}")
                seen_s[known] = now_s
    finally:
        await fleet.close()


async def _waited(fleet: BoxFleet, ours: Leadership) -> None:
    """Return once we lead; until then say who does, each one once."""
    told = None
    while not ours.leads.is_set():
        pid = None if ours.lock.held else fleet.leader()
        if pid and pid != told:
            _say(f"pid {pid} leads; waiting")
            told = pid
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S):
                await ours.leads.wait()


def _say(text: str) -> None:
    """A reader that went away is no reason to stop."""
    with contextlib.suppress(OSError):
        print(f"uplion serve: {text}", flush=True)
