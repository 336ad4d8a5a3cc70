"""A whole box of its own: `uplion serve` as systemd would run it, its fleet as a console sees it, and a way to kill."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from operator_embed.box.fleet import BoxFleet
from operator_embed.box.home import Home
from operator_embed.box.ports import recorded_port
from operator_embed.fleet.fleet import FleetView
from operator_embed.fleet.models import ModelView, ReplicaView, State
from worker_embed.process import environment, proc
from worker_embed.queue.open import open_queue
from worker_embed.queue.port import Backlog

LIMIT_S = 60.0
"""For anything that happens by itself; a machine may be busy with other things."""
STOP_S = 50.0
RESTART_S = 0.1
"""systemd's own `RestartSec`."""
NEWS_S = 1.5
"""Until a view knows what a death has changed."""
TAIL_LINES = 25
UPLION = (sys.executable, "-m", "console")

Condition = Callable[[FleetView], object]


class Box:
    """One home, what runs in it, and the process that leads it."""

    open: ClassVar[set[Box]] = set()
    """Those whose logs a failed test prints."""

    def __init__(self, **settings: str) -> None:
        self.home = Home(Path(tempfile.mkdtemp(prefix="upl-", dir="/tmp")))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.fleet = BoxFleet(self.home, f"{self.url}/v1")
        self.env = {**os.environ, **settings, "UPLION_HOME": str(self.home.root), "UPLION_API_PORT": str(self.port)}
        self.env.pop("UPLION_CHILD", None)
        self.serve: asyncio.subprocess.Process | None = None
        self._restarting: asyncio.Task[None] | None = None
        self._killed: dict[str, int] = {}

    # Its leader

    async def start(self) -> None:
        """Run `uplion serve`, again whenever it dies, until `stop`."""
        self.open_up()
        self._restarting = asyncio.create_task(self._restart())
        try:
            await self.until(lambda view: view.context.leader_pid is not None)
        except AssertionError as error:
            raise AssertionError(self.logs()) from error

    def open_up(self) -> None:
        """Look at a box that somebody else will lead."""
        Box.open.add(self)
        self.home.prepare()
        self.fleet.start()

    async def _restart(self) -> None:
        while True:
            self.serve = await self.run("serve")
            await self.serve.wait()
            await asyncio.sleep(RESTART_S)

    async def run(self, *command: str) -> asyncio.subprocess.Process:
        """Start a command of `uplion` on this box."""
        with (self.home.logs / "commands.out").open("ab") as out:
            return await asyncio.create_subprocess_exec(
                *UPLION, *command, env=self.env, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out
            )

    async def command(self, *command: str) -> str:
        """What a command of `uplion` prints; fails when the command does."""
        process = await asyncio.create_subprocess_exec(
            *UPLION,
            *command,
            env=self.env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(LIMIT_S):
            out, _ = await process.communicate()
        assert process.returncode == 0, out.decode()
        return out.decode()

    async def stop(self) -> None:
        """Ctrl+c, and nothing of this box is left anywhere."""
        try:
            if self._restarting is not None:
                await self.until(lambda view: view.context.leader_pid == self.leader())
                self._restarting.cancel()
            for pid in filter(None, {self.leader(), self.serve.pid if self.serve else None}):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT)
            await self.happens(lambda: not self.processes(), STOP_S)
        finally:
            Box.open.discard(self)
            if self._restarting is not None:
                self._restarting.cancel()
                await asyncio.wait([self._restarting])
            await self.fleet.close()
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            sockets = [str(path) for path in self.home.sockets.iterdir() if path.is_socket()]
            shutil.rmtree(self.home.sockets, ignore_errors=True)
            shutil.rmtree(self.home.root, ignore_errors=True)
        assert not sockets, f"left over: {sockets}"

    def leader(self) -> int | None:
        """Pid of whoever holds the lock."""
        return self.fleet.leader()

    # What it is asked

    async def apply(self, text: str) -> None:
        await self.fleet.models.apply(text)

    async def static(self, name: str, *, source: str, **spec: Any) -> str:
        """Apply a model that answers without one; its key."""
        await self.apply(manifest(name, source=source, engine="static", **spec))
        return f"default/{name}"

    # What is seen of it

    async def until(self, happens: Condition, within_s: float = LIMIT_S) -> FleetView:
        """The first view in which it is so; fails with the newest one after `within_s`."""
        try:
            async with asyncio.timeout(within_s):
                async for _ in self.fleet.changes():
                    if happens(view := self.fleet.view()):
                        return view
        except TimeoutError:
            raise AssertionError(f"not within {within_s:.0f} s; {summary(self.fleet.view())}") from None
        raise AssertionError("the fleet ended")

    async def happens(self, happened: Callable[[], object], within_s: float = LIMIT_S) -> None:
        """Wait for something that no view shows."""
        deadline_s = time.monotonic() + within_s
        while not happened():
            assert time.monotonic() < deadline_s, f"not within {within_s:.0f} s; {self.processes()}"
            await asyncio.sleep(0.02)

    async def running(self, key: str, replicas: int = 1) -> tuple[ReplicaView, ...]:
        """Wait until a model has just these replicas, all of them ready and heard from; returns them."""

        def runs(view: FleetView) -> bool:
            model = find(view, key)
            return (
                model is not None
                and model.state is State.RUNNING
                and model.ready == model.desired == replicas == len(replicas_of(view, key))
                and all(row.busy is not None for row in replicas_of(view, key))
            )

        return replicas_of(await self.until(runs), key)

    async def well(self, key: str, replicas: int = 1) -> None:
        """Wait until all that was killed is back: a leader, the queue, the API, and just these replicas."""
        await self.happens(
            lambda: self.leader() and not self._killed.items() & {"serve": self.leader(), **self.pids()}.items()
        )
        self._killed.clear()
        now_s = time.time()
        await self.until(
            lambda view: (
                view.at_s > now_s + NEWS_S
                and view.context.leader_pid == self.leader()
                and view.context.headline == "serve leads"
                and all(source.status in ("ok", "-") for source in view.sources)
            )
        )
        await self.running(key, replicas)
        await self.until(lambda view: (model := find(view, key)) and model.backlog == 0 and not model.degraded)

    def model(self, key: str) -> ModelView:
        """A model as it is now."""
        row = find(self.fleet.view(), key)
        assert row is not None, f"{key} is not there; {summary(self.fleet.view())}"
        return row

    async def backlog(self, topic: str) -> Mapping[str, Backlog]:
        """What the broker itself says of a topic."""
        token = (self.home.nats / "token").read_text().strip()
        queue = await open_queue(f"nats://127.0.0.1:{recorded_port(self.home.ports, 'nats')}", token=token, name="test")
        try:
            return await queue.backlog([topic])
        finally:
            await queue.close()

    # Its processes

    def processes(self) -> dict[int, str]:
        """Every living process of this home by pid: the id of the child that it belongs to, or its command line."""
        found = {}
        for pid in proc.own_pids():
            environ, stat = proc.environ(pid), proc.stat(pid)
            if environ.get("UPLION_HOME") == str(self.home.root) and stat and stat.alive and pid != os.getpid():
                found[pid] = environ.get("UPLION_CHILD") or " ".join(argv(pid)[-2:])
        return found

    def pids(self) -> dict[str, int]:
        """Pid of each child's first process, by the child's id."""
        return {
            mark: pid
            for pid, mark in environment.marked(self.home.root)
            if (stat := proc.stat(pid)) and stat.session == pid
        }

    def engine_pid(self, replica: str) -> int:
        """The process beside a worker's shell that runs the model."""
        shell = self.pids()[replica]
        return next(pid for pid, mark in environment.marked(self.home.root) if mark == replica and pid != shell)

    def kill(self, child: str) -> int:
        """SIGKILL to the first process of a child, or to the leader; the pid it had."""
        pid = self.leader() if child == "serve" else self.pids()[child]
        assert pid, f"{child} does not run"
        os.kill(pid, signal.SIGKILL)
        self._killed[child] = pid
        return pid

    def logs(self) -> str:
        """The end of each log, for whoever looks at a failed test."""
        parts = [summary(self.fleet.view()), f"processes: {self.processes()}"]
        for path in sorted(self.home.logs.glob("*")):
            lines = path.read_text(errors="replace").splitlines()[-TAIL_LINES:]
            parts.append(f"--- {path.name}\n" + "\n".join(lines))
        return "\n".join(parts)


