"""The user's own editor, which gets the console's terminal and gives it back."""

from __future__ import annotations

import pytest

from tests.real.box import running_box
from tests.real.terminal import console

pytestmark = pytest.mark.anyio


async def test_the_terminal_comes_back_from_an_editor_that_fails() -> None:
    async with running_box() as box:
        await box.running(await box.static("echo", source="static:"))
        for editor, says in (("false", "false ended with 1"), ("/nowhere/vi", "set EDITOR")):
            async with console({**box.env, "EDITOR": editor}) as terminal:
                await terminal.shows("echo")
                terminal.type("E")
                await terminal.shows(says)
                terminal.type("\x1b")
                await terminal.shows("Failures")
                terminal.type("q")
                assert await terminal.ended() == 0
