"""Queues and dead letters: what waits longest first, what was given up, and what can be done about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from console.app import Console
from operator_embed.fleet.models import Scale
from screens.model import ModelScreen
from screens.queue_columns import balance, growth, queue_mark
from screens.queues import QueuesScreen
from screens.requests import RequestsScreen
from screens.widgets.table import Table
from tests.fleet import StillFleet, model, painted, queue, replica, shows, until
from tests.screens.scenes import LETTERS, QUEUES, TOPIC, box, still


@pytest.mark.anyio
async def test_the_oldest_request_comes_first_and_the_lower_half_follows_the_cursor() -> None:
    async with Console(box()).run_test(size=(120, 40)) as pilot:
        await pilot.press("4")
        await shows(pilot, "! whisper-large-v3")
        await shows(pilot, "Dead letters  none")
        await pilot.press("j")
        await shows(pilot, "QUEUED  396 ▲ 3.1/s")
        await shows(pilot, "IN  6.0/s   OUT  2.9/s   short by 3.1/s")
        await shows(pilot, "Autoscaler   ceil(412 / 100) = 5, kept to 1..2.")
        await shows(pilot, "2m  1 to 2     backlog 204 / 100 = 3, max 2")
        await shows(pilot, "8f31c2aa      3  EngineTimeout")


@pytest.mark.anyio
async def test_marked_dead_letters_are_requeued_after_a_question() -> None:
    fleet = box()
    async with Console(fleet).run_test(size=(120, 40)) as pilot:
        await pilot.press("4", "j")
        await shows(pilot, "c41d77cc")
        await pilot.press("tab", "space", "space", "R")
        await shows(pilot, "Requeue 2 requests")
        fleet.queues.letters[TOPIC] = LETTERS[2:]
        await pilot.press("enter")
        await until(pilot, lambda: not any("8f31c2aa" in line for line in painted(pilot.app)))
    assert fleet.queues.asked == [("requeue", TOPIC, (LETTERS[0].key, LETTERS[1].key))]


@pytest.mark.anyio
async def test_deleting_dead_letters_takes_y() -> None:
    fleet = box()
    async with Console(fleet).run_test(size=(120, 40)) as pilot:
        await pilot.press("4", "j")
        await shows(pilot, "c41d77cc")
        await pilot.press("D", "enter")
        await shows(pilot, "gone for good")
        await pilot.press("y")
        await until(pilot, lambda: fleet.queues.asked)
    assert fleet.queues.asked == [("discard", TOPIC, (LETTERS[0].key,))]


@pytest.mark.anyio
async def test_purge_wants_the_name_and_says_what_is_lost() -> None:
    fleet = box()
    async with Console(fleet).run_test(size=(120, 40)) as pilot:
        await pilot.press("4", "j", "X")
        await shows(pilot, "396 queued requests will be dropped")
        await pilot.press(*"qwen3-32b", "enter")
        await until(pilot, lambda: fleet.queues.asked)
    assert fleet.queues.asked == [("purge", TOPIC)]


@pytest.mark.anyio
async def test_a_refused_purge_is_a_toast() -> None:
    fleet = box()
    fleet.queues.refusals["purge"] = "the queue is down"
    async with Console(fleet).run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.press("4", "j", "X", *"qwen3-32b", "enter")
        await shows(pilot, "the queue is down")


@pytest.mark.anyio
async def test_its_model_is_scaled_and_explained_from_here() -> None:
    fleet = box()
    async with Console(fleet).run_test(size=(120, 40)) as pilot:
        await pilot.press("4", "j", "s")
        await shows(pilot, "Scale qwen3-32b")
        await pilot.press("3", "enter")
        await until(pilot, lambda: fleet.models.asked)
        await pilot.press("w")
        await until(pilot, lambda: isinstance(pilot.app.screen, ModelScreen))
    assert fleet.models.asked == [("scale", "default/qwen3-32b", Scale(max_replicas=3))]


@pytest.mark.anyio
async def test_b_on_a_model_puts_the_cursor_on_its_queue() -> None:
    async with Console(box()).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "qwen3-32b")
        await pilot.press("b")
        await until(pilot, lambda: isinstance(pilot.app.screen, QueuesScreen))
        await until(pilot, lambda: pilot.app.screen.query_one("#queues", Table).cursor == TOPIC)


@pytest.mark.anyio
async def test_enter_shows_the_dead_letters_in_full() -> None:
    fleet = box()
    fleet.queues.letters[TOPIC] = (replace(LETTERS[0], error="no token for [120s]"), *LETTERS[1:])
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await pilot.press("4", "j", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, RequestsScreen))
        await shows(pilot, "request  8f31c2aa-0000-4000-8000-000000000000")
        await shows(pilot, "no token for [120s]")
        await pilot.press("j", "j")
        await shows(pilot, "request  c41d77cc")
        await pilot.press("A", "R", "enter")
        await until(pilot, lambda: fleet.queues.asked)
    assert len(fleet.queues.asked[0][2]) == 3


@pytest.mark.anyio
async def test_queues_that_wait_equally_long_are_in_the_order_of_their_names() -> None:
    async with Console(box(queues=(queue("phi"), queue("gemma"), queue("bge")))).run_test(size=(80, 24)) as pilot:
        await pilot.press("4")
        await shows(pilot, "phi")
        assert [text.split()[0] for text in painted(pilot.app)[3:6]] == ["bge", "gemma", "phi"]


@pytest.mark.anyio
async def test_enter_tells_what_waits_and_runs_where_nothing_was_given_up() -> None:
    queues = (queue("phi-4", queued=3, in_flight=4, slots=4, oldest_s=12.0, drain="busy"),)
    fleet = box(queues=queues, replicas=(replica("phi-4-x7k2q", "phi-4", busy=4, slots=4),))
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await pilot.press("4", "enter")
        await shows(pilot, "Requests  7 unanswered")
        await shows(pilot, "queued         3   the oldest for 12s, busy")
        await shows(pilot, "in flight      4   of 4 slots: phi-4-x7k2q 4/4")
        await shows(pilot, "No request was given up.")
        assert not any(text.startswith(" Letter") for text in painted(pilot.app))


@pytest.mark.anyio
@pytest.mark.parametrize(("key", "said"), [("R", "no dead letters"), ("D", "no dead letters"), ("X", "nothing waits")])
async def test_a_key_with_nothing_to_do_says_so_without_a_question(key: str, said: str) -> None:
    async with Console(box(queues=(queue("phi-4"),))).run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("4", key)
        await shows(pilot, said)
        assert isinstance(pilot.app.screen, QueuesScreen)


@pytest.mark.anyio
async def test_letters_that_cannot_be_read_say_why() -> None:
    fleet = box()
    fleet.queues.refusals["dead"] = "the queue is down: nats refused, restart 4 in 6s"
    async with Console(fleet).run_test(size=(120, 40)) as pilot:
        await pilot.press("4", "j", "enter")
        await shows(pilot, "the queue is down: nats refused")


@pytest.mark.anyio
async def test_a_read_only_context_changes_nothing() -> None:
    fleet = StillFleet(model("qwen3-32b"), queues=QUEUES, read_only=True)
    fleet.queues.letters[TOPIC] = LETTERS
    async with Console(fleet).run_test(size=(120, 40)) as pilot:
        await pilot.press("4", "j")
        await shows(pilot, "c41d77cc")
        await pilot.press("X", "R", "D", "s")
        await pilot.pause()
        assert isinstance(pilot.app.screen, QueuesScreen)


def test_marks_follow_what_waits_and_who_answers() -> None:
    assert queue_mark(queue("a", queued=0, oldest_s=None)) == " "
    assert queue_mark(queue("a", queued=3, oldest_s=2.0)) == " "
    assert queue_mark(queue("a", queued=3, oldest_s=60.0)) == "~"
    assert queue_mark(queue("a", queued=3, oldest_s=60.0, ready=0)) == "!"
    assert queue_mark(queue("a", queued=3, oldest_s=2.0, ready=0, drain="loads")) == "~"
    assert queue_mark(queue("a", queued=3, oldest_s=60.0, stale=True)) == "?"


def test_rates_that_are_unknown_are_not_compared() -> None:
    assert balance(queue("a", in_s=None), wide=True) == ""
    assert growth(queue("a", trend=1, in_s=None)) == "▲"
    assert growth(queue("a", trend=1, in_s=0.0, out_s=0.0)) == "▲"
    assert growth(queue("a", trend=-1, in_s=1.0, out_s=3.0)) == "▼ 2.0/s"


@pytest.mark.parametrize(
    ("text", "size"),
    [("c41d77cc", (80, 24)), ("c41d77cc", (120, 40)), ("No queue yet", (80, 24))],
    ids=["full-80x24", "full-120x40", "empty-80x24"],
)
def test_queues_look_right(snap_compare: Callable[..., bool], text: str, size: tuple[int, int]) -> None:
    fleet = box() if text == "c41d77cc" else box(queues=())
    assert snap_compare(Console(fleet), terminal_size=size, run_before=still(None, text, "4", "j"))


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
def test_requests_look_right(snap_compare: Callable[..., bool], size: tuple[int, int]) -> None:
    run = still(lambda fleet: RequestsScreen(fleet, TOPIC), "request  8f31c2aa")
    assert snap_compare(Console(box()), terminal_size=size, run_before=run)
