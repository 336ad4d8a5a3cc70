"""What a table shows of each replica."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from operator_embed.fleet.models import ReplicaView
from screens.format import count, gib, pct, rate, stale
from screens.tones import replica_mark, replica_tone, replica_word
from screens.widgets.columns import Column, age_column


def _known(text: str, value: object) -> str:
    """`-` for what a replica without a process cannot have."""
    return "-" if value is None else text


def _flight(replica: ReplicaView) -> str:
    return "-" if replica.busy is None else f"{count(replica.busy)}/{count(replica.slots)}"


MARK: Column[ReplicaView] = Column("", 1, lambda r, _: replica_mark(r), tone=replica_tone, gap=0)
NAME: Column[ReplicaView] = Column("NAME", 17, lambda r, _: r.key, middle=True, grow=True)
MODEL: Column[ReplicaView] = Column("MODEL", 20, lambda r, _: r.model.partition("/")[2], middle=True, least=12, drop=4)
STATE: Column[ReplicaView] = Column("STATE", 8, lambda r, _: stale(replica_word(r), r.stale), tone=replica_tone)
ON: Column[ReplicaView] = Column("ON", 7, lambda r, _: r.place or "-")
PID: Column[ReplicaView] = Column("PID", 6, lambda r, _: _known(str(r.pid), r.pid), value=lambda r: r.pid, right=True)
GIB: Column[ReplicaView] = Column(
    "GiB", 6, lambda r, _: _known(gib(r.mem_mib), r.mem_mib), value=lambda r: r.mem_mib, right=True
)
FLIGHT: Column[ReplicaView] = Column("FLIGHT", 6, lambda r, _: _flight(r), value=lambda r: r.busy, right=True)
REQ: Column[ReplicaView] = Column(
    "REQ/S", 5, lambda r, _: _known(rate(r.req_s), r.req_s), value=lambda r: r.req_s, right=True
)
TOK: Column[ReplicaView] = Column(
    "TOK/S", 5, lambda r, _: _known(count(r.tok_s), r.tok_s), value=lambda r: r.tok_s, right=True
)
KV: Column[ReplicaView] = Column(
    "KV %", 4, lambda r, _: _known(pct(r.kv_pct), r.kv_pct), value=lambda r: r.kv_pct, right=True
)
FIRST: Column[ReplicaView] = Column(
    "1ST p95", 7, lambda r, _: "-" if r.ttft_p95_s is None else f"{r.ttft_p95_s:.1f}s", value=lambda r: r.ttft_p95_s,
    right=True,
)  # fmt: skip
TOK_J: Column[ReplicaView] = Column(
    "TOK/J", 5, lambda r, _: _known(rate(r.tok_per_j), r.tok_per_j), value=lambda r: r.tok_per_j, right=True, drop=2
)
RESTARTS: Column[ReplicaView] = Column(
    "RESTARTS", 8, lambda r, _: count(r.restarts), value=lambda r: r.restarts, right=True, drop=1
)
AGE: Column[ReplicaView] = age_column(lambda r: r.started_s)

WIDE: Sequence[Column[ReplicaView]] = (
    MARK, NAME, STATE, ON, PID, GIB, replace(FLIGHT, gap=3), replace(REQ, gap=2), replace(TOK, gap=2),
    replace(KV, gap=2), replace(FIRST, gap=2), replace(TOK_J, gap=3), replace(RESTARTS, gap=3), AGE,
)  # fmt: skip
NARROW: Sequence[Column[ReplicaView]] = (
    MARK, NAME, STATE, replace(ON, width=5), replace(GIB, width=5), FLIGHT, replace(REQ, drop=3), replace(TOK, drop=2),
    replace(KV, drop=5), replace(FIRST, drop=4), replace(AGE, gap=2, drop=1),
)  # fmt: skip
OF_MODEL = (*(replace(c, since=120) for c in WIDE), *(replace(c, until=120) for c in NARROW))
"""Replicas of one model."""

ALL: Sequence[Column[ReplicaView]] = (
    MARK, replace(NAME, width=23), MODEL, STATE, ON, replace(PID, drop=8, since=100), GIB, FLIGHT,
    replace(REQ, drop=3), replace(TOK, drop=2), replace(KV, drop=7), replace(FIRST, drop=6), replace(TOK_J, drop=9),
    replace(RESTARTS, drop=10, gap=2), replace(AGE, drop=1),
)  # fmt: skip
"""Replicas of all models."""
