"""Head and last line of a screen, as functions of their width."""

from __future__ import annotations

from screens.widgets.head import Fields, placed, tabs_line
from screens.widgets.hints import KeyHint, fit_hints

TABS = (("1", "Models", "go_models"), ("2", "Replicas", "go_replicas"), ("3", "GPUs", "go_gpus"))


def test_views_keep_their_place_whichever_is_shown() -> None:
    for width in (80, 120):
        first = "".join(text for text, _ in tabs_line(TABS, "go_models", width))
        third = "".join(text for text, _ in tabs_line(TABS, "go_gpus", width))
        assert first.index("Replicas") == third.index("Replicas")
    assert "".join(text for text, _ in tabs_line(TABS, "go_gpus", 60)) == " 1  2 [3 GPUs]"


def test_a_long_field_pushes_the_next_and_what_does_not_fit_is_left_out() -> None:
    fields: Fields = ((1, (("18 models", ""),)), (5, (("backlog", ""),)), (30, (("far", ""),)))
    assert "".join(text for text, _ in placed(fields, 40)) == " 18 models backlog" + " " * 12 + "far"
    assert "".join(text for text, _ in placed(fields, 31)) == " 18 models backlog"


def hint(id_: str, text: str) -> KeyHint:
    return KeyHint(id_, text[0], text[0], text[2:], "")


def test_hints_leave_from_the_right_but_help_never() -> None:
    hints = [
        hint("model.scale", "s scale"), hint("model.delete", "D delete"), hint("table.filter", "/ filter"),
        hint("everywhere.command_line", ": go to"), hint("everywhere.help", "? keys"),
        hint("everywhere.leave", "q quit"),
    ]  # fmt: skip
    kept = [[h.title for h in fit_hints(hints, width)] for width in (80, 50, 40, 30, 20, 5)]
    assert kept == [
        ["scale", "delete", "filter", "go to", "keys", "quit"],
        ["scale", "delete", "filter", "go to", "keys"],
        ["scale", "filter", "go to", "keys"],
        ["filter", "go to", "keys"],
        ["go to", "keys"],
        ["keys"],
    ]
