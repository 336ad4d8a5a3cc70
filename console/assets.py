"""Files that come with the program."""

from __future__ import annotations

from pathlib import Path

PLACES = (Path(__file__).parents[1] / "assets", Path(__file__).parent / "_assets")
"""In a checkout, and in an installed package."""
SAMPLE = "models/smollm2-135m-instruct-q4_1.gguf"
"""Weights of the sample model, which `make run` fetches; no package has them."""


def path(name: str) -> Path:
    """The file or folder `name` of `assets/`; raises `FileNotFoundError` when this installation lacks it."""
    for place in PLACES:
        if (found := place / name).exists():
            return found
    raise FileNotFoundError(2, "does not come with this installation", name)


def sample() -> Path | None:
    """The weights of the sample model, if they are here."""
    try:
        return path(SAMPLE)
    except FileNotFoundError:
        return None
