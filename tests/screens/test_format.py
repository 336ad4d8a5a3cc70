"""Figures as text: zero, unknown, not applicable, stale and small look different."""

from __future__ import annotations

import pytest

from screens.format import age, count, fit, fit_middle, gib, pct, plural, rate, safe_text, span, stale, watts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (age(0), "0s"), (age(59.9), "59s"), (age(60), "1m"), (age(86_399), "23h"), (age(345_600), "4d"),
        (age(86_400 * 1_100), "3y"), (age(None), "?"), (age(-5), "0s"),
        (span(150), "2m30s"), (span(3_600), "1h"), (span(11_100), "3h5m"), (span(45), "45s"),
        (count(0), "0"), (count(9_999), "9999"), (count(12_400), "12.4k"), (count(3_100_000), "3.1M"),
        (count(None), "?"),
        (count(999_960), "1.0M"), (count(9_999.7), "10.0k"),
        (rate(0), "0"), (rate(0.01), "<0.1"), (rate(2.94), "2.9"), (rate(99.97), "100"), (rate(1_180), "1180"),
        (gib(0), "0"), (gib(20), "<0.1"), (gib(75_366), "73.6"), (gib(None), "?"),
        (pct(0), "0"), (pct(0.2), "<1"), (pct(99.4), "99"),
        (watts(392), "392 W"), (watts(1_187), "1.19 kW"), (watts(None), "? W"),
        (stale("412", True), "412?"), (stale("?", True), "?"), (stale("-", True), "-"), (stale("412", False), "412"),
        (plural(1, "model"), "1 model"), (plural(0, "model"), "0 models"), (plural(2, "entry"), "2 entries"),
    ],
)  # fmt: skip
def test_figures(text: str, expected: str) -> None:
    assert text == expected


def test_a_name_loses_its_middle_and_a_message_its_end() -> None:
    assert fit_middle("mixtral-8x22b-instruct-q4", 20) == "mixtral-8x…struct-q4"
    assert fit("thermal at 84 °C", 10) == "thermal a…"
    assert fit("9", 4, right=True) == "   9"


@pytest.mark.parametrize("text", ["模型" * 20, "🙂" * 30, "a🙂" * 20, "שלום" * 9, "e\u0301" * 40])
def test_whatever_is_fitted_takes_exactly_its_cells(text: str) -> None:
    from rich.cells import cell_len

    for width in range(1, 24):
        assert cell_len(fit(text, width)) == width
        assert cell_len(fit_middle(text, width)) == width


def test_what_could_steer_a_terminal_does_not_pass() -> None:
    assert safe_text("a\x1b[31mb\u202ec\td\n") == "a\ufffd[31mb\ufffdc d "
