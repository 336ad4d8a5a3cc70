"""The way to the first frame."""

from __future__ import annotations

from console.__main__ import WITHOUT_ARGUMENTS
from console.commands.parser import parser


def test_without_arguments_is_what_the_parser_makes_of_them() -> None:
    assert vars(parser().parse_args([])) == WITHOUT_ARGUMENTS
