"""Which engine serves a model."""

from __future__ import annotations

from worker_embed.config import ConfigError, WorkerConfig
from worker_embed.engines.port import Engine

LLAMA_SLOTS = 4


def choose_engine(config: WorkerConfig) -> Engine:
    """The engine that a worker's variables ask for, not yet started; raises `ConfigError`."""
    match _name(config):
        case "static":
            from worker_embed.engines.static import Script, StaticEngine

            return StaticEngine(Script.parse(config.source or "static:"), _slots(config, config.max_process_num))
        case "remote":
            from worker_embed.engines.remote import RemoteEngine

            return RemoteEngine(config.api_url, config.api_key, _slots(config, config.max_process_num))
        case "llama":
            from worker_embed.engines.llama import LlamaEngine, LlamaOptions

            options = LlamaOptions(
                model=config.model,
                source=config.source,
                folder=config.models,
                context_length=config.context_length,
                threads=config.threads,
            )
            return LlamaEngine(options, _slots(config, LLAMA_SLOTS))
        case name:
            raise ConfigError(f"UPLION_ENGINE: expected auto, llama, remote or static, got {name!r}")


def _name(config: WorkerConfig) -> str:
    if config.engine != "auto":
        return config.engine
    if config.source.startswith("static:"):
        return "static"
    return "llama" if config.node_type == "local" else "remote"


def _slots(config: WorkerConfig, default: int) -> int:
    return min(config.max_process_num, config.parallel or default)
