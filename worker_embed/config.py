"""The worker's variables: the original's ten, then ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SECRETS: Final = ("API_KEY", "PULSAR_TOKEN")
"""Variables that hold a secret and concern nobody but the worker itself."""


class ConfigError(Exception):
    """A variable is missing or wrong; the text is one line that names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """What one worker process needs to know."""

    node_type: str
    """`local` or `remote` by convention; decides only where no `engine` is named."""
    model: str
    """Name of the model on the wire: topic `model-<model>`."""
    queue_url: str
    """`nats://`, `pulsar://` or `memory://`; the scheme picks the engine."""
    result_topic: str
    api_url: str = ""
    """Base URL of a remote OpenAI-compatible API, with its version: `https://api.openai.com/v1`."""
    api_key: str = ""
    max_process_num: int = 128
    queue_token: str = ""
    aimodel_name: str = ""
    aimodel_namespace: str = "default"
    engine: str = "auto"
    """`auto`, `llama`, `remote` or `static`."""
    source: str = ""
    """Weights: a path or URI; for `static` the answer, see `worker_embed.engines.static`."""
    context_length: int = 0
    """Tokens per request; 0 lets the engine decide."""
    parallel: int = 0
    """Requests that the engine works on at once; 0 lets the engine decide."""
    threads: int = 0
    """CPU threads of a local engine; 0 means one less than there are cores, at least one."""
    replica: str = "worker"
    """Consumer name, log name and id of this process."""
    events: Path | None = None
    """Where state changes go, one JSON line each; without it to stderr."""
    beat: Path | None = None
    """Datagram socket for figures; without it nobody hears them."""
    inflight: Path | None = None
    """Where the tokens of deliveries in hand are kept, so that a supervisor can give them back."""
    log: Path | None = None
    """The worker's own log, which it rotates; without it stderr."""
    models: Path | None = None
    """Folder in which weights are looked for by name."""
    max_attempts: int = 3

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> WorkerConfig:
        """Read the environment; raises `ConfigError` naming the first variable that is missing or wrong."""
        for name in ("NODE_TYPE", "PULSAR_URL", "MODEL_NAME", "RES_TOPIC_NAME"):
            if not env.get(name):
                raise ConfigError(f"Missing env var: {name}")
        return cls(
            node_type=env["NODE_TYPE"],
            model=env["MODEL_NAME"],
            queue_url=env["PULSAR_URL"],
            result_topic=env["RES_TOPIC_NAME"],
            api_url=env.get("API_URL", ""),
            api_key=_secret(env, "API_KEY", "UPLION_API_KEY_FILE"),
            max_process_num=_number(env, "MAX_PROCESS_NUM", 128, least=1),
            queue_token=_secret(env, "PULSAR_TOKEN", "UPLION_QUEUE_TOKEN_FILE"),
            aimodel_name=env.get("AIMODEL_NAME", ""),
            aimodel_namespace=env.get("AIMODEL_NAMESPACE") or "default",
            engine=env.get("UPLION_ENGINE") or "auto",
            source=env.get("UPLION_SOURCE", ""),
            context_length=_number(env, "UPLION_CONTEXT_LENGTH", 0),
            parallel=_number(env, "UPLION_PARALLEL", 0),
            threads=_number(env, "UPLION_THREADS", 0),
            replica=env.get("UPLION_CHILD") or "worker",
            events=_path(env, "UPLION_EVENTS"),
            beat=_path(env, "UPLION_BEAT"),
            inflight=_path(env, "UPLION_INFLIGHT"),
            log=_path(env, "UPLION_LOG"),
            models=_path(env, "UPLION_MODELS"),
            max_attempts=_number(env, "UPLION_MAX_ATTEMPTS", 3, least=1),
        )


def _number(env: Mapping[str, str], name: str, default: int, least: int = 0) -> int:
    text = env.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise ConfigError(f"{name}: expected a whole number of at least {least}, got {text!r}")
    return int(text)


def _path(env: Mapping[str, str], name: str) -> Path | None:
    return Path(env[name]) if env.get(name) else None


def _secret(env: Mapping[str, str], name: str, file_name: str) -> str:
    """A secret in a file wins over one in the environment, which any process of the user can read."""
    if not (file := env.get(file_name)):
        return env.get(name, "")
    try:
        return Path(file).read_text().strip()
    except OSError as error:
        raise ConfigError(f"{file_name}: cannot read {file}: {error.strerror}") from error
