"""Ports that are picked once."""

from __future__ import annotations

from pathlib import Path

import pytest

from operator_embed.box.ports import recorded_port


def test_a_port_is_picked_once_and_each_name_has_its_own(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    port = recorded_port(file, "nats")
    assert recorded_port(file, "node") != port
    assert recorded_port(file, "nats") == port


@pytest.mark.parametrize("junk", ["", "[]", "7", '{"nats": "much"}', '{"nats": 70000}'])
def test_a_record_that_is_none_is_written_anew(tmp_path: Path, junk: str) -> None:
    file = tmp_path / "ports.json"
    file.write_text(junk)
    port = recorded_port(file, "nats")
    assert 0 < port < 65_536
    assert recorded_port(file, "nats") == port
