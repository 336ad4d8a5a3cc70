"""What the main screen says before there is a model: what works, and the one key that matters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from rich.cells import cell_len
from textual.geometry import Size

from operator_embed.fleet.fleet import FleetView, SourceView
from screens.format import Spans, Tone, fit

WIDE_CELLS = 120
ASIDE = re.compile(r" \([^)]*\)")
"""What a narrow screen leaves out before it cuts a text."""
TONE_OF_STATUS: dict[str, Tone] = {"!": "error", "-": "muted", "..": "warning"}


def first_run(view: FleetView, size: Size) -> Sequence[Spans]:
    """The lines in place of rows; while the store is not read, nothing is said about models."""
    wide = size.width >= WIDE_CELLS
    store_read = all(source.status != ".." for source in view.sources if source.key == "store")
    lines: list[Spans] = [()] * (3 if wide else 1)
    if store_read and view.at_s:
        lines += _offer(wide)
    if view.sources:
        lines += [(("   This box", ""),)]
        lines += [_source(source, size.width) for source in view.sources]
        lines += [(), (("        :doctor says more", "muted"),)]
    return lines


def _offer(wide: bool) -> list[Spans]:
    sample = "sample (SmolLM2 135M, 98 MB, runs on this CPU)" if wide else "sample (98 MB, runs on this CPU)"
    return [
        (("   No models yet.", ""),),
        (),
        (("   a", "accent"), (f"    add one:  {sample}  ·  GGUF file  ·  remote API", "")),
        (("        or in a shell:  uplion apply -f model.yaml", ""),),
        (),
    ]


def _source(source: SourceView, width: int) -> Spans:
    key = f"{source.key:<11}" if width >= WIDE_CELLS else f"{source.key:<8}"
    text = source.text if width >= WIDE_CELLS else source.text.replace(str(Path.home()), "~", 1)
    tone = TONE_OF_STATUS.get(source.status, "")
    room = width - 9 - len(key)
    if cell_len(text) > room:
        text = ASIDE.sub("", text)
    return ((f"     {source.status:<4}", tone), (key, ""), (fit(text, room) if cell_len(text) > room else text, ""))
