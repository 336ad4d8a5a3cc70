"""Braille graphs."""

from __future__ import annotations

from screens.widgets.history import braille_line, scaled, shape


def test_zero_is_a_base_line_and_unknown_a_gap() -> None:
    assert braille_line((0.0, 1.0, None, 0.5), width=2, height=1, y=0) == "⣸⢠"


def test_lines_stack_to_one_area() -> None:
    assert [braille_line((1.0, 0.5), 1, 2, y) for y in range(2)] == ["⡇", "⣿"]


def test_few_samples_stand_at_the_right() -> None:
    assert braille_line((1.0,), width=3, height=1, y=0) == "  ⢸"


def test_scaled_to_a_fixed_top_cuts_what_is_above_it() -> None:
    assert scaled((50.0, None, 120.0), 100.0) == (0.5, None, 1.0)
    assert scaled((0.0, 0.0)) == (0.0, 0.0)


def test_a_row_that_was_zero_all_the_time_is_blank_and_one_that_stood_still_a_base_line() -> None:
    assert shape((0.0,) * 16, 8) == " " * 8
    assert shape((3.0,) * 16, 8) == "⣀" * 8
    assert shape((), 8) == " " * 8
    assert shape(tuple(float(i) for i in range(16)), 8)[-1] == "⣿"
