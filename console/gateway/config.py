"""The API node's variables and limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from operator_embed.box.home import Home


class ConfigError(Exception):
    """A variable is missing or wrong; the text is one line that names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one client may take; the reasons are in the tests of each."""

    header_bytes: int = 32 * 1024
    header_s: float = 10.0
    """For a request's headers, from the connection or the first byte on."""
    body_s: float = 30.0
    idle_s: float = 75.0
    """Between two requests of a kept connection."""
    connections: int = 4096
    publish_s: float = 5.0
    """How long a request waits for a queue that is away."""
    tick_s: float = 1.0
    """How often deadlines, silence and slow readers are looked at, and figures sent."""
    keepalive_s: float = 10.0
    """Silence on a stream before headers are committed, and between keep-alive comments."""
    buffer_bytes: int = 256 * 1024
    """What may wait for a slow client for `stall_s`; four times as much may never."""
    stall_s: float = 30.0
    failed_s: float = 10.0
    """How long a request waits for a model that nobody expects to come by itself, as somebody may be mending it."""
    lost_s: float = 3.0
    """How long an attempt counts as alive without a word, and its broken connection may take to come back."""
    drain_s: float = 30.0
    """What runs when the node is told to stop may take as long."""
    alone_s: float = 3.0
    """How long a node that was told to stop waits for a first worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """What one API node process needs to know."""

    home: Home
    queue_url: str
    queue_token: str = ""
    host: str = "127.0.0.1"
    port: int = 8080
    """0 lets the kernel pick."""
    node_port: int = 0
    """Of the listener that workers call back; the engine gives the same one after every restart."""
    name: str = "gateway"
    """Id of this process."""
    timeout_s: int = 300
    """From a request to its answer; on a stream, to its first and between its events."""
    max_attempts: int = 3
    compat: bool = False
    """Serve the callbacks of the original's workers, `/res` and `/res/ws`, to whoever reaches the API."""
    log: Path | None = None
    """Access log; without it to stderr."""
    events: Path | None = None
    """Where state changes go, one JSON line each; without it to stderr."""
    beat: Path | None = None
    """Datagram socket for figures; without it nobody hears them."""
    limits: Limits = Limits()

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> GatewayConfig:
        """Read the environment; raises `ConfigError` naming the first variable that is missing or wrong."""
        if not (queue_url := env.get("PULSAR_URL")):
            raise ConfigError("PULSAR_URL is not set: give the queue's URL, for example nats://127.0.0.1:4222")
        return cls(
            home=Home.default(),
            queue_url=queue_url,
            queue_token=_secret(env, "UPLION_QUEUE_TOKEN_FILE"),
            host=env.get("UPLION_API_HOST") or "127.0.0.1",
            port=_number(env, "UPLION_API_PORT", 8080, most=65535),
            node_port=_number(env, "UPLION_NODE_PORT", 0, most=65535),
            name=env.get("UPLION_CHILD") or "gateway",
            timeout_s=_number(env, "UPLION_TIMEOUT_S", 300, least=1, most=86_400),
            max_attempts=_number(env, "UPLION_MAX_ATTEMPTS", 3, least=1),
            compat=_flag(env, "UPLION_COMPAT"),
            log=_path(env, "UPLION_LOG"),
            events=_path(env, "UPLION_EVENTS"),
            beat=_path(env, "UPLION_BEAT"),
        )


def _number(env: Mapping[str, str], name: str, default: int, *, least: int = 0, most: int = 1_000_000) -> int:
    if not (text := env.get(name, "")):
        return default
    if not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
        raise ConfigError(f"{name}: expected a whole number from {least} to {most}, got {text!r}")
    return int(text)


def _flag(env: Mapping[str, str], name: str) -> bool:
    text = env.get(name, "").lower()
    if text not in ("", "0", "1", "false", "true"):
        raise ConfigError(f"{name}: expected true or false, got {text!r}")
    return text in ("1", "true")


def _path(env: Mapping[str, str], name: str) -> Path | None:
    return Path(env[name]) if env.get(name) else None


def _secret(env: Mapping[str, str], file_name: str) -> str:
    if not (file := env.get(file_name)):
        return ""
    try:
        return Path(file).read_text().strip()
    except OSError as error:
        raise ConfigError(f"{file_name}: cannot read {file}: {error.strerror}") from error
