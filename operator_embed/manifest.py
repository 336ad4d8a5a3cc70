"""AIModels as text: YAML and JSON in, YAML and diffs out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches, unified_diff
from pathlib import Path
from typing import Any, TypeGuard
from typing import Final as Constant

from operator_embed.aimodel import API_VERSION, KIND, AIModel, Engine, Spec, Status
from operator_embed.schema import BY_NAME, DNS_LABEL, MASK, advice, from_fields, problems, shown, to_fields
from operator_embed.yaml_text import Document, YamlError, dump, load

TOP: Constant = ("apiVersion", "kind", "metadata", "spec", "status")
METADATA: Constant = ("name", "namespace", "labels", "annotations", "resourceVersion")
SERVER_METADATA: Constant = frozenset(
    (
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generation",
        "managedFields",
        "ownerReferences",
        "selfLink",
        "uid",
    )
)
"""Written by an API server, so never an error in what was read from one."""
MAX_LABELS_CHARACTERS: Constant = 262_144
"""Of all labels or annotations of an object, as on Kubernetes."""

_URI: Constant = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")

_Where = tuple[str | int, ...]


class ManifestError(Exception):
    """A text names no valid AIModels; one line each in `errors`: field path, what is wrong, line number."""

    def __init__(self, errors: tuple[str, ...], warnings: tuple[str, ...] = ()) -> None:
        super().__init__("; ".join(errors))
        self.errors = errors
        self.warnings = warnings
        """What may explain the errors, as a misspelt field does."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """One AIModel of a text."""

    model: AIModel
    warnings: tuple[str, ...]
    """One line each; the model is valid all the same."""
    line: int
    """Where it begins in the text, counted from 1."""


def parse(text: str, *, base_dir: str | os.PathLike[str]) -> list[Parsed]:
    """The AIModels of YAML documents, of a `List` or of JSON, in their order; raises `ManifestError`.

    Relative paths in `source` and `apiKeyFrom.file` become absolute, seen from `base_dir`.
    """
    try:
        documents = load(text)
    except YamlError as error:
        raise ManifestError((str(error),)) from None
    readers = [_Reader(document, where, Path(base_dir)) for document in documents for where in _objects(document.value)]
    if not readers:
        raise ManifestError((f"the text has no {KIND} in it",))
    parsed = [one for reader in readers if (one := reader.read())]
    errors = [*(error for reader in readers for error in reader.errors), *_twice(parsed)]
    if errors:
        raise ManifestError(tuple(errors), tuple(warning for reader in readers for warning in reader.warnings))
    return parsed


def render(model: AIModel, *, status: bool = False) -> str:
    """YAML as stored, secrets masked; `parse` of it gives the same spec, labels and annotations."""
    return dump(_as_written(model)) + (render_status(model) if status else "")


def render_status(model: AIModel) -> str:
    """The block `status:` alone."""
    return dump({"status": status_fields(model.status)})


def diff(old: AIModel | None, new: AIModel) -> tuple[str, ...]:
    """Unified diff of what `render` gives, without file headers; all of it new when there is no `old`."""
    before = render(old).splitlines() if old else []
    return tuple(unified_diff(before, render(new).splitlines(), lineterm=""))[2:]


def to_manifest_dict(model: AIModel) -> dict[str, Any]:
    """The whole object as an API server returns it; secrets masked."""
    written = _as_written(model)
    metadata = {
        **written["metadata"],
        "uid": model.uid,
        "generation": model.generation,
        "resourceVersion": model.resource_version,
        "creationTimestamp": rfc3339(model.created_s),
    }
    if model.deleted_s is not None:
        metadata["deletionTimestamp"] = rfc3339(model.deleted_s)
    return {**written, "metadata": metadata, "status": status_fields(model.status)}


def status_fields(status: Status) -> dict[str, Any]:
    """`status` as in YAML."""
    return {
        "state": status.state,
        "message": status.message,
        "ready": status.ready,
        "desired": status.desired,
        "observedGeneration": status.observed_generation,
        "conditions": [
            {
                "type": condition.type,
                "status": str(condition.status),
                "reason": condition.reason,
                "message": condition.message,
                "lastTransitionTime": rfc3339(condition.since_s),
            }
            for condition in status.conditions
        ],
    }


def rfc3339(unix_s: float) -> str:
    """`2026-03-01T12:00:00Z`."""
    return datetime.fromtimestamp(int(unix_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _as_written(model: AIModel) -> dict[str, Any]:
    """What a user may write, in the order in which it is read best."""
    metadata: dict[str, Any] = {"name": model.name, "namespace": model.namespace}
    if model.labels:
        metadata["labels"] = dict(model.labels)
    if model.annotations:
        metadata["annotations"] = dict(model.annotations)
    spec = replace(model.spec, api_key=MASK) if model.spec.api_key else model.spec
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": to_fields(spec)}


def _twice(parsed: Sequence[Parsed]) -> Iterator[str]:
    first: dict[str, int] = {}
    for one in parsed:
        if one.model.key in first:
            yield f"{one.model.key} is there twice, first on line {first[one.model.key]} (line {one.line})"
        first.setdefault(one.model.key, one.line)


def _objects(value: Any) -> Iterator[_Where]:
    """Where the objects of a document are: the document itself, or the items of a list."""
    items = value.get("items") if isinstance(value, dict) and value.get("kind") in ("List", f"{KIND}List") else None
    if isinstance(items, list):
        yield from (("items", index) for index in range(len(items)))
    else:
        yield ()


class _Reader:
    """Reads one object and gathers what is wrong with it."""

    def __init__(self, document: Document, where: _Where, base_dir: Path) -> None:
        self._document, self._where = document, where
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self._base_dir = base_dir

    def read(self) -> Parsed | None:
        """The model, unless there are errors."""
        value = self._document.value
        for step in self._where:
            value = value[step]
        if not self._is_model(value):
            return None
        self._unknown((), value, TOP)
        metadata = self._mapping(value, "metadata")
        self._unknown(("metadata",), metadata, METADATA, SERVER_METADATA)
        name, namespace = self._label(metadata, "name"), self._label(metadata, "namespace", "default")
        labels, annotations = self._texts(metadata, "labels"), self._texts(metadata, "annotations")
        fields = self._mapping(value, "spec")
        self._unknown(("spec",), fields, BY_NAME)
        for field, problem in problems(fields) if fields else ():
            self._wrong(("spec", field), problem)
        if self.errors:
            return None
        model = AIModel(
            namespace=namespace,
            name=name,
            spec=self._spec(fields),
            resource_version=str(metadata.get("resourceVersion") or ""),
            labels=labels,
            annotations=annotations,
        )
        return Parsed(model, tuple(self.warnings), self._document.line(self._where))

    def _is_model(self, value: object) -> TypeGuard[dict[str, Any]]:
        if not isinstance(value, dict):
            self._wrong((), f"expected an {KIND}, got {shown(value)}")
        elif (kind := value.get("kind")) != KIND:
            self._wrong(("kind",), f"expected {KIND}, got {shown(kind)}")
        elif (version := value.get("apiVersion")) != API_VERSION:
            self._wrong(("apiVersion",), f"expected {API_VERSION}, got {shown(version)}")
        return not self.errors

    def _spec(self, fields: Mapping[str, Any]) -> Spec:
        spec = from_fields(fields)
        if spec.source and spec.engine is not Engine.STATIC and not _URI.match(spec.source):
            spec = replace(spec, source=self._absolute(spec.source))
        if spec.api_key_from and spec.api_key_from.startswith("file:"):
            spec = replace(spec, api_key_from=f"file:{self._absolute(spec.api_key_from.removeprefix('file:'))}")
        for name, text in advice(spec):
            self.warnings.append(self._told(("spec", name), text))
        return spec

    def _absolute(self, path: str) -> str:
        return os.path.abspath(self._base_dir / os.path.expanduser(path))

    def _mapping(self, value: Mapping[str, Any], name: str) -> dict[str, Any]:
        """A part that has to be there; empty after saying what is wrong with it."""
        found = value.get(name)
        if isinstance(found, dict) and found:
            return found
        self._wrong((name,), f"expected a mapping, got {shown(found)}" if found else "is required")
        return {}

    def _label(self, metadata: Mapping[str, Any], name: str, default: str = "") -> str:
        given = metadata.get(name)
        value = default if given in (None, "") else given
        if metadata and value == "":
            self._wrong(("metadata", name), "is required")
        elif metadata and not isinstance(value, str):
            self._wrong(("metadata", name), f"expected a string, got {shown(value)}; put it in quotes")
        elif metadata and not DNS_LABEL.fullmatch(value):
            self._wrong(
                ("metadata", name),
                f"expected at most 63 lower-case letters, digits and '-', no '-' at the ends, got {shown(value)}",
            )
        return str(value)

    def _texts(self, metadata: Mapping[str, Any], name: str) -> tuple[tuple[str, str], ...]:
        """Labels or annotations."""
        value = metadata.get(name) or {}
        if not isinstance(value, dict):
            self._wrong(("metadata", name), f"expected a mapping, got {shown(value)}")
            return ()
        for key, text in value.items():
            if not isinstance(text, str):
                self._wrong(("metadata", name, key), f"expected a string, got {shown(text)}; put it in quotes")
        if sum(len(key) + len(str(text)) for key, text in value.items()) > MAX_LABELS_CHARACTERS:
            self._wrong(("metadata", name), f"are more than {MAX_LABELS_CHARACTERS:,} characters")
        return tuple((key, str(text)) for key, text in value.items())

    def _unknown(
        self, path: _Where, found: Iterable[str], known: Iterable[str], ignored: frozenset[str] = frozenset()
    ) -> None:
        names = {name.lower(): name for name in known}
        for name in found:
            if name not in ignored and name != names.get(name.lower()):
                close = get_close_matches(name.lower(), names, n=1)
                hint = f"; did you mean {names[close[0]]}?" if close else ""
                self.warnings.append(self._told((*path, name), f"unknown field, ignored{hint}"))

    def _wrong(self, path: _Where, text: str) -> None:
        self.errors.append(self._told(path, text))

    def _told(self, path: _Where, text: str) -> str:
        line = self._document.line((*self._where, *path))
        name = ".".join(step if _plain(step) else shown(step) for step in map(str, path))
        return f"{name}: {text} (line {line})" if name else f"{text} (line {line})"


def _plain(step: str) -> bool:
    return len(step) <= 60 and re.fullmatch(r"[A-Za-z0-9_./-]+", step) is not None
