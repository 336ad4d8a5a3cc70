"""A real nats-server on a kept port, to be killed and restarted by tests of any part."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from worker_embed.queue import nats_server


class NatsServer:
    """One server process; port, token and store survive `kill` and `start`."""

    def __init__(self, folder: Path) -> None:
        self.port = nats_server.free_port()
        self.url = nats_server.url(self.port)
        self.token_file = nats_server.token_file(folder)
        self.token = self.token_file.read_text()
        self.log = folder / "server.log"
        self.store = folder / "js"
        self.spec = nats_server.spec(folder, self.port, self.log)
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start the server and wait until it speaks."""
        process = self._spawn()
        async with asyncio.timeout(20):
            while not await self.spec.ready():
                assert process.poll() is None, self.log.read_text()
                await asyncio.sleep(0.01)

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self.spec.argv, stdout=log, stderr=log)
        return self._process

    def freeze(self) -> None:
        """SIGSTOP: it stands and says nothing."""
        if self._process:
            self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """`kill -9`; nothing when it does not run."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def terminate(self) -> None:
        """End it in good order."""
        if self._process:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def forget(self) -> None:
        """Lose the store of a server that is down."""
        shutil.rmtree(self.store)


@asynccontextmanager
async def running_nats(folder: Path) -> AsyncIterator[NatsServer]:
    """A server with its files in `folder`, gone when the block ends."""
    server = NatsServer(folder / "nats")
    try:
        await server.start()
        yield server
    finally:
        server.kill()
