"""Log lines kept, chosen and laid out, without a screen."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len

from operator_embed.fleet.logs import LogLine
from screens.format import Spans, Tone, clock, fit, safe_text

KEPT_LINES = 10_000
LEVELS = ("", "info", "warning", "error")
"""Least levels to choose from; empty shows all."""
SINCE = (
    (None, "start"), (3600.0, "1 h"), (1800.0, "30 min"), (900.0, "15 min"), (300.0, "5 min"), (60.0, "1 min"),
    (0.0, "now"),
)  # fmt: skip
"""Spans to choose from, in seconds before now, and their names."""
STEPS = (0, 1, 3, 5, 6)
"""Those that one key steps through."""
RANKS = {"debug": 0, "info": 1, "warning": 2, "error": 3}
TONES: dict[str, Tone] = {"debug": "muted", "warning": "warning", "error": "error"}
MESSAGE_KEYS = ("message", "msg", "event")
DROPPED_KEYS = {"level", "severity", "time", "timestamp", "ts", *MESSAGE_KEYS}
LINE_CHARACTERS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the view: a log's, or one that the user drew."""

    line: LogLine
    level: str
    """Its own, or that of the line before it in the same log: a traceback belongs to its error."""
    at_s: float | None
    drawn: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How log lines are shown."""

    times: bool = True
    names: Mapping[str, str] = field(default_factory=dict)
    """What each log is called at the start of its lines; empty when there is only one."""
    least: str = ""
    columns: bool = False
    """Take JSON lines apart."""
    not_before_s: float | None = None


def short_names(sources: Sequence[str], model: str) -> dict[str, str]:
    """What is enough to tell the logs of a model apart, all equally long; nothing for a single one."""
    if len(sources) < 2:
        return {}
    named = {source: safe_text(source.removeprefix(f"{model}-")) for source in sources}
    width = max(map(cell_len, named.values()))
    return {source: fit(name, width) for source, name in named.items()}


def json_columns(text: str) -> str | None:
    """A JSON object as its message and the rest as `key=value`; `None` when `text` is none."""
    if not text.startswith("{"):
        return None
    try:
        fields = json.loads(text)
    except ValueError:
        return None
    if not isinstance(fields, dict):
        return None
    message = next((str(fields[key]) for key in MESSAGE_KEYS if key in fields), "")
    rest = (
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in fields.items()
        if key not in DROPPED_KEYS
    )
    return safe_text("  ".join(part for part in (message, *rest) if part), LINE_CHARACTERS)


def shown(entry: Entry, look: Look) -> bool:
    """Whether an entry passes what the user chose to see."""
    if entry.drawn:
        return True
    if look.not_before_s is not None and entry.at_s is not None and entry.at_s < look.not_before_s:
        return False
    return RANKS.get(entry.level, 1) >= RANKS.get(look.least, 0)


def laid_out(entry: Entry, look: Look) -> Spans:
    """One entry as a line."""
    if entry.drawn:
        return ((f"──── {clock(entry.at_s or 0)} ────", "accent"),)
    line = entry.line
    text = (json_columns(line.text) if look.columns else None) or safe_text(line.text, LINE_CHARACTERS)
    spans: list[tuple[str, Tone]] = []
    if look.times:
        spans.append((f"{clock(line.at_s) if line.at_s is not None else '':8} ", "muted"))
    if look.names:
        spans.append((look.names.get(line.source, line.source) + " ", "history"))
    spans.append((text, TONES.get(entry.level, "")))
    return tuple(spans)


@dataclass
class LogBuffer:
    """The newest lines of some logs, with what each inherits from the line before it."""

    limit: int = KEPT_LINES
    _entries: deque[Entry] = field(init=False)
    _last: dict[str, Entry] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._entries = deque(maxlen=self.limit)

    def __len__(self) -> int:
        return len(self._entries)

    def take(self, lines: Iterable[LogLine]) -> list[Entry]:
        """Keep `lines`; returns their entries."""
        taken = [self._entry(line) for line in lines]
        self._entries.extend(taken)
        return taken

    def _entry(self, line: LogLine) -> Entry:
        before = self._last.get(line.source)
        entry = self._last[line.source] = Entry(
            line=line,
            level=line.level or (before.level if before else ""),
            at_s=line.at_s if line.at_s is not None else before.at_s if before else None,
        )
        return entry

    def draw(self, at_s: float) -> Entry:
        """A line across the view, to see what comes after it."""
        entry = Entry(line=LogLine(source="", at_s=at_s, level="", text=""), level="", at_s=at_s, drawn=True)
        self._entries.append(entry)
        return entry

    def clear(self) -> None:
        self._entries.clear()

    def lines(self, look: Look) -> Iterator[Spans]:
        """All that passes, laid out."""
        return (laid_out(entry, look) for entry in self.shown(look))

    def shown(self, look: Look) -> Iterator[Entry]:
        """All that passes."""
        return (entry for entry in self._entries if shown(entry, look))