@asynccontextmanager
async def running_box(**settings: str) -> AsyncIterator[Box]:
    """A box that leads itself; nothing of it survives the block."""
    box = Box(**settings)
    try:
        await box.start()
        yield box
    finally:
        await box.stop()


def manifest(name: str, **spec: Any) -> str:
    """An AIModel of the box; `spec` in the words of the YAML."""
    text = msgspec.json.encode({"type": "local", "model": name, **spec}).decode()
    return f"apiVersion: model.youxam.com/v1alpha1\nkind: AIModel\nmetadata: {{name: {name}}}\nspec: {text}\n"


def words(count: int, *, per_s: float = 0.0, delay_s: float = 0.0) -> tuple[str, str]:
    """A source of the static engine whose words all differ, and the text that it answers."""
    text = " ".join(f"w{n}" for n in range(count))
    return f"static:{text.replace(' ', '%20')}?tokens_per_s={per_s:g}&delay_s={delay_s:g}", text


def find(view: FleetView, key: str) -> ModelView | None:
    return next((row for row in view.models if row.key == key), None)


def replicas_of(view: FleetView, key: str) -> tuple[ReplicaView, ...]:
    return tuple(row for row in view.replicas if row.model == key)


def summary(view: FleetView) -> str:
    """A view in a few lines."""
    lines = [f"view: {view.context.headline} leader={view.context.leader_pid}"]
    lines += [
        f"  {m.key} {m.state} {m.ready}/{m.desired} degraded={m.degraded} backlog={m.queued}+{m.in_flight} {m.message}"
        for m in view.models
    ]
    lines += [f"  {r.key} {r.state} {r.reason} {r.message} busy={r.busy}/{r.slots}" for r in view.replicas]
    lines += [f"  source {s.key} {s.status} {s.text}" for s in view.sources]
    lines += [f"  failure {f.subject} {f.reason} {f.message}" for f in view.failures]
    lines += [f"  event {e.reason} {e.source} {e.message}" for e in view.events[:15]]
    return "\n".join(lines)


def argv(pid: int) -> Sequence[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return ()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def dead(pids: Mapping[str, int]) -> list[str]:
    """Ids whose process has ended."""
    return [id for id, pid in pids.items() if not ((stat := proc.stat(pid)) and stat.alive)]
