"""The fields of `spec`: one table that validates what users write, prints the CRD and names the fields in YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from typing import Final as Constant
from urllib.parse import urlsplit

from operator_embed.aimodel import Engine, Spec

MAX_REPLICAS: Constant = 1_000
INT32_MAX: Constant = 2**31 - 1
PRINTABLE: Constant = r"[^\x00-\x1f\x7f-\x9f]+"
DNS_LABEL: Constant = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
KEY_SOURCES: Constant = {
    "env": r"[A-Za-z_][A-Za-z0-9_]*",
    "file": PRINTABLE,
    "secret": r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?",
}
"""Where `apiKeyFrom` may point, with the form of each name."""
GPU_UUID: Constant = re.compile(r"(GPU|MIG)-[0-9A-Za-z/-]+")
BLANK: Constant = frozenset("\u034f\u115f\u1160\u2800\u3164\uffa0")
"""Letters and marks that look like nothing: joiner, fillers of Hangul, blank Braille."""
MASK: Constant = "********"
"""What stands where a secret is not shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of `spec`."""

    name: str
    """As written in YAML."""
    attribute: str
    """Of `Spec`."""
    kind: Literal["string", "integer", "gpus", "key"]
    help: str
    required: bool = False
    choices: tuple[str, ...] = ()
    least: int | None = None
    most: int = INT32_MAX
    pattern: str = PRINTABLE
    """The whole of a string has to match; an empty one counts as not set."""
    wanted: str = "text without control characters"
    """The pattern in words."""
    longest: int = 1_024


FIELDS: Constant = (
    Field(
        name="type",
        attribute="type",
        kind="string",
        help="Whether replicas run the model themselves or forward to baseURL.",
        required=True,
        choices=("local", "remote"),
    ),
    Field(
        name="model",
        attribute="model",
        kind="string",
        help="Name of the model on the wire; its queue is model-<model>.",
        required=True,
        longest=255,
    ),
    Field(name="image", attribute="image", kind="string", help="Container image of the worker; unused on a box."),
    Field(
        name="replicas",
        attribute="replicas",
        kind="integer",
        help="How many replicas when no msgBacklogThreshold is set, 1 by default; 0 stops the model.",
        least=0,
        most=MAX_REPLICAS,
    ),
    Field(
        name="baseURL",
        attribute="base_url",
        kind="string",
        help="OpenAI-compatible API with its version, as in https://api.openai.com/v1.",
        pattern=r"https?://[^\x00-\x20\x7f-\x9f@?#]+",
        wanted="a URL such as https://api.openai.com/v1, without user, query and fragment",
    ),
    Field(
        name="apiKey",
        attribute="api_key",
        kind="string",
        help="Key for baseURL; apiKeyFrom keeps it out of the resource.",
        longest=65_536,
    ),
    Field(
        name="maxProcessNum",
        attribute="max_process_num",
        kind="integer",
        help="Most requests that a replica works on at once, 128 by default.",
        least=1,
    ),
    Field(
        name="msgBacklogThreshold",
        attribute="msg_backlog_threshold",
        kind="integer",
        help="Turns the autoscaler on: replicas = backlog / threshold, rounded up.",
        least=1,
    ),
    Field(
        name="engine",
        attribute="engine",
        kind="string",
        help="What runs the model; auto decides by type and source.",
        choices=tuple(engine.value for engine in Engine),
    ),
    Field(
        name="source",
        attribute="source",
        kind="string",
        help="Weights: a path or URI, found by the model's name when missing.",
        longest=4_096,
    ),
    Field(
        name="contextLength",
        attribute="context_length",
        kind="integer",
        help="Tokens that one request may use.",
        least=1,
    ),
    Field(
        name="parallel",
        attribute="parallel",
        kind="integer",
        help="Requests that the engine of a replica works on at once.",
        least=1,
        most=65_536,
    ),
    Field(
        name="gpus",
        attribute="gpus",
        kind="gpus",
        help="GPUs of a replica: how many, or a list of UUIDs; by default one where its engine can use one.",
        least=0,
        most=64,
    ),
    Field(
        name="minReplicas",
        attribute="min_replicas",
        kind="integer",
        help="Least replicas under the autoscaler, 1 by default; 0 lets an idle model sleep.",
        least=0,
        most=MAX_REPLICAS,
    ),
    Field(
        name="maxReplicas",
        attribute="max_replicas",
        kind="integer",
        help="Most replicas under the autoscaler, 100 by default.",
        least=1,
        most=MAX_REPLICAS,
    ),
    Field(
        name="cooldownSeconds",
        attribute="cooldown_seconds",
        kind="integer",
        help="How long the backlog has to stay low before replicas go, 300 by default.",
        least=0,
    ),
    Field(
        name="apiKeyFrom",
        attribute="api_key_from",
        kind="key",
        help="Where the key for baseURL is read from, once, when this is applied.",
    ),
)
BY_NAME: Constant = {field.name: field for field in FIELDS}


def to_fields(spec: Spec) -> dict[str, Any]:
    """`spec` as in YAML: what is set, in the order of the table; secrets are not masked."""
    fields: dict[str, Any] = {}
    for field in FIELDS:
        value = getattr(spec, field.attribute)
        if value is None or value is Engine.AUTO:
            continue
        if field.kind == "key":
            source, _, name = value.partition(":")
            value = {source: name}
        elif isinstance(value, tuple):
            value = list(value)
        fields[field.name] = str(value) if isinstance(value, Engine) else value
    return fields


def from_fields(fields: Mapping[str, Any]) -> Spec:
    """The spec that valid fields name; unknown ones are left out."""
    values: dict[str, Any] = {}
    for name, value in fields.items():
        if value in (None, "") or not (field := BY_NAME.get(name)):
            continue
        if field.kind == "key":
            [(source, where)] = value.items()
            value = f"{source}:{where}"
        elif isinstance(value, list):
            value = tuple(value)
        values[field.attribute] = Engine(value) if name == "engine" else value
    return Spec(**values)


def problems(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with the fields of a `spec`: the field and one sentence each."""
    wrong: set[str] = set()
    for field in FIELDS:
        value = fields.get(field.name)
        if text := _problem(field, value):
            wrong.add(field.name)
            yield field.name, text
    good = {name: value for name, value in fields.items() if name not in wrong}
    yield from _contradictions(good, wrong)


