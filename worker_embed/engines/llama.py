"""A GGUF model on this machine, by llama.cpp's server as a child process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import sys
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from worker_embed.config import SECRETS
from worker_embed.engines import llama_usage
from worker_embed.engines.llama_server import Listening, LlamaSpec
from worker_embed.engines.port import AttemptFailed, ClientFault, EngineFailed, Figures, Job, Unavailable
from worker_embed.process import proc
from worker_embed.weights import WeightsMissing, find_weights
from worker_embed.wire import ErrorKind, error_body

if TYPE_CHECKING:
    from worker_embed.engines.http import HttpRelay, Refusal

DEFAULT_CONTEXT = 4096
LOOK_S = 30.0
"""On a slow CPU, longer than one batch of a prompt takes: until it is done the server's loop says nothing."""
TERM_S = 3.0
TAIL_LINES = 3
_CLIENTS = re.compile(r"failed to parse (messages|tools)\b|input is not supported|^jinja exception", re.IGNORECASE)
"""What the server says with status 500 of requests that no attempt will make better."""
_FIELD = re.compile(r"Field '(?P<param>\w+)': (?P<what>.*)", re.DOTALL)
_PARSER = re.compile(r"\[json\.exception[\w.]*\] ")
"""The name of a library of the server's, which tells no client anything."""
_LINE = re.compile(r"[\d.]+ ([DIWE]) ")
"""How llama.cpp's server begins a line: its own time, and the level."""
_LEVELS = {"D": logging.DEBUG, "I": logging.INFO, "W": logging.WARNING, "E": logging.ERROR}
_EACH_REQUEST = re.compile(r"[\d.]+ I slot |[\d.]+ W slot .*\| (need to evaluate at least 1 token|n_past was set)")
"""The half a dozen lines that it prints of every request."""

