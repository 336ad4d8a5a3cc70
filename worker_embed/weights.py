"""Where a model's weights lie on this machine."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

GGUF_MAGIC = b"GGUF"


class WeightsMissing(Exception):
    """There is no usable file; the text is one line that says where it was looked for and what to do."""


def find_weights(source: str, model: str, folder: Path | None) -> Path:
    """The GGUF file of `source`, a path or `file://` URI, or without one `<folder>/<model>.gguf`."""
    if not source:
        return _checked(_by_name(model, folder))
    parts = urlsplit(source)
    if parts.scheme == "file":
        return _checked(Path(unquote(parts.path)))
    if "://" in source or parts.scheme in ("hf", "ollama"):
        raise WeightsMissing(f"weights of {model!r}: download {source} first, then set source to the path of the file")
    return _checked(Path(source).expanduser())


def _by_name(model: str, folder: Path | None) -> Path:
    if folder is None:
        raise WeightsMissing(f"weights of {model!r}: set source to the path of a GGUF file")
    return folder / f"{model.replace('/', '--')}.gguf"


def _checked(path: Path) -> Path:
    try:
        with path.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
    except OSError as error:
        raise WeightsMissing(f"weights: cannot read {path}: {error.strerror}; put a GGUF file there") from error
    if magic != GGUF_MAGIC:
        raise WeightsMissing(f"weights: {path} is not a GGUF file; download it again")
    return path
