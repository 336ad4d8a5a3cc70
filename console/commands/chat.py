"""`uplion chat`: ask a model through the API node, as any client would."""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import aclosing, suppress
from unicodedata import category

from console import settings
from console.commands.box import key_of, no_such, note, text_of
from console.commands.errors import CommandError, UsageError, tell
from operator_embed.aimodel import AIModel
from operator_embed.box.fleet import BoxFleet
from operator_embed.box.home import Home
from operator_embed.fleet.fleet import FleetError
from operator_embed.fleet.requests import Piece
from screens.format import count, rate

Messages = list[tuple[str, str]]
STEERING = {"Cc", "Cs"}
BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def chat(options: argparse.Namespace) -> int:
    """Answer one question, or hold a conversation where a terminal is there for it."""
    home = Home.default()
    fleet = BoxFleet(home, settings.load(home.config).api_url)
    model = _model(fleet, options)
    if not model.status.ready:
        note(
            f"{model.name} has no ready replica ({model.status.message or 'nobody looked at it yet'}); it may take long"
        )
    told: Messages = [("system", options.system)] if options.system else []
    if options.prompt is None and sys.stdin.isatty():
        return _converse(fleet, model, told, options)
    prompt = text_of("-") if options.prompt is None else options.prompt
    if not prompt.strip():
        raise UsageError("the question is empty")
    asyncio.run(_answer(fleet, model, [*told, ("user", prompt)], options))
    return 0


def _model(fleet: BoxFleet, options: argparse.Namespace) -> AIModel:
    """The AIModel of that name, or the one that serves it under this name; raises `CommandError`."""
    key = key_of(options.name, options.namespace)
    named = [model for model in fleet.store().list() if key == model.key or options.name == model.spec.model]
    if not named:
        raise CommandError(no_such(key))
    return min(named, key=lambda model: model.key != key)


def _converse(fleet: BoxFleet, model: AIModel, messages: Messages, options: argparse.Namespace) -> int:
    """Question and answer in turn; a stopped or failed answer leaves the conversation as it was before."""
    with suppress(ImportError):
        import readline  # noqa: F401 - gives `input` its history and line editing

    note(f"{model.spec.model} at {fleet.requests.base_url}; ctrl+c stops an answer, ctrl+d ends")
    while True:
        try:
            prompt = input("> ")
        except EOFError:
            print()
            return 0
        if not prompt.strip():
            continue
        asked = [*messages, ("user", prompt)]
        try:
            messages = [*asked, ("assistant", asyncio.run(_answer(fleet, model, asked, options)))]
        except KeyboardInterrupt:
            note("stopped")
        except FleetError as error:
            tell(str(error))


async def _answer(fleet: BoxFleet, model: AIModel, messages: Messages, options: argparse.Namespace) -> str:
    """Stream one answer to standard output; returns it. Leaving early cancels it everywhere."""
    stream = fleet.requests.chat(
        model.spec.model, messages, temperature=options.temperature, max_tokens=options.max_tokens
    )
    clean = sys.stdout.isatty()
    text, last = "", Piece()
    try:
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                text, last = text + piece.text, piece
                print(_harmless(piece.text) if clean else piece.text, end="", flush=True)
    finally:
        if text and not text.endswith("\n"):
            print(flush=True)
    note(_figures(last))
    return text


def _harmless(text: str) -> str:
    """Without what steers a terminal; line ends and the joiners of many scripts stay."""
    return "".join(c if c in "\n\t" or not (category(c) in STEERING or c in BIDI) else "\ufffd" for c in text)


def _figures(last: Piece) -> str:
    ttft = "?" if last.ttft_s is None else f"{last.ttft_s:.2f}s"
    return f"first token {ttft}   {rate(last.tok_s)} tok/s   {count(last.completion_tokens)} tokens   {last.finish}"
