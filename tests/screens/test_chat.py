"""Testing a model: the answer as it comes, its figures, and a way to stop it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Input

from console.app import Console
from operator_embed.fleet.requests import Piece
from screens.chat import ChatScreen
from screens.chat_text import Settings, Turn, figures, messages
from screens.models import ModelsScreen
from screens.save import SaveDialog
from tests.fleet import StillFleet, model, painted, shows, until
from tests.screens.scenes import HOSTILE, KEY, SAFE, box, still

ANSWER = (
    Piece(text="Paris is the capital of France. " * 4, request_id="8f31c2"),
    Piece(finish="stop", ttft_s=0.21, tok_s=41.3, prompt_tokens=12, completion_tokens=34),
)


def screen(app: App[Any]) -> ChatScreen:
    assert isinstance(app.screen, ChatScreen)
    return app.screen


def chatting(*pieces: Piece) -> StillFleet:
    fleet = StillFleet(model("smollm2", model="smol"))
    fleet.requests.pieces = pieces or ANSWER
    return fleet


@pytest.mark.anyio
async def test_an_answer_is_streamed_with_its_figures() -> None:
    fleet = chatting()
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await pilot.press("t", *"hi", "enter")
        await shows(pilot, "> hi")
        await shows(pilot, "Paris is the capital")
        await shows(pilot, "first token 0.21 s   41.3 tok/s   12 + 34 tokens   stop")
    assert fleet.requests.asked == [("chat", "smol", (("user", "hi"),), None)]


@pytest.mark.anyio
async def test_the_conversation_goes_along_with_the_next_question() -> None:
    fleet = chatting(Piece(text="one"), Piece(finish="stop"))
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await pilot.press("t", *"hi", "enter")
        await until(pilot, lambda: not screen(pilot.app).is_answering)
        await pilot.press(*"a", "ctrl+j", *"b", "enter")
        await until(pilot, lambda: len(fleet.requests.asked) == 2)
    assert fleet.requests.asked[1][2] == (("user", "hi"), ("assistant", "one"), ("user", "a\nb"))


@pytest.mark.anyio
async def test_escape_stops_the_answer_and_then_leaves() -> None:
    fleet = chatting(Piece(text="endless", ttft_s=0.74, tok_s=8.1, completion_tokens=34))
    fleet.requests.go_on.clear()
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await pilot.press("t", *"hi", "enter")
        await shows(pilot, "endless")
        await pilot.press("escape")
        await shows(pilot, "first token 0.74 s   ~8.1 tok/s   ~34 tokens   stopped")
        await until(pilot, lambda: fleet.requests.cancelled == 1)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, ModelsScreen))


@pytest.mark.anyio
async def test_leaving_the_screen_cancels_the_request() -> None:
    fleet = chatting(Piece(text="endless"))
    fleet.requests.go_on.clear()
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await pilot.press("t", *"hi", "enter")
        await shows(pilot, "endless")
        pilot.app.pop_screen()
        await until(pilot, lambda: fleet.requests.cancelled == 1)


@pytest.mark.anyio
async def test_a_refusal_is_in_plain_words_and_can_be_tried_again() -> None:
    fleet = chatting(Piece(text="fine"), Piece(finish="stop"))
    fleet.requests.refusals["chat"] = "smollm2: no replica answered within 300 s; w on the model says why"
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await pilot.press("t", *"hi", "enter")
        await shows(pilot, "! smollm2: no replica answered within 300 s")
        fleet.requests.refusals.clear()
        await pilot.press("ctrl+r")
        await shows(pilot, "fine")
        assert not any("no replica" in line for line in painted(pilot.app))


@pytest.mark.anyio
async def test_two_models_answer_the_same_question_side_by_side() -> None:
    fleet = StillFleet(model("smollm2", model="smol"), model("qwen3-32b"), model("phi-4"))
    fleet.requests.pieces = ANSWER
    async with Console(fleet).run_test(size=(120, 40)) as pilot:
        await pilot.press("slash", *"smol", "enter", "t", "ctrl+o")
        await shows(pilot, "A second model beside it")
        await pilot.press("j", "enter")
        await shows(pilot, "Models > smollm2, qwen3-32b > test")
        await pilot.press(*"hi", "enter")
        figures = "first token 0.21 s   41.3 tok/s   12 + 34 tokens   stop"
        await until(pilot, lambda: any(line.count(figures) == 2 for line in painted(pilot.app)))
        assert {asked[1] for asked in fleet.requests.asked} == {"smol", "qwen3-32b"}
        await pilot.press("ctrl+r")
        await until(pilot, lambda: len(fleet.requests.asked) == 4)
        assert {asked[2] for asked in fleet.requests.asked} == {(("user", "hi"),)}
        await until(pilot, lambda: not screen(pilot.app).is_answering)
        await pilot.press("ctrl+o")
        await shows(pilot, "Models > smollm2 > test")


@pytest.mark.anyio
async def test_models_of_one_name_are_told_apart_by_their_namespaces() -> None:
    fleet = StillFleet(model("phi-4"), model("phi-4", key="ai/phi-4", namespace="ai"), model("smollm2"))
    async with Console(fleet).run_test(size=(120, 40)) as pilot:
        await pilot.press("slash", *"smol", "enter", "t", "ctrl+o")
        await shows(pilot, "default/phi-4")
        await shows(pilot, "ai/phi-4")
        await pilot.press("enter")
        await shows(pilot, "Models > smollm2, ai/phi-4 > test")


@pytest.mark.anyio
async def test_a_second_model_that_comes_later_is_asked_by_trying_again() -> None:
    fleet = StillFleet(model("smollm2"), model("phi-4"))
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await pilot.press("t", *"hi", "enter")
        await until(pilot, lambda: fleet.requests.asked and not screen(pilot.app).is_answering)
        await pilot.press("ctrl+o", "enter")
        await shows(pilot, "phi-4, smollm2")
        await pilot.press("ctrl+r")
        await until(pilot, lambda: len(fleet.requests.asked) == 3)
        assert {asked[2] for asked in fleet.requests.asked} == {(("user", "hi"),)}


@pytest.mark.anyio
async def test_escape_stops_both_answers_before_it_leaves() -> None:
    fleet = StillFleet(model("smollm2"), model("phi-4"))
    fleet.requests.pieces = (Piece(text="endless"),)
    fleet.requests.go_on.clear()
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await pilot.press("t", "ctrl+o", "enter")
        await shows(pilot, "phi-4, smollm2")
        await pilot.press(*"hi", "enter")
        await until(pilot, lambda: any(line.count("endless") == 2 for line in painted(pilot.app)))
        await pilot.press("escape")
        await until(pilot, lambda: fleet.requests.cancelled == 2)
        await until(pilot, lambda: any(line.count("stopped") == 2 for line in painted(pilot.app)))
        assert isinstance(pilot.app.screen, ChatScreen)


@pytest.mark.anyio
async def test_without_another_model_there_is_none_to_put_beside_it() -> None:
    async with Console(chatting()).run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("t", "ctrl+o")
        await shows(pilot, "there is no other model")


@pytest.mark.anyio
async def test_system_prompt_and_temperature_are_sent() -> None:
    fleet = chatting()
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await pilot.press("t", "ctrl+t", *"Be brief", "tab", *"0.5", "enter")
        await shows(pilot, "temperature 0.5")
        await shows(pilot, "system prompt set")
        await pilot.press(*"hi", "enter")
        await until(pilot, lambda: fleet.requests.asked)
    assert fleet.requests.asked == [("chat", "smol", (("system", "Be brief"), ("user", "hi")), 0.5)]


@pytest.mark.anyio
async def test_a_temperature_out_of_range_is_not_taken() -> None:
    async with Console(chatting()).run_test(size=(80, 24)) as pilot:
        await pilot.press("t", "ctrl+t", "tab", *"9", "enter")
        await pilot.pause()
        await shows(pilot, "0 to 2; empty: the model's own")


@pytest.mark.anyio
async def test_hostile_answers_are_only_text() -> None:
    async with Console(chatting(Piece(text=HOSTILE))).run_test(size=(80, 24)) as pilot:
        await pilot.press("t", *"hi", "enter")
        await shows(pilot, SAFE)


def test_an_answer_that_never_came_is_not_sent_back() -> None:
    turns = [Turn(prompt="a").end("gone"), Turn(prompt="b")]
    assert messages(turns, Settings()) == [("user", "a"), ("user", "b")]


def test_figures_say_only_what_is_known() -> None:
    assert figures(Turn(prompt="a")) == ""
    assert figures(Turn(prompt="a").plus(Piece(ttft_s=0.0, completion_tokens=3))) == "first token 0.00 s   ~3 tokens"


@pytest.mark.parametrize(
    ("text", "size"),
    [("12 + 34 tokens", (80, 24)), ("12 + 34 tokens", (120, 40)), ("no replica", (80, 24))],
    ids=["ok-80x24", "ok-120x40", "refused-80x24"],
)
def test_chat_looks_right(snap_compare: Callable[..., bool], text: str, size: tuple[int, int]) -> None:
    fleet = box()
    fleet.requests.pieces = ANSWER
    if text == "no replica":
        fleet.requests.refusals["chat"] = "qwen3-32b: no replica answered within 300 s; w on the model says why"
    run = still(lambda fleet: ChatScreen(fleet, KEY), text, *"capital?", "enter")
    assert snap_compare(Console(fleet), terminal_size=size, run_before=run)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
def test_two_models_look_right(snap_compare: Callable[..., bool], size: tuple[int, int]) -> None:
    fleet = box()
    fleet.requests.pieces = ANSWER
    keys = ("ctrl+o", "enter", *"capital?", "enter")
    run = still(lambda fleet: ChatScreen(fleet, KEY), "tok/s", *keys)
    assert snap_compare(Console(fleet), terminal_size=size, run_before=run)


async def saved(pilot: Pilot[Any], file: Path) -> str:
    """Save what is on the screen, and what the file holds then."""
    await pilot.press("ctrl+s")
    await until(pilot, lambda: isinstance(pilot.app.screen, SaveDialog))
    pilot.app.screen.query_one(Input).value = str(file)
    await pilot.press("enter")
    await until(pilot, lambda: file.exists() and file.read_text().endswith("\n"))
    return file.read_text()


@pytest.mark.anyio
async def test_a_conversation_is_saved_whole(tmp_path: Path) -> None:
    fleet = chatting(Piece(text="\n".join(f"line {n}" for n in range(60))), Piece(finish="stop", tok_s=41.3))
    async with Console(fleet).run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("t", *"hi", "enter")
        await shows(pilot, "41.3 tok/s")
        text = await saved(pilot, tmp_path / "said.txt")
        (said,) = json.loads(await saved(pilot, tmp_path / "said.json"))
    assert text.startswith("smollm2\n> hi\n")
    assert "line 0\n" in text
    assert (said["model"], said["turns"][0]["prompt"], said["turns"][0]["figures"]["tok_s"]) == ("smollm2", "hi", 41.3)
