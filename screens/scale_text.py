"""What the scale dialog says: the formula with its numbers, and where each replica would go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from math import ceil

from operator_embed.fleet.models import ModelView, PlannedReplica, Scale, ScalePreview
from screens.format import Spans, count, fit, gib, plural


def scales_itself(model: ModelView) -> bool:
    """Whether an autoscaler owns the replicas, so that its bounds are what can be set."""
    return model.threshold is not None


def invalid(model: ModelView, change: Scale) -> str:
    """Why this change makes no sense, in words; empty when it does."""
    low = model.min_replicas if change.min_replicas is None else change.min_replicas
    high = model.max_replicas if change.max_replicas is None else change.max_replicas
    if low is not None and high is not None and low > high:
        return f"min {low} is more than max {high}."
    if change.threshold is not None and change.threshold < 1:
        return "backlog per replica is at least 1."
    return ""


def changed(model: ModelView, change: Scale) -> Scale:
    """The change without what is so already."""

    def news(new: int | None, old: int | None) -> int | None:
        return None if new == old else new

    return Scale(
        replicas=news(change.replicas, model.replicas),
        min_replicas=news(change.min_replicas, model.min_replicas),
        max_replicas=news(change.max_replicas, model.max_replicas),
        threshold=news(change.threshold, model.threshold),
    )


def was(model: ModelView, change: Scale, *, short: bool = False) -> str:
    """What the changed numbers were: `max was 2`."""
    if not scales_itself(model):
        return f"was {model.replicas}.  No autoscaler{'' if short else ': msgBacklogThreshold is unset'}."
    new = changed(model, change)
    fields = (
        ("min", new.min_replicas, model.min_replicas),
        ("max", new.max_replicas, model.max_replicas),
        ("backlog per replica", new.threshold, model.threshold),
    )
    return ", ".join(
        f"{name} was {'unset' if old is None else old}" for name, number, old in fields if number is not None
    )


def formula(model: ModelView, change: Scale, wanted: int, *, wide: bool) -> Iterator[str]:
    """How the autoscaler comes to its number, and what the change does to it."""
    threshold = change.threshold or model.threshold or 1
    if model.backlog is None:
        sum_text = f"backlog ? / {threshold}"
    else:
        sum_text = f"backlog {count(model.backlog)} / {threshold} = {ceil(model.backlog / threshold)}"
    if model.paused:
        yield f"The autoscaler is paused and holds what there is; else {sum_text}, kept within min to max."
    else:
        yield f"The autoscaler owns replicas: {sum_text}, {'kept ' if wide else ''}within min to max."
    now = f"{model.ready} ready of {model.desired} wanted"
    fixes = "min = max fixes the number."
    if wide:
        yield f"Now {now}. With this change: {wanted} wanted. {fixes}"
    else:
        yield f"{now}; with this change {wanted}. {fixes}"


def placement(lines: Sequence[PlannedReplica], *, rows: int, wide: bool) -> Iterator[Spans]:
    """The replicas as a table of at most `rows` lines under its titles; equal neighbours share one."""
    runs = [[line] for line in lines]
    if len(lines) > rows:
        runs = [list(run) for _, run in groupby(lines, lambda line: (line.place, line.mem_mib, line.fits, line.text))]
    place_cells = max([7 if wide else 6, *(len(line.place) + 1 for line in lines)])
    gap = " " * (3 if wide else 2)
    yield ((f"replica{gap}{fit('on', place_cells)}{'GiB':>6}", "muted"),)
    for run in runs[:rows]:
        first, last = run[0], run[-1]
        numbers = str(first.number) if first is last else f"{first.number}-{last.number}"
        mem = "?" if first.mem_mib is None else ("~" if first.estimated else "") + gib(first.mem_mib)
        where = f"{numbers:^7}{gap}{fit(first.place or '-', place_cells)}{mem:>6}"
        if first.fits:
            yield ((f"{where}   {first.text}", ""),)
        else:
            yield (where, ""), (" ! ", "error"), (first.text, "")
    if hidden := sum(len(run) for run in runs[rows:]):
        yield ((f"{plural(hidden, 'replica')} more", "muted"),)


def verdict(lines: Sequence[PlannedReplica], *, wide: bool) -> str:
    """How many of them fit; empty when all do."""
    fitting = sum(line.fits for line in lines)
    if fitting == len(lines):
        return ""
    waiting = len(lines) - fitting
    stay = f"{waiting} {'stays' if waiting == 1 else 'stay'} Pending until memory is free."
    head = f"{fitting} of {len(lines)} fits" if fitting == 1 else f"{fitting} of {len(lines)} fit"
    return f"{head}. Applied like this, {stay}" if wide else f"{head}; {stay}"


def says(model: ModelView, change: Scale, preview: ScalePreview, *, rows: int, wide: bool) -> Iterator[Spans]:
    """All lines below the fields."""
    if scales_itself(model):
        for line in formula(model, change, preview.wanted, wide=wide):
            yield ((line, ""),)
        yield ()
    yield from placement(preview.lines, rows=rows, wide=wide)
    if advice := [line for line in (verdict(preview.lines, wide=wide), *preview.advice) if line]:
        yield ()
        for line in advice:
            yield ((line, ""),)
