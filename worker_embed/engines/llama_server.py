"""llama.cpp's server in a process of its own: it may die without taking a delivery with it.

Its parent passes a `LlamaSpec` as JSON in the one argument and reads the address from the file descriptor named there.
"""

from __future__ import annotations

import ctypes
import os
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
    address_fd: int
    """Open for writing: gets `http://127.0.0.1:<port>` and a newline once requests are answered."""


def main() -> None:
    """Serve until killed."""
    spec = msgspec.json.decode(sys.argv[1], type=LlamaSpec)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != spec.parent:
        sys.exit("the worker is gone")
    server = _serve(spec)
    os.write(spec.address_fd, f"{server.listening_address}\n".encode())
    os.close(spec.address_fd)
    signal.pause()


def _serve(spec: LlamaSpec) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = spec.weights
    params.model_alias = {spec.alias}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
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