def _problem(field: Field, value: object) -> str:
    if value is None or value == "":
        return "is required" if field.required else ""
    match field.kind:
        case "string":
            return _string_problem(field, value)
        case "integer":
            return _integer_problem(field, value)
        case "gpus":
            return _gpus_problem(field, value)
        case "key":
            return _key_problem(value)


def _string_problem(field: Field, value: object) -> str:
    if not isinstance(value, str):
        return f"expected a string, got {shown(value)}; put it in quotes"
    if field.choices:
        return "" if value in field.choices else f"{shown(value)} is not one of {', '.join(field.choices)}"
    if len(value) > field.longest:
        return f"is {len(value):,} characters long, {field.longest:,} are allowed"
    if not re.fullmatch(field.pattern, value) or not _encodable(value):
        return f"expected {field.wanted}, got {MASK if field.name == 'apiKey' else shown(value)}"
    if field.name == "model" and not _visible(value):
        return f"expected text without invisible characters, got {shown(value)}"
    return ""


def _integer_problem(field: Field, value: object) -> str:
    if not isinstance(value, int) or isinstance(value, bool):
        return f"expected a whole number, got {shown(value)}"
    if (field.least is not None and value < field.least) or value > field.most:
        return f"{value if abs(value) <= INT32_MAX else 'the number'} is not within {field.least} to {field.most}"
    return ""


