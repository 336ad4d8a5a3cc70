"""What a table shows of each replica."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from operator_embed.fleet.models import ReplicaView
from screens.format import count, gib, pct, rate, stale
from screens.tones import replica_mark, replica_tone, replica_word
from screens.widgets.columns import Column, age_column, figure_column


def _flight(replica: ReplicaView) -> str:
    return "-" if replica.busy is None else f"{count(replica.busy)}/{count(replica.slots)}"


MARK: Column[ReplicaView] = Column("", 1, lambda r, _: replica_mark(r), tone=replica_tone, gap=0)
NAME: Column[ReplicaView] = Column("NAME", 17, lambda r, _: r.key, middle=True, grow=True)
MODEL: Column[ReplicaView] = Column("MODEL", 20, lambda r, _: r.model.partition("/")[2], middle=True, least=12, drop=4)
STATE: Column[ReplicaView] = Column("STATE", 8, lambda r, _: stale(replica_word(r), r.stale), tone=replica_tone)
ON: Column[ReplicaView] = Column("ON", 7, lambda r, _: r.place or "-")
PID: Column[ReplicaView] = figure_column("PID", 6, lambda r: r.pid, lambda pid: f"{pid:.0f}")
GIB: Column[ReplicaView] = figure_column("GiB", 6, lambda r: r.mem_mib, gib)
FLIGHT: Column[ReplicaView] = Column("FLIGHT", 6, lambda r, _: _flight(r), value=lambda r: r.busy, right=True)
REQ: Column[ReplicaView] = figure_column("REQ/S", 5, lambda r: r.req_s, rate)
TOK: Column[ReplicaView] = figure_column("TOK/S", 5, lambda r: r.tok_s, count)
KV: Column[ReplicaView] = figure_column("KV %", 4, lambda r: r.kv_pct, pct)
FIRST: Column[ReplicaView] = figure_column("1ST p95", 7, lambda r: r.ttft_p95_s, lambda s: f"{s:.1f}s")
TOK_J: Column[ReplicaView] = figure_column("TOK/J", 5, lambda r: r.tok_per_j, rate)
RESTARTS: Column[ReplicaView] = figure_column("RESTARTS", 8, lambda r: r.restarts, count)
AGE: Column[ReplicaView] = age_column(lambda r: r.started_s)

REPLICAS: Sequence[Column[ReplicaView]] = (
    MARK, replace(NAME, width=15), replace(STATE, gap=3), replace(ON, least=6), replace(PID, since=100),
    replace(GIB, least=4), replace(FLIGHT, width=8, least=6), replace(REQ, width=6, least=5, drop=4),
    replace(TOK, width=6, least=5, drop=3), replace(KV, width=5, least=4, drop=5),
    replace(FIRST, width=8, least=7, drop=6), replace(TOK_J, width=7, since=100),
    replace(RESTARTS, width=10, since=110), replace(AGE, drop=2),
)  # fmt: skip
"""Replicas of one model."""

ALL: Sequence[Column[ReplicaView]] = (
    MARK, replace(NAME, width=23), MODEL, STATE, ON, replace(PID, drop=8, since=100), GIB, FLIGHT,
    replace(REQ, drop=3), replace(TOK, drop=2), replace(KV, drop=7), replace(FIRST, drop=6), replace(TOK_J, drop=9),
    replace(RESTARTS, drop=10, gap=2), replace(AGE, drop=1),
)  # fmt: skip
"""Replicas of all models."""
