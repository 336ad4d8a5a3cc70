"""`uplion`: the console of this box."""

from __future__ import annotations

import argparse
import asyncio
import signal

from console import settings
from console.app import Console
from console.wiring import EngineThread, log_to
from operator_embed.box.fleet import BoxFleet
from operator_embed.box.home import Home


def console(_: argparse.Namespace) -> int:
    """Open the console, and lead the box where nobody else does."""
    home = Home.default()
    log_to(home)
    asyncio.run(_console(home, settings.load(home.config)))
    return 0


async def _console(home: Home, chosen: settings.Settings) -> None:
    fleet = BoxFleet(home, chosen.api_url)
    engine = EngineThread(home, chosen)
    app = Console(fleet, leaving=engine)
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, app.exit)
    fleet.start()
    engine.start()
    try:
        await app.run_async()
    finally:
        await fleet.close()
        if engine.leads:
            await engine.keep_running()
        engine.close()
