"""What a GGUF file says about its model, read from its header without loading it.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MIB = 1024 * 1024
HEADER_BYTES = 64 * MIB
"""No header is read further; the largest vocabularies take about 20 MiB."""
MOST_KEYS = 4096
STRING, ARRAY = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
QUANTS = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4",
}  # fmt: skip
"""`general.file_type` by llama.cpp's `llama_ftype`."""

Value = int | float | bool | str | list[int]


class GgufError(Exception):
    """A file cannot be used as model weights; the text is one line that names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gguf:
    """The model in a GGUF file."""

    architecture: str
    name: str
    file_bytes: int
    """Of all parts when the model is split."""
    quant: str
    """`Q4_K_M`; empty when the file does not say or it is one that we do not know."""
    layers: int
    kv_heads: int
    """Of the layer that has most."""
    head_dim: int
    trained_context: int
    """Tokens; 0 when the file does not say."""
    kv_values_per_token: int
    """Numbers that one token keeps in the KV cache, over all layers."""


class _Header:
    """Reads the start of a file in order and refuses to leave its bounds."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = min(size, HEADER_BYTES)

    def numbers(self, layout: str) -> tuple[int, ...]:
        return struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout)))

    def take(self, count: int) -> bytes:
        self._spend(count)
        if len(data := self._file.read(count)) < count:
            raise GgufError("ends within its header")
        return data

    def skip(self, count: int) -> None:
        self._spend(count)
        self._file.seek(count, 1)

    def _spend(self, count: int) -> None:
        if count > self._left:
            raise GgufError("ends within its header")
        self._left -= count

    def text(self) -> str:
        (length,) = self.numbers("Q")
        return self.take(length).decode(errors="replace")

    def value(self, kind: int) -> Value:
        """One value; arrays of other things than whole numbers are passed over and give an empty list."""
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            return self._array(*self.numbers("IQ"))
        if kind not in SCALARS:
            raise GgufError(f"holds a value of unknown type {kind}")
        value: Value = self.numbers(SCALARS[kind])[0]
        return value

    def _array(self, kind: int, count: int) -> list[int]:
        if kind == STRING:
            for _ in range(count):
                self.skip(self.numbers("Q")[0])
        elif kind in (4, 5, 10, 11) and count <= MOST_KEYS:
            return [self.numbers(SCALARS[kind])[0] for _ in range(count)]
        elif kind in SCALARS:
            self.skip(count * struct.calcsize("<" + SCALARS[kind]))
        else:
            raise GgufError(f"holds an array of unknown type {kind}")
        return []


def read_gguf(path: Path) -> Gguf:
    """Read the header of `path`; raises `GgufError` when it is missing, cut short or no GGUF file."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            found = _keys(_Header(file, size))
        return _model(found, _all_parts_bytes(path, size))
    except OSError as error:
        raise GgufError(f"{path}: {error.strerror}") from error
    except GgufError as error:
        raise GgufError(f"{path}: {error}") from error


def _keys(header: _Header) -> dict[str, Value]:
    """Everything up to the vocabulary, which is large and comes after what describes the model."""
    if header.take(4) != b"GGUF":
        raise GgufError("not a GGUF file")
    (version,) = header.numbers("I")
    if version not in (2, 3):
        raise GgufError(f"GGUF version {version} is not supported (2 and 3 are)")
    _tensors, keys = header.numbers("QQ")
    if keys > MOST_KEYS:
        raise GgufError(f"claims {keys} keys; the file is damaged")
    found: dict[str, Value] = {}
    for _ in range(keys):
        name = header.text()
        if name.startswith("tokenizer.") and f"{found.get('general.architecture')}.block_count" in found:
            break
        found[name] = header.value(*header.numbers("I"))
    return found


def _model(found: dict[str, Value], file_bytes: int) -> Gguf:
    architecture = found.get("general.architecture")
    if not isinstance(architecture, str):
        raise GgufError("names no architecture")

    def number(name: str, default: int | None = None) -> int:
        value = found.get(f"{architecture}.{name}", default)
        if not isinstance(value, int) or value < 0:
            raise GgufError(f"has no usable {architecture}.{name}")
        return value

    layers = number("block_count")
    heads = _per_layer(found.get(f"{architecture}.attention.head_count"), layers)
    kv_heads = _per_layer(found.get(f"{architecture}.attention.head_count_kv"), layers) or heads
    if not layers or not any(heads):
        raise GgufError(f"has no usable {architecture}.attention.head_count")
    head_dim = number("attention.key_length", number("embedding_length") // max(heads))
    value_dim = number("attention.value_length", head_dim)
    file_type = found.get("general.file_type")
    return Gguf(
        architecture=architecture,
        name=str(found.get("general.name", "")),
        file_bytes=file_bytes,
        quant=QUANTS.get(file_type, "") if isinstance(file_type, int) else "",
        layers=layers,
        kv_heads=max(kv_heads),
        head_dim=head_dim,
        trained_context=number("context_length", 0),
        kv_values_per_token=sum(kv_heads) * (head_dim + value_dim),
    )


def _per_layer(value: Value | None, layers: int) -> list[int]:
    """Some models name a count for all layers, some one for each."""
    if isinstance(value, list):
        return value
    return [value] * layers if isinstance(value, int) and layers <= MOST_KEYS else []


def _all_parts_bytes(path: Path, size: int) -> int:
    """A model split as `name-00001-of-00003.gguf` is as large as its parts together."""
    if not (split := re.fullmatch(r"(.+-)\d{5}(-of-(\d{5})\.gguf)", path.name)):
        return size
    parts = [path.with_name(f"{split[1]}{part:05}{split[2]}") for part in range(1, int(split[3]) + 1)]
    if missing := next((part.name for part in parts if not part.exists()), ""):
        raise GgufError(f"{missing}, a part of it, is missing")
    return sum(part.stat().st_size for part in parts)
