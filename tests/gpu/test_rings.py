"""History goes by time, not by the number of samples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker_embed.gpu.rings import SPAN_S, Rings

T0 = 1_795_300_000


def rings(values: dict[int, float | None], name: str = "gpu0") -> Rings:
    made = Rings()
    for second, value in values.items():
        made.add(T0 + second, {name: value})
    return made


def test_one_point_a_second() -> None:
    history = rings({0: 1, 1: 2, 2: 3})
    assert history.read("gpu0", 5, 5, T0 + 2.9) == (None, None, 1, 2, 3)


def test_a_point_is_the_mean_of_its_part_of_time() -> None:
    history = rings({second: float(second) for second in range(20)})
    assert history.read("gpu0", 20, 2, T0 + 19) == (4.5, 14.5)
    assert history.read("gpu0", 20, 4, T0 + 19.9) == (2.0, 7.0, 12.0, 17.0)


def test_more_points_than_seconds_repeat_the_second() -> None:
    assert rings({0: 1, 1: 2}).read("gpu0", 2, 4, T0 + 1.9) == (1, 1, 2, 2)


@pytest.mark.parametrize("points", [0, -4])
def test_a_graph_without_room_has_no_points(points: int) -> None:
    assert rings({0: 1}).read("gpu0", 120, points, T0) == ()


def test_a_graph_moves_on_by_whole_points() -> None:
    history = rings({second: float(second % 7) for second in range(60)})
    early, late = history.read("gpu0", 60, 6, T0 + 51), history.read("gpu0", 60, 6, T0 + 59)
    assert early == late
    assert history.read("gpu0", 60, 6, T0 + 60)[:-1] == late[1:]


def test_silence_is_a_gap_but_a_late_sample_is_not() -> None:
    history = rings({0: 5, 1: 5, 3: 7, 10: 9})
    assert history.read("gpu0", 11, 11, T0 + 10) == (5, 5, 7, 7, None, None, None, None, None, None, 9)


def test_unknown_is_a_gap() -> None:
    history = rings({0: 5, 1: None, 2: 7, 3: 0})
    assert history.read("gpu0", 4, 4, T0 + 3) == (5, None, 7, 0)
    assert history.read("gpu0", 4, 1, T0 + 3) == (4,)


def test_the_newest_value_holds_until_its_source_is_stale() -> None:
    history = rings({0: 5, 1: 6})
    assert history.read("gpu0", 6, 6, T0 + 5) == (5, 6, 6, 6, None, None)


def test_an_hour_is_kept_and_no_more() -> None:
    history = rings({second: float(second) for second in range(SPAN_S + 100)})
    points = history.read("gpu0", SPAN_S + 50, SPAN_S + 50, T0 + SPAN_S + 99)
    assert points == (None,) * 50 + tuple(range(100, SPAN_S + 100))


def test_a_series_silent_for_an_hour_is_forgotten() -> None:
    history = rings({0: 5}, "old")
    for second in range(0, SPAN_S + 120, 30):
        history.add(T0 + second, {"new": 1.0, "old": None})
    assert history.read("old", 2 * SPAN_S, 1, T0 + SPAN_S) == (None,)
    assert len(history.export()) < 2 * 4 * SPAN_S


def test_a_clock_that_steps_back_does_not_mix_times() -> None:
    history = rings(dict.fromkeys(range(100), 1.0))
    history.add(T0 + 50, {"gpu0": 2.0})
    assert history.read("gpu0", 4, 4, T0 + 50) == (1, 1, 1, 2)
    assert history.read("gpu0", 100, 1, T0 + 50 - SPAN_S + 98) == (None,)
    history.add(T0 - 2 * SPAN_S, {"gpu0": 3.0})
    assert history.read("gpu0", 2, 2, T0 - 2 * SPAN_S) == (None, 3)


@given(
    st.lists(
        st.tuples(st.sampled_from([1, 1, 1, 0, -1, -2, 2, 5, 9]), st.one_of(st.none(), st.just(0.0), st.floats(0, 9))),
        max_size=60,
    ),
    st.sampled_from([(120, 16), (30, 30), (10, 3), (7, 20)]),
    st.integers(0, 5),
)
def test_a_graph_that_is_read_all_along_is_the_one_that_is_read_once(
    steps: list[tuple[int, float | None]], graph: tuple[int, int], late_s: int
) -> None:
    history, second = Rings(), T0
    for step, value in steps:
        second += step
        history.add(second, {"gpu0": value})
        unread, now_s = Rings(), second + late_s
        unread.load(history.export())
        assert history.read("gpu0", *graph, now_s) == unread.read("gpu0", *graph, now_s)
        assert history.mean("gpu0", now_s - 9, now_s + 1) == unread.mean("gpu0", now_s - 9, now_s + 1)


def test_a_mean_is_of_what_is_known() -> None:
    history = rings({0: 1.0, 1: 2.0, 2: None, 3: 6.0})
    assert history.mean("gpu0", T0 + 0.9, T0 + 4) == 3.0
    assert history.mean("gpu0", T0 - 9, T0) is None
    assert history.mean("nobody", T0, T0 + 4) is None


def test_nothing_is_known_of_a_name_never_heard() -> None:
    assert Rings().read("gpu7", 120, 3, T0) == (None, None, None)


def test_history_moves_to_another_process() -> None:
    history = rings({0: 5, 1: None, 7: 7})
    history.add(T0 + 7, {"queue": 412})
    copy = Rings()
    copy.load(history.export())
    for name in ("gpu0", "queue"):
        assert copy.read(name, 20, 20, T0 + 8) == history.read(name, 20, 20, T0 + 8)
    copy.add(T0 + 8, {"gpu0": 8})
    assert copy.read("gpu0", 2, 2, T0 + 8) == (7, 8)


@pytest.mark.parametrize("damaged", [b"", b"\x93", b"\x81\xa1a\x93\x01\x01\xc4\x03abc"])
def test_damaged_history_is_refused(damaged: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Rings().load(damaged)


@given(
    st.dictionaries(st.integers(0, 2 * SPAN_S), st.one_of(st.none(), st.floats(0, 1000, width=32)), max_size=40),
    st.integers(1, 60),
    st.integers(1, 4000),
)
def test_each_point_lies_within_the_values_of_the_series(
    values: dict[int, float | None], points: int, span_s: int
) -> None:
    history = rings(dict(sorted(values.items())))
    known = [value for value in values.values() if value is not None]
    read = history.read("gpu0", span_s, points, T0 + 2 * SPAN_S)
    assert len(read) == points
    assert all(min(known) - 0.01 <= point <= max(known) + 0.01 for point in read if point is not None)
