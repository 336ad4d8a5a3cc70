"""llama.cpp's server in a process of its own: it may die without taking a delivery with it.

Its parent passes a `LlamaSpec` as JSON in the one argument and reads the answer from the file descriptor named there.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import signal
import sys
from typing import Any, Final

import msgspec

PR_SET_PDEATHSIG: Final = 1


class LlamaSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What one server serves."""

    weights: str
    alias: str
    context_length: int
    """Tokens per request."""
    parallel: int
    threads: int
    parent: int
    """Process id of the parent, with which the server dies."""
    answer_fd: int
    """Open for writing: gets the JSON of `Listening` and a newline once requests are answered."""


class Listening(msgspec.Struct, frozen=True, kw_only=True):
    """Where a server answers, and whom."""

    address: str
    """`http://127.0.0.1:<port>`"""
    key: str
    """Bearer token; without one, every user of the machine and every page in a browser could use the model."""


def main() -> None:
    """Serve until killed."""
    spec = msgspec.json.decode(sys.argv[1], type=LlamaSpec)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != spec.parent:
        sys.exit("the worker is gone")
    key = secrets.token_hex(16)
    server = _serve(spec, key)
    answer = Listening(address=server.listening_address, key=key)
    os.write(spec.answer_fd, msgspec.json.encode(answer) + b"\n")
    os.close(spec.answer_fd)
    signal.pause()


def _serve(spec: LlamaSpec, key: str) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = spec.weights
    params.model_alias = {spec.alias}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    params.n_ctx = spec.context_length * spec.parallel
    params.n_parallel = spec.parallel
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = spec.threads
    params.endpoint_metrics = params.endpoint_slots = params.endpoint_props = True
    params.ui = False
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
