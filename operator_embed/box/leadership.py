"""One process's part in leading a box: it follows while another leads, leads when the lock is free, and hands over."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import subprocess
from dataclasses import dataclass, field

from operator_embed.box.children import Settings
from operator_embed.box.database import StoreError
from operator_embed.box.engine import Engine
from operator_embed.box.home import Home, HomeError
from operator_embed.box.lock import Lock
from operator_embed.box.parts import leaving

log = logging.getLogger(__name__)

TRY_EVERY_S = 1.0
TAKE_OVER_S = 30.0
GO, READY = b"go\n", b"ready\n"


class HandOverError(Exception):
    """Nobody took over; the text is one line for a user. This process leads on."""


@dataclass(slots=True, eq=False)
class Leadership:
    """All methods are for the loop on which `run` runs."""

    home: Home
    settings: Settings
    serve_argv: tuple[str, ...]
    """How a leader without a console is started; `--lock-fd` and `--handover-fd` are added."""
    lock: Lock
    leads: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while this process leads and has adopted what ran before."""
    _engine: Engine | None = None
    _term: asyncio.Task[None] | None = None
    _resting: bool = False
    """No new term is begun."""
    _obstacle: str = ""
    """Why the newest term could not be begun."""

    async def run(self) -> None:
        """Follow and lead until cancelled; then what runs, runs on."""
        try:
            while not leaving():
                if not self._resting:
                    await self._try_to_lead()
                await asyncio.sleep(TRY_EVERY_S)
        finally:
            self.lock.release()

    async def keep_running(self) -> None:
        """Hand over to a leader without a console; raises `HandOverError` when it does not take over."""
        self._resting = True
        if self._term is None:
            return
        await self._end_term(self._term)
        try:
            await self._hand_over()
        except (OSError, TimeoutError, HandOverError) as error:
            self._resting = False
            reason = str(error) or f"no answer within {TAKE_OVER_S:.0f} s"
            log.error("hand-over failed: %s", reason)
            raise HandOverError(f"nobody took over: {reason}; see {self.home.logs / 'serve.log'}") from error
        self.lock.release()

    async def stop_all(self) -> None:
        """Drain and end everything that runs here; nothing when another process leads."""
        self._resting = True
        if self._engine is not None and self._term is not None:
            self._engine.stop()
            await asyncio.wait([self._term])

    async def _try_to_lead(self) -> None:
        """One term, where nobody else has one; why it cannot be is said once."""
        try:
            if self.lock.try_acquire():
                await self._lead()
            self._obstacle = ""
        except (HomeError, StoreError) as error:
            self.lock.release()
            if self._obstacle != (obstacle := str(error)):
                log.error("cannot lead: %s", obstacle)
            self._obstacle = obstacle
        except Exception:
            self.lock.release()
            log.exception("this term of leadership ended; another is begun")

    async def _lead(self) -> None:
        self.lock.claim()
        self._engine = Engine(self.home, self.settings)
        self._term = asyncio.create_task(self._engine.run())
        announcing = asyncio.create_task(self._announce(self._engine))
        try:
            await self._term
        except asyncio.CancelledError:
            ourselves = asyncio.current_task()
            if not self._resting or (ourselves is not None and ourselves.cancelling()):
                raise
        finally:
            announcing.cancel()
            self.leads.clear()
            self._engine = self._term = None

    async def _announce(self, engine: Engine) -> None:
        await engine.ready.wait()
        self.leads.set()

    async def _end_term(self, term: asyncio.Task[None]) -> None:
        """Also one that has hardly begun: whoever takes over begins anew."""
        term.cancel()
        await asyncio.wait([term])

    async def _hand_over(self) -> None:
        """The child inherits the lock, so that there is no moment without a holder."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours, theirs, (self.home.logs / "serve.log").open("ab") as out:
            fds = (self.lock.fileno(), theirs.fileno())
            child = subprocess.Popen(  # noqa: ASYNC220 - a fork of one small process, at the end of a term
                [*self.serve_argv, "--lock-fd", str(fds[0]), "--handover-fd", str(fds[1])],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                pass_fds=fds,
                start_new_session=True,
            )
            theirs.close()
            loop = asyncio.get_running_loop()
            try:
                async with asyncio.timeout(TAKE_OVER_S):
                    await loop.sock_sendall(ours, GO)
                    answer = await loop.sock_recv(ours, 4096)
            except TimeoutError:
                child.kill()
                raise
            if answer != READY:
                raise HandOverError(answer.decode(errors="replace").strip() or "uplion serve ended")


async def take_over(leadership: Leadership, fd: int) -> None:
    """The successor's end of a hand-over: wait for `go` (or its end), and answer once we lead."""
    loop = asyncio.get_running_loop()
    with socket.socket(fileno=fd) as channel:
        channel.setblocking(False)
        await loop.sock_recv(channel, len(GO))
        running = asyncio.create_task(leadership.run())
        leading = asyncio.create_task(leadership.leads.wait())
        await asyncio.wait([running, leading], return_when=asyncio.FIRST_COMPLETED)
        with contextlib.suppress(OSError):
            await loop.sock_sendall(channel, READY if leading.done() else b"it could not lead\n")
        leading.cancel()
    await running
