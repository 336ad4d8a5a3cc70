"""`python -m console.gateway`: one API node process, configured by its environment."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace
from functools import partial

import uvloop

from console.gateway.config import ConfigError, GatewayConfig
from console.gateway.gateway import Gateway
from console.gateway.late_queue import LateQueue
from console.gateway.ports import PortTaken
from console.gateway.server import allow_connections
from operator_embed.box.database import StoreError
from operator_embed.box.directory import BoxDirectory
from operator_embed.box.home import HomeError
from worker_embed.queue.open import open_queue
from worker_embed.queue.port import Queue


async def serve(config: GatewayConfig) -> None:
    """Run until SIGTERM or SIGINT, then drain. Clients are listened to at once, also while the queue is away."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    directory = BoxDirectory(config.home)
    await directory.start()
    queue = LateQueue(partial(_reach, config), config.limits.publish_s)
    gateway = Gateway(config, queue, directory)
    try:
        await gateway.start()
        await stop.wait()
        await gateway.drain()
    finally:
        await gateway.close()
        await directory.close()
        await queue.close()


async def _reach(config: GatewayConfig) -> Queue:
    return await open_queue(
        config.queue_url, token=config.queue_token, name=config.name, timeout_s=config.limits.publish_s
    )


def main() -> int:
    """Exit 0 after a drain, 1 when it cannot start, 2 when its environment is wrong."""
    try:
        config = GatewayConfig.from_env(os.environ)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    limits = replace(config.limits, connections=allow_connections(config.limits.connections))
    try:
        uvloop.run(serve(replace(config, limits=limits)))
    except (PortTaken, StoreError, HomeError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
