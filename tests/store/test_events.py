from __future__ import annotations

from collections.abc import Iterator

import pytest

from operator_embed.box import events
from operator_embed.box.home import Home
from operator_embed.box.store import Event, Store
from tests.clock import Clock


@pytest.fixture
def store(home: Home, clock: Clock) -> Iterator[Store]:
    opened = Store(home, clock)
    yield opened
    opened.close()


CRASH = Event(reason="CrashLoopBackOff", source="m-x7k2q", model="default/m", warning=True)


def crash(message: str) -> Event:
    return Event(reason=CRASH.reason, source=CRASH.source, model=CRASH.model, warning=True, message=message)


def test_the_same_again_raises_count_and_time(store: Store, clock: Clock) -> None:
    store.record(crash("exit 1, next try in 2 s"))
    [first] = store.events()
    clock.now_s += 60
    store.record(crash("exit 1, next try in 4 s"))
    [again] = store.events()
    assert (again.id, again.count, again.message) == (first.id, 2, "exit 1, next try in 4 s")
    assert (again.first_s, again.at_s) == (first.at_s, clock.now_s)
    assert again.rv > first.rv


def test_another_model_reason_source_or_text_is_another_event(store: Store) -> None:
    store.record(crash("exit"))
    store.record(crash("SIGKILL"))
    store.record(Event(reason="Ready", source="m-x7k2q", model="default/m", message="exit"))
    store.record(Event(reason="CrashLoopBackOff", source="m-aaaaa", model="default/m", message="exit"))
    store.record(Event(reason="CrashLoopBackOff", source="m-x7k2q", model="default/n", message="exit"))
    assert len(store.events()) == 5
    assert [event.model for event in store.events(1)] == ["default/n"]
    assert len(store.events(model="default/m")) == 4


def test_the_same_much_later_is_a_new_event(store: Store, clock: Clock) -> None:
    store.record(crash("exit"))
    clock.now_s += events.FOLD_S + 1
    store.record(crash("exit"))
    assert [event.count for event in store.events()] == [1, 1]


def test_a_reader_sees_only_what_is_new_to_it(store: Store) -> None:
    store.record(crash("exit"))
    seen = store.version()
    store.record(crash("SIGKILL"))
    store.record(crash("exit"))
    assert [(event.message, event.count) for event in store.events(since_rv=seen)] == [("exit", 2), ("SIGKILL", 1)]


def test_events_are_forgotten_after_a_week_and_beyond_a_bound(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.record(crash("exit"))
    clock.now_s += events.KEPT_S + 1
    assert store.events() == ()
    monkeypatch.setattr(events, "KEPT_ROWS", 3)
    for letter in "abcdef":
        store.record(crash(letter))
    assert [event.message for event in store.events()] == ["f", "e", "d"]


def test_hostile_text_is_stored_as_it_came_and_bounded(store: Store) -> None:
    store.record(crash("\x1b[2J[/bold]\x00"))
    store.record(crash("\ud800" + "x" * 1_000_000))
    newest, oldest = store.events()
    assert oldest.message == "\x1b[2J[/bold]\x00"
    assert newest.message == "?" + "x" * (events.MAX_MESSAGE_CHARACTERS - 1)
