"""YAML to read: what is stored, masked, and the status; searched, never changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from console.app import Console
from operator_embed.fleet.models import Manifest
from screens.edit import EditScreen
from screens.models import ModelsScreen
from screens.yaml_lines import difference, line_of, yaml_line
from screens.yaml_text import YamlScreen
from tests.fleet import StillFleet, model, shows, until
from tests.screens.scenes import HOSTILE, KEY, SAFE, box, still


@pytest.mark.anyio
async def test_spec_and_status_are_shown_and_newly_read_when_the_model_changes() -> None:
    fleet = StillFleet(model("phi-4"))
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await pilot.press("y")
        await shows(pilot, "replicas: 1")
        await shows(pilot, "state: Running")
        fleet.models.manifests["default/phi-4"] = Manifest(
            yaml=f"spec:\n  source: {HOSTILE}\n", status_yaml="status: {}\n", resource_version="8"
        )
        fleet.show(model("phi-4", version=2, generation=2))
        await shows(pilot, f"source: {SAFE}")
        await shows(pilot, "generation 2")


@pytest.mark.anyio
async def test_search_and_way_back() -> None:
    async with Console(StillFleet(model("phi-4"))).run_test(size=(80, 24)) as pilot:
        await pilot.press("y")
        await shows(pilot, "replicas: 1")
        await pilot.press("slash", *"RUNNING")
        await shows(pilot, "1 of 1")
        await pilot.press("escape", "escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, ModelsScreen))


@pytest.mark.anyio
async def test_a_refusal_stands_in_place_of_the_text() -> None:
    fleet = StillFleet(model("phi-4"))
    fleet.models.refusals["manifest"] = "phi-4: deleted by another user"
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await pilot.press("y")
        await shows(pilot, "! phi-4: deleted by another user")


@pytest.mark.anyio
async def test_e_goes_on_to_the_editor() -> None:
    async with Console(StillFleet(model("phi-4"))).run_test(size=(80, 24)) as pilot:
        await pilot.press("y", "e")
        await until(pilot, lambda: isinstance(pilot.app.screen, EditScreen))


def test_names_values_and_comments_are_told_apart() -> None:
    assert yaml_line("  - name: x") == (("  - ", ""), ("name:", "history"), (" x", ""))
    assert yaml_line("# a: b") == (("# a: b", "muted"),)
    assert yaml_line("just text") == (("just text", ""),)


def test_fields_are_found_by_their_path() -> None:
    assert line_of("spec:\n  type: local\n  replicas: 1\n", "spec.replicas") == 2
    assert line_of("spec:\n", "spec.nothing") == 0


def test_difference_has_no_file_headers() -> None:
    assert difference("a\nb\n", "a\nc\n") == ["@@ -1,2 +1,2 @@", " a", "-b", "+c"]


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
def test_yaml_looks_right(snap_compare: Callable[..., bool], size: tuple[int, int]) -> None:
    run = still(lambda fleet: YamlScreen(fleet, KEY), "state: Running")
    assert snap_compare(Console(box()), terminal_size=size, run_before=run)
