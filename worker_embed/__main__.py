"""`python -m worker_embed`: one worker, told what to do by its environment."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import uvloop

from worker_embed.config import ConfigError, WorkerConfig
from worker_embed.engines.choice import choose_engine
from worker_embed.engines.port import EngineFailed
from worker_embed.queue.open import open_queue
from worker_embed.queue.port import Queue, QueueError
from worker_embed.reporter import Reporter
from worker_embed.rotating_log import log_to
from worker_embed.task_run import Limits
from worker_embed.wire import ErrorKind
from worker_embed.worker import Worker

CONNECT_AGAIN_S: Final = 1.0
CLOSE_S: Final = 5.0

log = logging.getLogger("worker")


def main(env: Mapping[str, str]) -> int:
    """Serve until SIGTERM; the exit code is 1 where that was not possible, with the reason told to who supervises."""
    events, beat = (Path(env[name]) if env.get(name) else None for name in ("UPLION_EVENTS", "UPLION_BEAT"))
    reporter = Reporter(events, beat)
    try:
        config = WorkerConfig.from_env(env)
        log_to(config.log)
        reporter.change("Starting")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(config, reporter))
    except ConfigError as error:
        return _fail(reporter, ErrorKind.CONFIGURATION, str(error))
    except QueueError as error:
        return _fail(reporter, ErrorKind.QUEUE_CONNECTION, str(error))
    except EngineFailed as error:
        return _fail(reporter, error.kind, str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(reporter, ErrorKind.GENERAL, f"{where}{error.strerror or error}")
    reporter.change("Stopped")
    return 0


async def _serve(config: WorkerConfig, reporter: Reporter) -> None:
    engine = choose_engine(config)
    connecting = asyncio.create_task(_connect(config, reporter))
    worker: Worker | None = None
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        if worker is None:
            connecting.cancel()
        else:
            worker.stop()

    _on_signals(stop)
    try:
        queue = await connecting
    except asyncio.CancelledError:
        return
    worker = Worker(config, queue, engine, reporter)
    if stopped:  # when it was connected, and before we knew
        worker.stop()
    try:
        await worker.run()
    finally:
        with contextlib.suppress(QueueError, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await queue.close()


async def _connect(config: WorkerConfig, reporter: Reporter) -> Queue:
    """The queue, as soon as it can be reached."""
    began_s = time.monotonic()
    while True:
        try:
            return await open_queue(config.queue_url, token=config.queue_token, name=config.replica)
        except QueueError as error:
            log.warning("%s", error)
            if time.monotonic() - began_s > Limits().queue_lost_s:
                reporter.change(ErrorKind.QUEUE_CONNECTION, str(error))
        await asyncio.sleep(CONNECT_AGAIN_S)


def _on_signals(act: Callable[[], object]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, act)


def _fail(reporter: Reporter, kind: ErrorKind, message: str) -> int:
    reporter.change(kind, message)
    sys.stderr.write(f"{kind}: {message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(os.environ))
