"""The box that commands act on, and the words that they share."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from console import settings
from console.commands.errors import CommandError
from operator_embed.box.fleet import BoxFleet
from operator_embed.box.home import Home
from operator_embed.fleet.fleet import FleetView
from operator_embed.fleet.models import ModelView

NOBODY_LEADS = "nothing runs this box: start uplion or uplion serve"
VERB_OF_KEY = {"e": "edit", "l": "logs"}
STORED = f"stored; {NOBODY_LEADS}"


def on_box(act: Callable[[BoxFleet], Awaitable[int]]) -> int:
    """Run `act` with the fleet of this box, following its leader; returns what it returns."""
    home = Home.default()
    chosen = settings.load(home.config)
    logging.getLogger().addHandler(logging.NullHandler())

    async def run() -> int:
        fleet = BoxFleet(home, chosen.api_url)
        fleet.start()
        try:
            return await act(fleet)
        finally:
            await fleet.close()

    return asyncio.run(run())


def key_of(name: str, namespace: str | None) -> str:
    """The key of an AIModel: `smollm2`, `aimodel/smollm2` as commands print it, and `default/smollm2` are the same."""
    name = name.removeprefix("aimodel/")
    return name if "/" in name else f"{namespace or 'default'}/{name}"


def name_of(key: str) -> str:
    """`aimodel/smollm2`, with its namespace where that is not the default."""
    return f"aimodel/{key.removeprefix('default/')}"


def chosen(models: Iterable[ModelView], names: Iterable[str], namespace: str | None) -> list[ModelView]:
    """The models of these names, of the namespace, or all; raises `CommandError` for a name that is not there."""
    rows = {model.key: model for model in models}
    keys = [key_of(name, namespace) for name in names]
    if missing := [key for key in keys if key not in rows]:
        raise CommandError("\n".join(map(no_such, missing)))
    return [rows[key] for key in keys] or [m for m in rows.values() if namespace in (None, m.namespace)]


def no_such(key: str) -> str:
    """What to say about a name that is not there."""
    return f"{key}: there is no such AIModel; uplion get models lists them"


def text_of(file: str) -> str:
    """A file, or standard input for `-`; raises `CommandError`."""
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{called(file)}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{called(file)}: is not UTF-8 text ({error.reason} at byte {error.start})") from error


def called(file: str) -> str:
    """A file in an error."""
    return "standard input" if file == "-" else file


def folder_of(file: str) -> str:
    """Where relative paths of a file begin."""
    return "." if file == "-" else str(Path(file).parent)


def in_shell(text: str, key: str) -> str:
    """What a console tells to press, as what a shell can run on the AIModel that the text is about."""
    name = key.removeprefix("default/")
    text = re.sub(r"\bpress ([el])\b", r"run \1", text)
    text = re.sub(r"\b(run|then) ([el])\b", lambda told: f"{told[1]} uplion {VERB_OF_KEY[told[2]]} {name}", text)
    return re.sub(r"\bpress (\d)\b", r"open uplion and press \1", text).replace(" :doctor", " uplion doctor")


def warn_unled(view: FleetView) -> None:
    """Say so where figures are old, or not there, because nobody reads them."""
    if view.context.leader_pid is None:
        note(f"warning: {NOBODY_LEADS}")


def note(text: str) -> None:
    """Something beside the result, on standard error."""
    print(text, file=sys.stderr, flush=True)
