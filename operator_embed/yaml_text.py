"""YAML from users: plain values with line numbers, and one clear sentence for everything that is not that."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from typing import Final as Constant

import yaml

MAX_CHARACTERS: Constant = 1_048_576
MAX_NODES: Constant = 100_000
MAX_DEPTH: Constant = 24
UNREADABLE: Constant = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_JSON_PAIR: Constant = re.compile(r"(?<!\\)((?:\\\\)*)\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})", re.IGNORECASE)
"""A character beyond U+FFFF as JSON escapes it, which is no YAML."""
PLAIN_TAGS: Constant = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp")}

Path = tuple[str | int, ...]


class YamlError(Exception):
    """The text is not YAML that we read; one line that ends with the line number."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a YAML text."""

    value: Any
    lines: Mapping[Path, int]
    """Where each node begins, counted from 1."""

    def line(self, path: Path) -> int:
        """Line of the node at `path`, or of the closest one around it."""
        while path not in self.lines:
            path = path[:-1]
        return self.lines[path]


class _Loader(yaml.CSafeLoader):
    """Builds values itself, so that it sees duplicate keys and counts what aliases expand to."""

    nodes = 0

    def document(self, root: yaml.Node) -> Document:
        lines: dict[Path, int] = {}
        return Document(self._build(root, (), lines), lines)

    def _build(self, node: yaml.Node, path: Path, lines: dict[Path, int]) -> Any:
        self.nodes += 1
        line = lines[path] = node.start_mark.line + 1
        if self.nodes > MAX_NODES or len(path) > MAX_DEPTH:
            raise YamlError(f"aliases expand to more than {MAX_NODES:,} values or {MAX_DEPTH} levels (line {line})")
        match node:
            case yaml.MappingNode(tag="tag:yaml.org,2002:map"):
                return self._mapping(node, path, lines)
            case yaml.SequenceNode(tag="tag:yaml.org,2002:seq"):
                return [self._build(child, (*path, i), lines) for i, child in enumerate(node.value)]
            case yaml.ScalarNode() if node.tag in PLAIN_TAGS:
                try:
                    return self.construct_object(node)
                except (ValueError, OverflowError):
                    raise YamlError(f"a value cannot be read; put it in quotes (line {line})") from None
        raise YamlError(f"the tag {ascii(node.tag)[:60]} is not allowed (line {line})")

    def _mapping(self, node: yaml.MappingNode, path: Path, lines: dict[Path, int]) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key, child in node.value:
            line = key.start_mark.line + 1
            if key.tag == "tag:yaml.org,2002:merge":
                raise YamlError(f"merge keys (<<) are not read; write the fields out (line {line})")
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                raise YamlError(f"a field name has to be a string (line {line})")
            if key.value in mapping:
                first = lines[*path, key.value]
                raise YamlError(f"{ascii(key.value)[:60]} is there twice, first on line {first} (line {line})")
            mapping[key.value] = self._build(child, (*path, key.value), lines)
            lines[*path, key.value] = line
        return mapping


def load(text: str) -> list[Document]:
    """All documents that are not empty; raises `YamlError`. JSON is read as well, tabs and all."""
    text = text.removeprefix("\ufeff")
    if len(text) > MAX_CHARACTERS:
        raise YamlError(f"the text is {len(text):,} characters long, {MAX_CHARACTERS:,} are read")
    if found := UNREADABLE.search(text):
        raise YamlError(f"the character U+{ord(found[0]):04X} is not allowed (line {_line(text, found.start())})")
    if text.lstrip()[:1] in "{[":
        text = _JSON_PAIR.sub(_joined, text.replace("\t", " "))
    try:
        _measure(text)
        return list(_documents(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1})" if mark else ""
        raise YamlError(f"not valid YAML: {_words(error.problem or error.context or '')}{where}") from None
    except yaml.YAMLError as error:
        raise YamlError(f"not valid YAML: {_words(str(error))}") from None


def dump(value: object) -> str:
    """Block YAML with the order of the keys kept and no line folded."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000_000)


class _Dumper(yaml.SafeDumper):
    """No anchors: what is the same twice is written twice."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _measure(text: str) -> None:
    """Refuse what is too deep or too much before anything recursive sees it."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, _Loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH or count > MAX_NODES:
            line = event.start_mark.line + 1 if event.start_mark else "?"
            raise YamlError(f"more than {MAX_DEPTH} levels deep or {MAX_NODES:,} values long (line {line})")


def _documents(text: str) -> Iterator[Document]:
    loader = _Loader(text)
    try:
        while loader.check_node():
            if (root := loader.get_node()) is not None:
                document = loader.document(root)
                if document.value is not None:
                    yield document
    finally:
        loader.dispose()


def _joined(pair: re.Match[str]) -> str:
    return pair[1] + chr(0x10000 + (int(pair[2], 16) - 0xD800) * 0x400 + int(pair[3], 16) - 0xDC00)


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _words(problem: str) -> str:
    """A parser's message on one line."""
    return " ".join(ascii(problem)[1:-1].replace("\\n", " ").split())[:200]
