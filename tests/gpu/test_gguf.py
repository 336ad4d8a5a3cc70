"""What a model file says of itself, and what it will take."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker_embed.gguf import GgufError, read_gguf
from worker_embed.gpu.estimate import estimate_mib

SAMPLE = Path(__file__).parents[2] / "assets/models/smollm2-135m-instruct-q4_1.gguf"
needs_sample = pytest.mark.skipif(not SAMPLE.exists(), reason="the sample model is not there: make run fetches it")

LLAMA = {
    "general.architecture": "llama",
    "general.name": "Tiny",
    "llama.block_count": 2,
    "llama.context_length": 4096,
    "llama.embedding_length": 512,
    "llama.attention.head_count": 8,
    "llama.attention.head_count_kv": 2,
    "general.file_type": 15,
}


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def value(item: Any) -> bytes:
    """A value as GGUF types it; lists take the type of their first item."""
    if isinstance(item, str):
        return struct.pack("<I", 8) + text(item)
    if isinstance(item, list):
        kind, packed = (8, map(text, item)) if isinstance(item[0], str) else (4, (struct.pack("<I", n) for n in item))
        return struct.pack("<IIQ", 9, kind, len(item)) + b"".join(packed)
    return struct.pack("<If", 6, item) if isinstance(item, float) else struct.pack("<II", 4, item)


def gguf(keys: dict[str, Any], version: int = 3) -> bytes:
    body = b"".join(text(key) + value(item) for key, item in keys.items())
    return b"GGUF" + struct.pack("<IQQ", version, 1, len(keys)) + body


def write(folder: Path, content: bytes, name: str = "model.gguf") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


@needs_sample
def test_the_sample_model_is_read() -> None:
    model = read_gguf(SAMPLE)
    assert (model.architecture, model.quant, model.layers, model.kv_heads, model.head_dim) == (
        "llama",
        "Q4_1",
        30,
        3,
        64,
    )
    assert (model.trained_context, model.file_bytes) == (8192, 98_362_432)


@needs_sample
@pytest.mark.parametrize(("context", "mib"), [(512, 159), (2048, 193), (8192, 328), (32768, 868)])
def test_the_estimate_is_what_the_sample_model_was_measured_to_take(context: int, mib: int) -> None:
    assert round(estimate_mib(read_gguf(SAMPLE), context, on_gpu=False)) == mib


@needs_sample
def test_a_gpu_takes_more_for_its_own_buffers() -> None:
    model = read_gguf(SAMPLE)
    assert estimate_mib(model, 512, on_gpu=True) - estimate_mib(model, 512, on_gpu=False) == 600 - 54


def test_a_quantized_cache_takes_half(tmp_path: Path) -> None:
    model = read_gguf(write(tmp_path, gguf(LLAMA)))
    whole, half = (estimate_mib(model, 1 << 20, on_gpu=False, kv_bytes=size) for size in (2, 1))
    assert whole - half == pytest.approx((1 << 20) * 2 * 2 * 2 * 64 / 1024**2)


def test_keys_after_the_vocabulary_are_found_when_they_are_needed(tmp_path: Path) -> None:
    late = {"general.architecture": "llama", "tokenizer.ggml.tokens": ["a", "bc", ""], "tokenizer.scores": 0.5} | LLAMA
    assert read_gguf(write(tmp_path, gguf(late))).layers == 2


def test_heads_that_differ_by_layer_are_added_up(tmp_path: Path) -> None:
    keys = LLAMA | {"llama.block_count": 3, "llama.attention.head_count_kv": [4, 0, 2]}
    model = read_gguf(write(tmp_path, gguf(keys)))
    assert (model.kv_heads, model.kv_values_per_token) == (4, 6 * 2 * 64)


def test_head_sizes_that_the_file_names_win(tmp_path: Path) -> None:
    keys = LLAMA | {"llama.attention.key_length": 128, "llama.attention.value_length": 96}
    model = read_gguf(write(tmp_path, gguf(keys)))
    assert (model.head_dim, model.kv_values_per_token) == (128, 2 * 2 * (128 + 96))


def test_a_model_without_grouped_heads_has_as_many_as_it_has_heads(tmp_path: Path) -> None:
    keys = {key: item for key, item in LLAMA.items() if not key.endswith("_kv")}
    assert read_gguf(write(tmp_path, gguf(keys))).kv_heads == 8


def test_a_split_model_is_as_large_as_all_its_parts(tmp_path: Path) -> None:
    first = write(tmp_path, gguf(LLAMA), "big-00001-of-00003.gguf")
    write(tmp_path, bytes(1000), "big-00002-of-00003.gguf")
    with pytest.raises(GgufError, match=r"big-00003-of-00003\.gguf, a part of it, is missing"):
        read_gguf(first)
    write(tmp_path, bytes(500), "big-00003-of-00003.gguf")
    assert read_gguf(first).file_bytes == len(gguf(LLAMA)) + 1500


WHOLE = gguf(LLAMA)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "ends within its header"),
        (b"PK\x03\x04 a zip file that is longer", "not a GGUF file"),
        (gguf(LLAMA, version=1), "GGUF version 1 is not supported"),
        (WHOLE[:-10], "ends within its header"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), f"claims {2**60} keys"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**60), "ends within its header"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("x") + struct.pack("<I", 77), "unknown type 77"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("x") + struct.pack("<IIQ", 9, 9, 2**50), "unknown type 9"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("x") + struct.pack("<IIQ", 9, 8, 2**50), "ends within"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("x") + struct.pack("<IIQ", 9, 4, 2**61), "ends within"),
        (gguf({"general.name": "x"}), "names no architecture"),
        (gguf({"general.architecture": "llama"}), "has no usable llama.block_count"),
        (gguf(LLAMA | {"llama.attention.head_count": 0, "llama.attention.head_count_kv": 0}), "head_count"),
        (gguf(LLAMA | {"llama.block_count": "many"}), "has no usable llama.block_count"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(GgufError) as refused:
        read_gguf(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(GgufError, match="No such file"):
        read_gguf(tmp_path / "none.gguf")
    with pytest.raises(GgufError, match="directory"):
        read_gguf(tmp_path)


def test_only_the_start_of_a_huge_file_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("x") + struct.pack("<IIQ", 9, 0, 2**38))
    with path.open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(GgufError, match="ends within its header"):
        read_gguf(path)


@given(at=st.integers(0, len(WHOLE) - 1), damage=st.binary(min_size=1, max_size=9), cut=st.integers(0, len(WHOLE)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_damage_never_ends_in_anything_but_a_refusal(tmp_path: Path, at: int, damage: bytes, cut: int) -> None:
    path = write(tmp_path, (WHOLE[:at] + damage + WHOLE[at + len(damage) :])[: cut or None])
    with suppress(GgufError):
        assert read_gguf(path).layers > 0
