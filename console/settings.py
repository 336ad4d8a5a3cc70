"""Settings of this program: flag, then `UPLION_*`, then `config.toml`, then default."""

from __future__ import annotations

import locale
import os
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


KEYS = ("uplion", "k9s")
HOST_CHARACTERS = frozenset(string.ascii_letters + string.digits + ".:-_%")


class SettingsError(Exception):
    """A setting is unknown or wrong; the text is one line that says where and what is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What users may set; each is `UPLION_<NAME>` in the environment and `<name>` in `config.toml`."""

    api_host: str = "127.0.0.1"
    """Where the API node listens; anything but loopback lets others in."""
    api_port: int = 8080
    timeout_s: int = 300
    """How long a request may wait for its answer."""
    compat: bool = False
    """Serve the callbacks of the original's workers as well."""
    theme: str = "textual-dark"
    ascii: bool = field(default_factory=lambda: "utf" not in locale.getencoding().lower())
    """Draw with ASCII characters only; so it is where the locale knows no others."""
    keys: str = KEYS[0]
    """Which preset of keys the console has; one of `KEYS`."""
    read_only: bool = False
    """The console changes nothing: it does not lead the box, and keys that change something are dead."""

    @property
    def api_local_host(self) -> str:
        """Where a client on this machine reaches the API."""
        return "127.0.0.1" if self.api_host in ("0.0.0.0", "::") else self.api_host

    @property
    def api_is_open(self) -> bool:
        """Whether clients on other machines may reach the API."""
        return not (self.api_host == "localhost" or self.api_host.startswith("127.") or self.api_host == "::1")

    @property
    def api_url(self) -> str:
        """The API as a client on this machine reaches it."""
        host = f"[{self.api_local_host}]" if ":" in self.api_local_host else self.api_local_host
        return f"http://{host}:{self.api_port}/v1"


def take_flags(options: argparse.Namespace) -> None:
    """Flags named as settings go into the environment, where children and a successor of this process find them."""
    for one in fields(Settings):
        if (text := getattr(options, one.name, None)) is not None:
            os.environ[f"UPLION_{one.name.upper()}"] = text


def load(file: Path, env: Mapping[str, str] = os.environ) -> Settings:
    """Read `config.toml`, then the environment over it; raises `SettingsError`."""
    settings = _from_file(file) if file.exists() else Settings()
    for one in fields(Settings):
        if text := env.get(f"UPLION_{one.name.upper()}"):
            settings = _with(settings, one.name, _parsed(settings, one.name, text), f"UPLION_{one.name.upper()}")
    return settings


def _from_file(file: Path) -> Settings:
    import tomllib  # many have no such file

    try:
        text = file.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SettingsError(f"{file}: is not TOML: {error}") from error
    settings, known = Settings(), {one.name for one in fields(Settings)}
    for name, value in values.items():
        line = _line(text, name)
        if name not in known:
            raise SettingsError(f"{file}, line {line}: unknown setting {name!r}; known are {', '.join(sorted(known))}")
        settings = _with(settings, name, value, f"{file}, line {line}: {name}")
    return settings


def _line(text: str, name: str) -> int:
    """Where a key or a table of that name stands, counted from 1."""
    named = re.compile(rf"""\s*\[*\s*["']?{re.escape(name)}["']?\s*[=.\]]""")
    return next((number for number, line in enumerate(text.splitlines(), 1) if named.match(line)), 1)


def _with(settings: Settings, name: str, value: object, where: str) -> Settings:
    kind = type(getattr(settings, name))
    if type(value) is not kind:
        words = {bool: "true or false", int: "a whole number", str: "text"}[kind]
        raise SettingsError(f"{where}: expected {words}, got {value!r}")
    if name == "api_host" and (not value or set(str(value)) - HOST_CHARACTERS):
        raise SettingsError(f"{where}: expected a host name or an address, got {value!r}")
    if name == "api_port" and isinstance(value, int) and not 0 < value < 65536:
        raise SettingsError(f"{where}: expected a port from 1 to 65535, got {value}")
    if name == "timeout_s" and isinstance(value, int) and value < 1:
        raise SettingsError(f"{where}: expected at least 1 second, got {value}")
    if name == "keys" and value not in KEYS:
        raise SettingsError(f"{where}: expected {' or '.join(KEYS)}, got {value!r}")
    return replace(settings, **{name: value})  # type: ignore[arg-type]


def _parsed(settings: Settings, name: str, text: str) -> object:
    """Text of the environment in the setting's own type, or as it is where it does not fit."""
    kind = type(getattr(settings, name))
    if kind is bool:
        return {"1": True, "true": True, "0": False, "false": False}.get(text.lower(), text)
    return int(text) if kind is int and text.isascii() and text.isdigit() else text
