"""`uplion`: the console of this box."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from console import assets, settings
from console.commands.errors import CommandError
from console.settings import Settings
from operator_embed.box.home import Home
from operator_embed.fleet.fleet import ContextView

if TYPE_CHECKING:
    import argparse

    from console.wiring import EngineThread
    from operator_embed.box.fleet import BoxFleet


def console(options: argparse.Namespace) -> int:
    """Open the console, and lead the box where nobody else does; or print the main screen once."""
    settings.take_flags(options)
    home = Home.default()
    chosen = settings.load(home.config)
    if options.once:
        from console.commands.once import once

        return once(chosen)
    home.prepare()
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise CommandError("the console needs a terminal; uplion --once prints it as text, uplion serve needs none")
    gc.disable()  # imports leave nothing to collect, and looking for it takes 5 % of their time
    asyncio.run(_console(home, chosen))
    return 0


async def _console(home: Home, chosen: Settings) -> None:
    """Show the console; what it led when it ended without being asked goes to `uplion serve`."""
    from console.app import Console
    from console.late import LateFleet
    from screens.actions import keymap

    fleet = LateFleet(ContextView(name=os.uname().nodename, headline="loading", api_url=chosen.api_url))
    async with AsyncExitStack() as ending:

        async def load() -> None:
            """What costs time is loaded beside the painted screen."""
            gc.enable()
            box, engine = await asyncio.to_thread(_box, home, chosen)
            ending.push_async_callback(_leave, engine)
            ending.push_async_callback(box.close)
            box.start()
            if not chosen.read_only:
                engine.start()
            app.leaving = engine
            fleet.become(box)

        app = Console(
            fleet,
            keymap=keymap(chosen.keys),
            ascii_only=chosen.ascii,
            read_only=chosen.read_only,
            on_painted=load,
        )
        if chosen.theme not in app.available_themes:
            raise CommandError(
                f"theme: {chosen.theme!r} is not known; known are {', '.join(sorted(app.available_themes))}"
            )
        app.theme = chosen.theme
        app.sample = assets.sample()
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, app.exit)
        left = await app.run_async()
    if app.crash is not None:
        raise app.crash
    if left:
        print(_farewell(left, home))


def _farewell(left: str, home: Home) -> str:
    """What became of the models, and how to change that."""
    from console.commands.after_stop import after_stop
    from operator_embed.box.lock import Lock

    if left == "stop":
        return after_stop(home)
    pid = Lock(home.lock).holder()
    return f"the models keep running, uplion serve (pid {pid}) leads; kill -INT {pid} drains and stops them"


async def _leave(engine: EngineThread) -> None:
    if engine.leads:
        await engine.keep_running()
    engine.close()


def _box(home: Home, chosen: Settings) -> tuple[BoxFleet, EngineThread]:
    from console.wiring import EngineThread, log_to
    from operator_embed.box.fleet import BoxFleet

    log_to(home)
    return BoxFleet(home, chosen.api_url), EngineThread(home, chosen)
