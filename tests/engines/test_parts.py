"""The engines' pure parts: events out of bytes, requests and answers, the gate, static scripts, refusals."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker_embed.answers import Answer, Request
from worker_embed.config import ConfigError, WorkerConfig
from worker_embed.engines.choice import choose_engine
from worker_embed.engines.http import Refusal
from worker_embed.engines.llama import LlamaEngine, lines
from worker_embed.engines.port import AttemptFailed, ClientFault, Unavailable
from worker_embed.engines.remote import RemoteEngine
from worker_embed.engines.sse import EventReader
from worker_embed.engines.static import Script, StaticEngine
from worker_embed.gate import Gate
from worker_embed.inflight import Inflight, read_tokens
from worker_embed.weights import WeightsMissing, find_weights
from worker_embed.wire import ErrorKind, Task

STREAM = b': ping\n\ndata: {"a":1}\r\n\r\nevent: x\ndata: {"b":\ndata: 2}\n\n\ndata:[DONE]\n\n'


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(ends)]


@given(st.lists(st.integers(0, 1000), max_size=8))
def test_events_are_the_same_however_the_bytes_arrive(places: list[int]) -> None:
    reader = EventReader()
    payloads = [payload for piece in cut(STREAM, places) for payload in reader.feed(piece)]
    assert payloads == [b'{"a":1}', b'{"b":\n2}', b"[DONE]"]


def request(data: bytes, stream: bool = True) -> Request:
    return Request.of(Task("r", stream, msgspec.Raw(data), ""), "chat/completions")


def test_a_request_keeps_what_it_says_and_asks_for_usage() -> None:
    body = msgspec.json.decode(request(b'{"model":"m","stream_options":{"x":1},"n":2.50}').job.body)
    assert body == {"model": "m", "stream_options": {"x": 1, "include_usage": True}, "n": 2.5}


def test_a_whole_request_goes_on_byte_for_byte() -> None:
    data = b'{ "model" : "m", "n": 1e0 }'
    assert request(data, stream=False).job.body == data


@pytest.mark.parametrize(
    "data", [b"[]", b'"x"', b'{"stream_options": 3}', b'{"x":' + b"[" * 5000], ids=["list", "text", "options", "deep"]
)
def test_a_body_that_is_no_request_is_a_400(data: bytes) -> None:
    with pytest.raises(ClientFault) as caught:
        request(data)
    assert caught.value.status == 400


def test_error_in_a_stream_is_the_clients_or_the_engines() -> None:
    answer = Answer(request(b'{"model":"m"}'))
    with pytest.raises(ClientFault) as caught:
        answer.events([b'{"error":{"code":400,"message":"too long","type":"invalid_request_error"}}'])
    assert caught.value.status == 400
    with pytest.raises(AttemptFailed, match="no valid JSON"):
        answer.events([b'{"choices":' + b"[" * 5000])
    with pytest.raises(AttemptFailed, match="out of memory"):
        answer.events([b'{"error":{"code":500,"message":"out of\\nmemory"}}'])


def test_bytes_that_are_no_text_do_not_reach_a_client() -> None:
    answer = Answer(request(b'{"model":"m"}'))
    [event] = answer.events(['{"choices":[{"delta":{"content":"é'.encode() + b'\xff"}}]}'])
    assert msgspec.json.decode(event)["choices"][0]["delta"]["content"] == "é?"
    whole = answer.whole(b'{"choices":[{"message":{"content":"\xc3"}}]}')
    assert msgspec.json.decode(whole)["choices"][0]["message"]["content"] == "?"


@pytest.mark.parametrize("count", ["-3", "1e30", "123456789012345678901234567890", '"many"', "[]"])
def test_counts_that_an_engine_makes_up_are_not_counted(count: str) -> None:
    answer = Answer(request(b'{"model":"m"}'))
    answer.events([b'{"choices":[{}]}', b'{"choices":[],"usage":{"completion_tokens":%s}}' % count.encode()])
    assert answer.usage.completion_tokens == 1


def test_refusal_has_all_four_keys_and_openais_words() -> None:
    said = b'{"error":{"code":400,"message":"too long","type":"exceed_context_size_error","n_ctx":512}}'
    refusal = Refusal(path="chat/completions", status=400, body=said, retry_after_s=None)
    assert msgspec.json.decode(refusal.envelope) == {
        "error": {
            "message": "too long",
            "type": "invalid_request_error",
            "param": None,
            "code": "context_length_exceeded",
        }
    }


def limit(pause_s: float | None = None) -> Unavailable:
    return Unavailable("rate limit", kind=None, pause_s=pause_s, counts=False)


def test_gate_closes_once_for_many_refusals_and_probes_before_it_opens() -> None:
    gate = Gate()
    assert gate.refused(limit(), 100.0) == 1.0
    assert gate.refused(limit(), 100.5) == 0.5
    assert (gate.room(4, 100.9), gate.room(4, 101.0)) == (0, 1)
    assert gate.refused(limit(), 101.0) == 2.0
    gate.served(102.9)
    assert gate.room(4, 102.9) == 0, "an answer to what was accepted before opens nothing"
    gate.served(103.0)
    assert gate.room(4, 103.0) == 4
    assert gate.refused(limit(), 104.0) == 1.0


def test_gate_pauses_as_long_as_it_is_told_and_never_without_end() -> None:
    gate = Gate()
    assert gate.refused(limit(7.0), 0.0) == 7.0
    for _ in range(20):
        pause_s = gate.refused(limit(), gate.resume_s)
    assert pause_s == 60.0
    assert gate.refused(limit(0.0), gate.resume_s) == 1.0
    assert gate.refused(limit(math.inf), gate.resume_s) == 3600.0


def test_a_check_forgets_only_what_it_can_see() -> None:
    gate = Gate()
    gate.refused(Unavailable("no quota", kind=ErrorKind.QUOTA, counts=True), 0.0)
    gate.checked()
    assert gate.problem == (ErrorKind.QUOTA, "no quota")
    gate.served(60.0)
    gate.refused(limit(), 60.0)
    gate.checked()
    assert gate.problem is None


@pytest.mark.anyio
async def test_a_flood_of_lines_leaves_others_their_turns() -> None:
    reader, turns = asyncio.StreamReader(), 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    reader.feed_data(b"\xff\n" * 1000 + b"no end")
    reader.feed_eof()
    waiting = asyncio.create_task(other())
    printed = [line async for line in lines(reader)]
    waiting.cancel()
    assert printed == ["\ufffd"] * 1000 + ["no end"]
    assert turns >= 1000


def test_static_script() -> None:
    script = Script.parse("static:Hello%20there?tokens=5&tokens_per_s=25&delay_s=0.2")
    assert "".join(script.words) == "Hello there Hello there Hello"
    assert (script.tokens_per_s, script.delay_s) == (25.0, 0.2)
    assert "".join(Script.parse("static:").words) == "Hello! How can I assist you today?"


@pytest.mark.parametrize("source", ["static:x?tokens=many", "static:x?speed=3", "static:x?delay_s=-1"])
def test_static_script_with_a_mistake_is_named(source: str) -> None:
    with pytest.raises(ConfigError, match="static:x"):
        Script.parse(source)


def test_weights_by_path_uri_and_name(tmp_path: Path) -> None:
    weights = tmp_path / "org--a model.gguf"
    weights.write_bytes(b"GGUF rest")
    assert find_weights(str(weights), "m", None) == weights
    assert find_weights(weights.as_uri(), "m", None) == weights
    assert find_weights("", "org/a model", tmp_path) == weights


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("/nowhere/m.gguf", "cannot read /nowhere/m.gguf: No such file"),
        ("/dev/null", "not a GGUF file"),
        ("https://host/m.gguf", "download https://host/m.gguf first"),
        ("hf:org/m", "download hf:org/m first"),
        ("", "set source"),
    ],
)
def test_missing_weights_say_what_to_do(source: str, says: str) -> None:
    with pytest.raises(WeightsMissing, match=says):
        find_weights(source, "m", None)


def test_tokens_in_hand_survive_their_writer(tmp_path: Path) -> None:
    path = tmp_path / "inflight"
    inflight = Inflight(path)
    inflight.add("a")
    inflight.add("b")
    inflight.remove("a")
    assert read_tokens(path) == ["b"]
    for number in range(5000):
        inflight.add(f"token-{number}")
        inflight.remove(f"token-{number}")
    assert read_tokens(path) == ["b"]
    assert path.stat().st_size < 128 * 1024
    inflight.remove("b")
    assert path.stat().st_size == 0
    assert read_tokens(tmp_path / "none") == []


def test_a_full_disk_stops_no_work_and_what_is_in_hand_is_noted_later(tmp_path: Path) -> None:
    path = tmp_path / "inflight"
    path.symlink_to("/dev/full")
    inflight = Inflight(path)
    inflight.add("a")
    path.unlink()
    inflight.add("b")
    assert sorted(read_tokens(path)) == ["a", "b"]
    inflight.remove("a")
    assert read_tokens(path) == ["b"]


@pytest.mark.parametrize(
    ("given", "engine", "slots"),
    [
        ({"node_type": "local"}, LlamaEngine, 4),
        ({"node_type": "local", "parallel": 9, "max_process_num": 6}, LlamaEngine, 6),
        ({"node_type": "remote", "api_url": "https://h/v1"}, RemoteEngine, 128),
        ({"node_type": "local", "source": "static:x", "max_process_num": 3}, StaticEngine, 3),
    ],
)
def test_engine_and_slots_follow_from_the_configuration(given: dict[str, Any], engine: type, slots: int) -> None:
    chosen = choose_engine(WorkerConfig(model="m", queue_url="", result_topic="r", **given))
    assert isinstance(chosen, engine)
    assert chosen.slots == slots


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"engine": "warp"}, "UPLION_ENGINE: expected auto, llama, remote or static, got 'warp'"),
        ({"engine": "remote", "api_url": "api.openai.com"}, "API_URL: expected a base URL such as"),
        ({"engine": "remote", "api_url": "https://h/v1", "api_key": "sk-\nsecret"}, "API_KEY: has characters that no"),
    ],
)
def test_engine_that_cannot_be_is_named(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        choose_engine(WorkerConfig(node_type="local", model="m", queue_url="", result_topic="r", **given))
