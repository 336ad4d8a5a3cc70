"""Settings that say where the API is."""

from __future__ import annotations

from pathlib import Path

import pytest

from console import settings
from console.commands.parser import parser
from console.settings import Settings, SettingsError


@pytest.mark.parametrize(
    ("host", "url", "is_open"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080/v1", False),
        ("localhost", "http://localhost:8080/v1", False),
        ("::1", "http://[::1]:8080/v1", False),
        ("0.0.0.0", "http://127.0.0.1:8080/v1", True),
        ("::", "http://127.0.0.1:8080/v1", True),
        ("192.168.1.5", "http://192.168.1.5:8080/v1", True),
    ],
)
def test_the_api_is_reached_where_it_listens(host: str, url: str, is_open: bool) -> None:
    chosen = Settings(api_host=host)
    assert (chosen.api_url, chosen.api_is_open) == (url, is_open)


@pytest.mark.parametrize("host", ["a b", "http://x", "x/y", "\n"])
def test_what_is_no_host_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(SettingsError, match="UPLION_API_HOST: expected a host name or an address"):
        settings.load(tmp_path / "config.toml", {"UPLION_API_HOST": host})


def test_keys_are_a_preset_that_is_known(tmp_path: Path) -> None:
    assert settings.load(tmp_path / "config.toml", {"UPLION_KEYS": "k9s"}).keys == "k9s"
    with pytest.raises(SettingsError, match="UPLION_KEYS: expected uplion or k9s, got 'emacs'"):
        settings.load(tmp_path / "config.toml", {"UPLION_KEYS": "emacs"})


def test_flags_of_the_console_are_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UPLION_KEYS", "UPLION_READ_ONLY"):
        monkeypatch.delenv(name, raising=False)
    settings.take_flags(parser().parse_args(["--keys", "k9s", "--read-only"]))
    chosen = settings.load(tmp_path / "config.toml")
    assert (chosen.keys, chosen.read_only) == ("k9s", True)
