"""What a replica of an AIModel needs before it can start: an engine, its weights, memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from operator_embed.aimodel import AIModel, Engine
from worker_embed.engines.llama_build import LlamaBuild
from worker_embed.gguf import GgufError, read_gguf
from worker_embed.gpu.estimate import estimate_mib
from worker_embed.gpu.placement import Need
from worker_embed.weights import WeightsMissing, find_weights

DEFAULT_CONTEXT = 4096
DEFAULT_PARALLEL = 4
SHELL_MIB = 60.0
"""What a worker takes that runs no engine of its own."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Why no replica can start at all."""

    reason: str
    """`EngineMissing` or `WeightsMissing`."""
    message: str


def engine_of(model: AIModel) -> str:
    """The engine that a worker would choose for `auto`, by the same rule."""
    spec = model.spec
    if spec.engine is not Engine.AUTO:
        return spec.engine
    if (spec.source or "").startswith("static:"):
        return Engine.STATIC
    return Engine.LLAMA if spec.type == "local" else Engine.REMOTE


def need_of(model: AIModel, weights: Path, llama: LlamaBuild, *, has_gpus: bool) -> Need | Missing:
    """Memory and GPUs for one replica, estimated from the header of its weights.

    Without a word about GPUs in the spec, a model goes to one only where its engine can use it; an explicit wish counts
    as it is.
    """
    spec = model.spec
    if engine_of(model) != Engine.LLAMA:
        return Need(mem_mib=SHELL_MIB, gpus=0)
    if not llama.version:
        return Missing("EngineMissing", "the engine llama needs xllamacpp: pip install xllamacpp")
    if llama.trouble:
        return Missing("EngineMissing", f"xllamacpp {llama.version} does not run: {llama.trouble}")
    gpus = 0 if spec.gpus is None and not llama.gpus else spec.gpus
    on_gpu = has_gpus if gpus is None else bool(gpus)
    try:
        path = find_weights(spec.source or "", spec.model, weights)
        context = (spec.context_length or DEFAULT_CONTEXT) * (spec.parallel or DEFAULT_PARALLEL)
        return Need(mem_mib=_estimate(path, path.stat().st_mtime_ns, context, on_gpu), gpus=gpus)
    except (WeightsMissing, GgufError) as error:
        return Missing("WeightsMissing", str(error))
    except OSError as error:
        return Missing("WeightsMissing", f"weights: cannot read {error.filename}: {error.strerror}")


@lru_cache(maxsize=256)
def _estimate(path: Path, changed_ns: int, context: int, on_gpu: bool) -> float:
    """Kept by the file's time of change, so that a reconcile pass reads no header twice."""
    return estimate_mib(read_gguf(path), context, on_gpu=on_gpu)
