"""The filter of a table: `text`, `!text`, `~fuzzy`, `backlog>100 & ready<desired`."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping
from difflib import get_close_matches
from operator import eq, ge, gt, le, lt, ne
from typing import Any, TypeVar

R = TypeVar("R")
Value = float | str | None
Field = Callable[[R], Value]
Predicate = Callable[[R], bool]

COMPARISON = re.compile(r"\s*([a-z][\w%/.-]*|\d+[a-z]\w*)\s*(>=|<=|!=|==|=|>|<)\s*(.*?)\s*", re.IGNORECASE)
NUMBER = re.compile(r"(\d+(?:\.\d+)?)([a-z%]*)", re.IGNORECASE)
FACTORS = {"": 1.0, "%": 1.0, "k": 1e3, "m": 1e6, "s": 1.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0}
SPAN_FACTORS = {**FACTORS, "m": 60.0}
OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    ">": gt, "<": lt, ">=": ge, "<=": le, "=": eq, "==": eq, "!=": ne,
}  # fmt: skip
ORDERS = frozenset({">", "<", ">=", "<="})
"""What only figures have."""


class FilterError(ValueError):
    """The text is no filter; says what to write instead."""


def parse(
    text: str, fields: Mapping[str, Field[R]], words: Callable[[R], str], spans: Container[str] = ()
) -> Predicate[R]:
    """What `text` asks of a row; all terms between `&` hold. Raises `FilterError`.

    `words` is the row as text; `spans` are the fields in seconds, of which `5m` are minutes and no millions.
    """
    terms = [_term(term.strip(), fields, words, spans) for term in text.split("&") if term.strip()]
    return lambda row: all(term(row) for term in terms)


def _term(term: str, fields: Mapping[str, Field[R]], words: Callable[[R], str], spans: Container[str]) -> Predicate[R]:
    if term.startswith("!"):
        inner = _term(term[1:].strip(), fields, words, spans)
        return lambda row: not inner(row)
    if term.startswith("~"):
        letters = term[1:].replace(" ", "").casefold()
        return lambda row: _in_order(letters, words(row).casefold())
    if match := COMPARISON.fullmatch(term):
        factors = SPAN_FACTORS if match[1].lower() in spans else FACTORS
        return _comparison(match[1], match[2], match[3], fields, factors)
    needle = term.casefold()
    return lambda row: needle in words(row).casefold()


def _in_order(letters: str, text: str) -> bool:
    """Whether a text holds all letters in this order; one pass, whatever the text."""
    rest = iter(text)
    return all(letter in rest for letter in letters)


def _comparison(
    name: str, sign: str, operand: str, fields: Mapping[str, Field[R]], factors: Mapping[str, float]
) -> Predicate[R]:
    left = fields.get(name.lower().strip("%"))
    if left is None:
        near = get_close_matches(name.lower(), fields) or sorted(fields)
        raise FilterError(f"no column {name}; there is {', '.join(near)}")
    if not operand:
        raise FilterError(f"{name}{sign} what? a number, a word or another column")
    wanted = _literal(operand, factors)
    right = fields.get(operand.lower()) if isinstance(wanted, str) else None
    if isinstance(wanted, str) and right is None and sign in ORDERS:
        raise FilterError(f"{operand} is no number and no column")
    compare = OPERATORS[sign]

    def holds(row: R) -> bool:
        a = left(row)
        b = operand if isinstance(a, str) else right(row) if right else wanted
        if a is None or b is None:
            return False
        if isinstance(b, str):
            a, b = str(a).casefold(), b.casefold()
        return bool(compare(a, b))

    return holds


def _literal(operand: str, factors: Mapping[str, float]) -> float | str:
    match = NUMBER.fullmatch(operand)
    factor = factors.get(match[2].lower()) if match else None
    return operand if match is None or factor is None else float(match[1]) * factor
