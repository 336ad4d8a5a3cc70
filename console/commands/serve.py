"""`uplion serve`: the engine without a console."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys

from console import settings
from console.wiring import leadership, log_to
from operator_embed.box.home import Home
from operator_embed.box.leadership import take_over


def serve(options: argparse.Namespace) -> int:
    """Lead, or follow until nobody else does. SIGTERM and SIGHUP leave the models running, SIGINT stops them."""
    home = Home.default()
    log_to(home)
    asyncio.run(_serve(home, settings.load(home.config), options))
    return 0


async def _serve(home: Home, chosen: settings.Settings, options: argparse.Namespace) -> None:
    ours = leadership(home, chosen, serve=True, lock_fd=options.lock_fd)
    loop, stops = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    running = asyncio.create_task(ours.run() if options.handover_fd is None else take_over(ours, options.handover_fd))
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, running.cancel)

    async def stop() -> None:
        await ours.stop_all()
        running.cancel()

    loop.add_signal_handler(signal.SIGINT, lambda: stops.add(asyncio.create_task(stop())))
    if sys.stdout.isatty():
        print(f"uplion serve: {chosen.api_url}; ctrl+c stops all models, SIGTERM leaves them running")
    with contextlib.suppress(asyncio.CancelledError):
        await running
