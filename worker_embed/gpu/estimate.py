"""How much memory a model will take, before it is loaded for the first time."""

from __future__ import annotations

from worker_embed.gguf import MIB, Gguf

CPU_COMPUTE_MIB = 54
"""Buffers of llama.cpp on a CPU: measured, within 1 MiB from 512 to 32,768 tokens."""
GPU_COMPUTE_MIB = 600
"""CUDA context and buffers: 300 to 1,000 by GPU and model; the first run teaches the real figure."""
F16_BYTES = 2


def estimate_mib(model: Gguf, context: int, *, on_gpu: bool, kv_bytes: int = F16_BYTES) -> float:
    """MiB for weights, the KV cache of `context` tokens over all slots, and compute buffers.

    `context * layers * 2 * kv_heads * head_dim * kv_bytes` is what llama.cpp allocates up front for its KV cache.
    """
    kv_mib = context * model.kv_values_per_token * kv_bytes / MIB
    return model.file_bytes / MIB + kv_mib + (GPU_COMPUTE_MIB if on_gpu else CPU_COMPUTE_MIB)
