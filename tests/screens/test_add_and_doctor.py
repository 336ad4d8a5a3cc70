"""Adding a model from a template, and what of the box works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from textual.widgets import TextArea

from console.app import Console
from operator_embed.manifest import parse
from screens.doctor import DoctorScreen
from screens.edit import EditScreen
from screens.templates import Template, templates
from tests.fleet import StillFleet, model, shows, source, until
from tests.screens.scenes import HOSTILE, SOURCES, box, still


@pytest.mark.anyio
async def test_a_template_opens_in_the_editor_and_nothing_is_stored() -> None:
    fleet = StillFleet(model("phi-4"))
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await shows(pilot, "phi-4")
        for key, text in (("s", "smollm2"), ("g", "model.gguf"), ("r", "apiKeyFrom")):
            await pilot.press("a")
            await shows(pilot, "Add a model")
            await pilot.press(key)
            await until(pilot, lambda: isinstance(pilot.app.screen, EditScreen))
            await shows(pilot, text)
            await pilot.press("escape")
            await until(pilot, lambda: not isinstance(pilot.app.screen, EditScreen))
    assert fleet.models.asked == []


@pytest.mark.anyio
async def test_the_sample_names_its_weights_wherever_the_console_was_started() -> None:
    app = Console(box())
    app.sample = Path("/opt/it's #1/smollm2.gguf")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("a")
        await shows(pilot, "SmolLM2 135M, 98 MB, runs on this CPU")
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, EditScreen))
        await shows(pilot, "smollm2.gguf")
        text = app.screen.query_one(TextArea).text
    assert yaml.safe_load(text)["spec"]["source"] == str(app.sample)


@pytest.mark.parametrize("template", templates(None), ids=lambda template: template.title)
def test_templates_can_be_applied_as_they_are(template: Template) -> None:
    (parsed,) = parse(template.yaml, base_dir="/")
    assert parsed.model.name
    assert not parsed.warnings


@pytest.mark.anyio
async def test_doctor_says_what_is_broken_and_what_to_do() -> None:
    fleet = StillFleet(model("phi-4"), sources=(*SOURCES, source("llama", text=HOSTILE)))
    async with Console(fleet).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "phi-4")
        await pilot.app.push_screen(DoctorScreen(fleet))
        await shows(pilot, "Doctor   1 broken")
        await shows(pilot, "ok  store")
        await shows(pilot, "..  queue")
        await shows(pilot, "!   API       port 8080 is taken by python3 (pid 4121)")
        await shows(pilot, "for 41s")
        fleet.show(sources=SOURCES[:1])
        await shows(pilot, "all that is needed works")


def test_templates_look_right(snap_compare: Callable[..., bool]) -> None:
    assert snap_compare(Console(box()), terminal_size=(80, 24), run_before=still(None, "GGUF file", "a"))


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
def test_doctor_looks_right(snap_compare: Callable[..., bool], size: tuple[int, int]) -> None:
    run = still(lambda fleet: DoctorScreen(fleet), "port 8080")
    assert snap_compare(Console(box()), terminal_size=size, run_before=run)
