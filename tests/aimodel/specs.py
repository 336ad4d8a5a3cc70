"""Valid AIModels of every shape, for property tests."""

from __future__ import annotations

import string

from hypothesis import strategies as st

from operator_embed.aimodel import AIModel, Condition, Engine, Spec, Status
from operator_embed.schema import BLANK

PLAIN = st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs", "Cc"], exclude_characters="￾￿"), min_size=1)
VISIBLE = st.characters(exclude_categories=["C", "Z"], include_characters=" ", exclude_characters=BLANK)
COUNTS = st.none() | st.integers(1, 1_000)
LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
UUIDS = st.text(string.hexdigits, min_size=1).map(lambda text: f"GPU-{text}")
URLS = st.sampled_from(["https://api.openai.com/v1", "http://127.0.0.1:8080/v1", "http://[::1]:9/v1/"])


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    """A spec that `parse` takes, with an absolute `source`."""
    least = draw(st.none() | st.integers(0, 1_000))
    kind = draw(st.sampled_from(["local", "remote"]))
    engine = draw(st.sampled_from(Engine))
    remote = engine is Engine.REMOTE or (engine is Engine.AUTO and kind == "remote")
    return Spec(
        type=kind,
        model=draw(st.text(VISIBLE, min_size=1, max_size=255)),
        image=draw(st.none() | PLAIN),
        replicas=draw(st.none() | st.integers(0, 1_000)),
        base_url=draw(URLS if remote else st.none() | URLS),
        max_process_num=draw(COUNTS),
        msg_backlog_threshold=draw(COUNTS),
        engine=engine,
        source=draw(st.none() | st.sampled_from(["/models/x.gguf", "hf://Qwen/Qwen3-32B", "/a b/ü"])),
        context_length=draw(COUNTS),
        parallel=draw(COUNTS),
        gpus=draw(st.none() | st.integers(0, 64) | st.lists(UUIDS, min_size=1, max_size=8, unique=True).map(tuple)),
        min_replicas=least,
        max_replicas=draw(st.none() | st.integers(max(1, least or 1), 1_000)),
        cooldown_seconds=draw(COUNTS),
        api_key_from=draw(st.sampled_from([None, "env:OPENAI_API_KEY", "file:/keys/openai", "secret:default.x"])),
    )


@st.composite
def models(draw: st.DrawFn) -> AIModel:
    """A model as a user may write it."""
    texts = st.dictionaries(PLAIN, st.text(st.characters(exclude_categories=["Cs", "Cc"])), max_size=3)
    return AIModel(
        namespace=draw(LABELS),
        name=draw(LABELS),
        spec=draw(specs()),
        labels=tuple(sorted(draw(texts).items())),
        annotations=tuple(sorted(draw(texts).items())),
    )


@st.composite
def statuses(draw: st.DrawFn) -> Status:
    """Any status."""
    text = st.text(st.characters(exclude_categories=["Cs"]))
    condition = st.builds(
        Condition, type=text, status=st.booleans(), reason=text, message=text, since_s=st.floats(0, 4e9)
    )
    return Status(
        state=draw(text),
        message=draw(text),
        ready=draw(st.integers(0, 1_000)),
        desired=draw(st.integers(0, 1_000)),
        observed_generation=draw(st.integers(0, 2**53)),
        conditions=tuple(draw(st.lists(condition, max_size=4))),
    )