log = logging.getLogger("engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaOptions:
    """What a user says about a local model, and how patient we are with it."""

    model: str
    source: str = ""
    folder: Path | None = None
    """Where weights are looked for by name."""
    context_length: int = 0
    """Tokens per request; 0 means `DEFAULT_CONTEXT`."""
    threads: int = 0
    """0 means one less than there are cores: llama.cpp's threads spin, and collapse when another process wants one."""
    look_s: float = LOOK_S
    """For a server that seems to hang to say how it is."""


class _Next(msgspec.Struct):
    n_decoded: int = 0


class _Slot(msgspec.Struct):
    n_ctx: int = 0
    n_prompt_tokens: int = 0
    is_processing: bool = False
    next_token: list[_Next] = []


class _Tokenized(msgspec.Struct):
    tokens: list[int]


class LlamaEngine:
    """Starts, watches and asks one server process."""

    def __init__(self, options: LlamaOptions, slots: int) -> None:
        self.slots = slots
        self._options = options
        self._process: asyncio.subprocess.Process | None = None
        self._relay: HttpRelay | None = None
        self._ended: asyncio.Task[str] | None = None
        self._weights_bytes = 0
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._errors: deque[str] = deque(maxlen=TAIL_LINES)

    async def start(self) -> None:
        """Return once the weights are loaded; raises `EngineFailed` with the server's last lines."""
        await self.stop()
        try:
            weights = find_weights(self._options.source, self._options.model, self._options.folder)
        except WeightsMissing as error:
            raise EngineFailed(ErrorKind.CONFIGURATION, str(error)) from error
        self._tail.clear()
        self._errors.clear()
        self._weights_bytes = weights.stat().st_size
        try:
            self._process, reading = await self._spawn(weights)
        except OSError as error:
            raise EngineFailed(ErrorKind.GENERAL, f"the engine cannot be started: {error.strerror}") from error
        self._ended = asyncio.create_task(self._watch(self._process))
        from worker_embed.engines.http import HttpRelay  # half of our own start, now that the server loads meanwhile

        answer = await _line(reading)
        if not answer:
            raise EngineFailed(ErrorKind.CONFIGURATION, f"the engine ended while loading: {await self.died()}")
        listening = msgspec.json.decode(answer, type=Listening)
        self._relay = HttpRelay(f"{listening.address}/v1", judge, listening.key, reuse=False)

    async def check(self) -> None:
        """A server that is up takes requests."""

    async def stream(self, job: Job) -> AsyncGenerator[list[bytes], None]:
        usage = llama_usage.StreamUsage(job)
        try:
            async with contextlib.aclosing(self._server.stream(job)) as batches:
                async for batch in batches:
                    # A stream of several prompts begins with an event that is none.
                    if events := [usage.event(payload) for payload in batch if payload != b"null"]:
                        yield events
        except (AttemptFailed, Unavailable) as error:
            raise await self._blame(error) from error

    async def complete(self, job: Job) -> bytes:
        try:
            return await llama_usage.whole(job, await self._server.complete(job), self._count)
        except (AttemptFailed, Unavailable) as error:
            raise await self._blame(error) from error

    async def suspect(self) -> None:
        """A server whose loop does not even tell its slots hangs: its death lets the others' requests go on."""
        suspected = self._process
        try:
            status, _ = await self._server.get("/slots", self._options.look_s)
        except Unavailable:
            status = 0
        if status != HTTPStatus.OK and self._process is suspected is not None:
            log.warning("does not answer for %g s: killed", self._options.look_s)
            self._signal(signal.SIGKILL)

    async def died(self) -> str:
        if self._ended is None:
            raise RuntimeError("not started")
        return await asyncio.shield(self._ended)

    async def figures(self) -> Figures:
        pid = self._process.pid if self._process and self._process.returncode is None else 0
        if self._relay is None:
            return Figures(pid=pid, load_pct=self._loaded_pct(pid) if pid else None)
        try:
            _, body = await self._relay.get("/slots", 1.0)
            slots = msgspec.json.decode(body, type=list[_Slot])
        except (Unavailable, msgspec.DecodeError):
            return Figures(pid=pid)
        room = sum(slot.n_ctx for slot in slots)
        used = sum(slot.n_prompt_tokens for slot in slots if slot.is_processing)
        return Figures(
            pid=pid,
            kv_pct=100 * used / room if room else None,
            generated=sum(token.n_decoded for slot in slots if slot.is_processing for token in slot.next_token),
        )

    async def _count(self, text: str) -> int:
        """The tokens of a text."""
        answer = await self._server.complete(Job(path="/tokenize", body=msgspec.json.encode({"content": text})))
        return len(msgspec.json.decode(answer, type=_Tokenized).tokens)

    def _loaded_pct(self, pid: int) -> float:
        """The server maps its weights and tells no progress, but the kernel tells what is mapped; 100 is its to say."""
        return min(99.0, 100 * proc.mapped_bytes(pid) / max(1, self._weights_bytes))

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL after `TERM_S`: with a stream open the server would take 30 s."""
        relay, self._relay = self._relay, None
        if relay is not None:
            await relay.close()
        if self._ended is None:
            return
        self._signal(signal.SIGTERM)
        done, _ = await asyncio.wait({self._ended}, timeout=TERM_S)
        if not done:
            self._signal(signal.SIGKILL)
            await self._ended
        self._process, self._ended = None, None

    @property
    def _server(self) -> HttpRelay:
        if self._relay is None:
            raise AttemptFailed("the engine is not running", retry_at_once=True)
        return self._relay

    async def _spawn(self, weights: Path) -> tuple[asyncio.subprocess.Process, int]:
        """A server, and the descriptor on which it tells where it answers; raises `OSError`."""
        reading, writing = os.pipe()
        try:
            return await self._spawned(weights, writing), reading
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)

    async def _spawned(self, weights: Path, answer_fd: int) -> asyncio.subprocess.Process:
        spec = LlamaSpec(
            weights=str(weights),
            alias=self._options.model,
            context_length=self._options.context_length or DEFAULT_CONTEXT,
            parallel=self.slots,
            threads=self._options.threads or max(1, len(os.sched_getaffinity(0)) - 1),
            parent=os.getpid(),
            answer_fd=answer_fd,
        )
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "worker_embed.engines.llama_server",
            msgspec.json.encode(spec).decode(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            pass_fds=(answer_fd,),
            env={name: value for name, value in os.environ.items() if name not in SECRETS},
        )

    async def _watch(self, process: asyncio.subprocess.Process) -> str:
        """Log what the server prints until it ends; the reason of its end."""
        assert process.stdout is not None
        async for text in lines(process.stdout):
            level, each_request = logging.INFO, _EACH_REQUEST.match(text)
            if begin := _LINE.match(text):
                level, text = _LEVELS[begin[1]], text[begin.end() :]
            log.log(logging.DEBUG if each_request else level, "%s", text)
            if level == logging.ERROR:
                self._errors.append(text)
            elif text:
                self._tail.append(text)
        code = await process.wait()
        how = signal.Signals(-code).name if code < 0 else f"exit {code}"
        tail = () if code in (-signal.SIGKILL, -signal.SIGTERM) else self._tail
        return ": ".join([how, *(self._errors or tail)])

    async def _blame(self, error: Exception) -> Exception:
        """A broken connection is most often the server's death, which is worth a retry as soon as it is back."""
        if isinstance(error, Unavailable) and error.kind is None:
            return error
        if self._ended is not None:
            await asyncio.wait({self._ended}, timeout=0.5)
            if self._ended.done():
                return AttemptFailed(f"the engine died: {self._ended.result()}", retry_at_once=True)
        return AttemptFailed(str(error))

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


def judge(refusal: Refusal) -> Exception:
    """A server that loads or sleeps has no time; its other complaints are about the request or about itself."""
    if refusal.status == HTTPStatus.SERVICE_UNAVAILABLE:
        return Unavailable(refusal.message, kind=None, pause_s=1.0, counts=False)
    if refusal.status == HTTPStatus.INTERNAL_SERVER_ERROR and _CLIENTS.search(refusal.message):
        return ClientFault(HTTPStatus.BAD_REQUEST, _faulty(refusal.message))
    if field := _FIELD.fullmatch(refusal.message):
        what = _PARSER.sub("", field["what"])
        return ClientFault(
            refusal.status, _faulty(f"Invalid value for '{field['param']}': {what}.", param=field["param"])
        )
    if _PARSER.search(refusal.message):
        return ClientFault(refusal.status, _faulty(_PARSER.sub("", refusal.message)))
    if refusal.status < HTTPStatus.INTERNAL_SERVER_ERROR or refusal.status == HTTPStatus.NOT_IMPLEMENTED:
        return ClientFault(refusal.status, refusal.envelope)
    return AttemptFailed(f"the engine answered {refusal.status}: {refusal.message}")


def _faulty(message: str, param: str | None = None) -> bytes:
    return msgspec.json.encode(error_body(message, "invalid_request_error", param=param))


async def _line(descriptor: int) -> bytes:
    """The one line that arrives on a pipe; empty when its other end was closed without."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
    )
    try:
        return await reader.readline()
    finally:
        transport.close()


async def lines(reader: asyncio.StreamReader) -> AsyncGenerator[str, None]:
    """What a process prints; a turn of the loop each, as one that floods must not keep answers waiting."""
    while line := await _read_line(reader):
        yield line.decode(errors="replace").rstrip()
        await asyncio.sleep(0)


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    """A line or, where one does not end within the reader's limit, its first part."""
    try:
        return await reader.readuntil()
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError as error:
        return await reader.readexactly(error.consumed)
