"""Files that come with the program."""

from __future__ import annotations

from pathlib import Path

PLACES = (Path(__file__).parents[1] / "assets", Path(__file__).parent / "_assets")
"""In a checkout, and in an installed package."""


def path(name: str) -> Path:
    """The file or folder `name` of `assets/`; raises `FileNotFoundError` when this installation lacks it."""
    for place in PLACES:
        if (found := place / name).exists():
            return found
    raise FileNotFoundError(2, "does not come with this installation", name)
