"""What people type after `/`."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from screens.widgets.filter import FilterError, parse


@dataclass
class Thing:
    name: str
    backlog: float | None = 0
    ready: int = 1
    desired: int = 1
    state: str = "Running"


THINGS = (
    Thing("qwen3-32b", 412, 1, 2, "Degraded"),
    Thing("bge-m3", 1),
    Thing("whisper-large-v3", 18, 0, 1, "Failed"),
    Thing("gone", None),
)
FIELDS = {
    "backlog": lambda t: t.backlog,
    "ready": lambda t: t.ready,
    "desired": lambda t: t.desired,
    "state": lambda t: t.state,
}


def found(text: str) -> list[str]:
    holds = parse(text, FIELDS, lambda t: t.name)
    return [thing.name for thing in THINGS if holds(thing)]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ["qwen3-32b", "bge-m3", "whisper-large-v3", "gone"]),
        ("M3", ["bge-m3"]),
        ("!-", ["gone"]),
        ("~w32", ["qwen3-32b"]),
        ("!~w32", ["bge-m3", "whisper-large-v3", "gone"]),
        ("backlog>10", ["qwen3-32b", "whisper-large-v3"]),
        ("backlog >= 18 & ready<desired", ["qwen3-32b", "whisper-large-v3"]),
        ("backlog>0.4k", ["qwen3-32b"]),
        ("state=failed", ["whisper-large-v3"]),
        ("state!=Running & whisper", ["whisper-large-v3"]),
        ("v[3", []),
    ],
)
def test_rows_that_match(text: str, names: list[str]) -> None:
    assert found(text) == names


def test_letters_that_a_long_text_almost_has_are_missed_at_once() -> None:
    holds = parse(f"~{'a' * 30}b", {}, lambda text: text)
    assert not holds("a" * 500)
    assert holds("A" * 500 + "b")


def test_a_number_is_a_number_also_where_a_column_has_its_name() -> None:
    holds = parse("backlog>2", {**FIELDS, "2": FIELDS["backlog"]}, lambda t: t.name)
    assert [thing.name for thing in THINGS if holds(thing)] == ["qwen3-32b", "whisper-large-v3"]


@pytest.mark.parametrize("name", ["2024", "5m", "backlog", "State"])
def test_a_word_is_a_word_also_where_it_reads_as_a_number_or_a_column(name: str) -> None:
    holds = parse(f"name={name}", {**FIELDS, "name": lambda t: t.name}, lambda t: t.name)
    assert [thing.name for thing in (*THINGS, Thing(name)) if holds(thing)] == [name]


def test_what_is_unknown_matches_no_comparison() -> None:
    assert "gone" not in found("backlog<1000") + found("backlog>=0")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("reddy>3", "no column reddy; there is ready"),
        ("vram>3", "there is backlog, desired"),
        ("backlog>", "what?"),
        ("backlog>x", "x is no number and no column"),
    ],
)
def test_a_text_that_is_no_filter_says_why(text: str, said: str) -> None:
    with pytest.raises(FilterError, match=said):
        found(text)