def _gpus_problem(field: Field, value: object) -> str:
    if not isinstance(value, list):
        return _integer_problem(field, value).replace("a whole number", "a number of GPUs or a list of UUIDs")
    if not value or len(value) > field.most:
        return f"a list of UUIDs has 1 to {field.most} of them"
    for uuid in value:
        if not isinstance(uuid, str) or not GPU_UUID.fullmatch(uuid):
            return f"expected UUIDs such as GPU-8f2c1e0a-..., got {shown(uuid)}; nvidia-smi -L lists them"
    return "" if len(set(value)) == len(value) else "names a GPU twice"


def _key_problem(value: object) -> str:
    expected = "expected one of {env: NAME}, {file: PATH}, {secret: NAME}"
    if not isinstance(value, dict) or len(value) != 1:
        return f"{expected}, got {'several' if isinstance(value, dict) and value else shown(value)}"
    [(source, where)] = value.items()
    if source not in KEY_SOURCES:
        return f"{expected}, got {shown(source)}"
    if not isinstance(where, str) or not re.fullmatch(KEY_SOURCES[source], where) or not _encodable(where):
        return f"{shown(where)} is not a valid name for {source}"
    return ""


def _contradictions(good: Mapping[str, Any], wrong: set[str]) -> Iterator[tuple[str, str]]:
    """What only shows when fields are seen together; `good` are those that are right by themselves."""
    least, most = good.get("minReplicas"), good.get("maxReplicas")
    if isinstance(least, int) and isinstance(most, int) and least > most:
        yield "minReplicas", f"{least} is more than maxReplicas {most}"
    engine = good.get("engine", Engine.AUTO)
    remote = engine == Engine.REMOTE or (engine == Engine.AUTO and good.get("type") == "remote")
    url = good.get("baseURL")
    if remote and not url and not {"baseURL", "engine"} & wrong:
        yield "baseURL", "is required for a remote model"
    if url and not _names_a_host(url):
        yield "baseURL", f"{shown(url)} has no valid host and port"
    if good.get("apiKey") and good.get("apiKeyFrom"):
        yield "apiKeyFrom", "is set beside apiKey; keep one of them"
    if good.get("apiKey") == MASK:
        yield "apiKey", f"{MASK} stands for a key that is not shown; give the key itself or apiKeyFrom"


def advice(spec: Spec) -> Iterator[tuple[str, str]]:
    """What is allowed and yet seldom meant: the field and one sentence each."""
    threshold = spec.msg_backlog_threshold
    if threshold is not None and (spec.slots_known or spec.type == "remote") and threshold <= spec.slots:
        yield (
            "msgBacklogThreshold",
            f"{threshold} is not above the {spec.slots} requests that a replica works on at once: "
            f"busy replicas alone keep it scaled out; use more than {spec.slots}",
        )
    if threshold is not None and spec.replicas is not None:
        yield "replicas", "has no effect beside msgBacklogThreshold; use minReplicas and maxReplicas"
    if threshold is None:
        for field in ("minReplicas", "maxReplicas", "cooldownSeconds"):
            if getattr(spec, BY_NAME[field].attribute) is not None:
                yield field, "has no effect without msgBacklogThreshold"
    if spec.base_url and not urlsplit(spec.base_url).path.strip("/"):
        yield "baseURL", f"has no version: requests go to {spec.base_url.rstrip('/')}/chat/completions; most want /v1"


def shown(value: object) -> str:
    """A value of a user's for an error: short, on one line, and unable to steer a terminal."""
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value) if abs(value) < 1e15 else "a huge number"
        case str():
            return ascii(value) if len(value) <= 60 else f"{value[:60]!a}..."
        case _:
            return f"a {type(value).__name__}"


def _encodable(text: str) -> bool:
    """False for half of a surrogate pair, which no file and no database takes."""
    return not any("\ud800" <= c <= "\udfff" for c in text)


def _visible(text: str) -> bool:
    """False for what two names may differ in without a look at them telling so, or what turns the text around it."""
    return text.isprintable() and BLANK.isdisjoint(text)


def _names_a_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
