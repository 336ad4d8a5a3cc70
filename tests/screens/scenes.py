"""What the screens behind the main one show in the worst moment of the example box, and how a test looks at it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from math import sin
from typing import Any

from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input, TextArea

from operator_embed.fleet.logs import LogLine
from operator_embed.fleet.models import ConditionView, PlannedReplica, ScalePreview
from operator_embed.fleet.queues import ScaleDecision
from tests.fleet import BOX, NOW_S, StillFleet, dead_letter, event, model, queue, replica, shows, source

KEY = "default/qwen3-32b"
TOPIC = "model-qwen3-32b"
HOSTILE = "x[/b]\x1b[31m\u202e[link=http://x]y"
"""Markup, an escape sequence and a character that turns the line round."""
SAFE = "x[/b]\ufffd[31m\ufffd[link=http://x]y"
"""What must be on the screen of it."""

WHY = (
    "396 requests are queued, the oldest for 38 s, 16 run: one replica answers 2.9 a second, 6.0 arrive. The "
    "autoscaler wants 5 (412 / 100) and may have 2. Replica 2 does not fit: it needs 73.6 GiB on one GPU, the most "
    "free is GPU 3 with 50.8. Next: press e and set engineArgs [--gpu-memory-utilization, 0.6], which fits GPU 3."
)
QWEN = model(
    "qwen3-32b", engine="vllm", model="qwen3-32b", ready=1, desired=2, min_replicas=1, max_replicas=2, threshold=100,
    degraded="NothingFits", generation=4, created_s=NOW_S - 3 * 86_400, backlog=412, queued=396, in_flight=16,
    slots=16, trend=1, oldest_s=38.0, tok_s=1_180.0, ttft_p95_s=6.2, why=WHY,
    conditions=(
        ConditionView(type="Ready", status=True, reason="ReplicasReady", message="1 of 2 replicas can answer",
                      since_s=NOW_S - 3 * 86_400),
        ConditionView(type="Progressing", status=True, reason="Scaling", message="1 to 2", since_s=NOW_S - 120),
        ConditionView(type="Degraded", status=True, reason="NothingFits",
                      message="replica 2 needs 73.6 GiB on one GPU; most free is GPU 3: 50.8 GiB",
                      since_s=NOW_S - 120),
        ConditionView(type="ScalingActive", status=True, reason="BoundByGPU", message="wants 5, max 2, 1 fits",
                      since_s=NOW_S - 240),
    ),
)  # fmt: skip
REPLICAS = (
    replica("qwen3-32b-x7k2q", "qwen3-32b", place="GPU 2", pid=41_877, mem_mib=75_366.0, busy=16, slots=16, req_s=2.9,
            tok_s=1_180.0, kv_pct=97.0, ttft_p95_s=6.2, tok_per_j=3.8, started_s=NOW_S - 3 * 86_400),
    replica("qwen3-32b-m4tq6", "qwen3-32b", state="Pending", reason="NothingFits", place="", pid=None,
            mem_mib=75_366.0, busy=None, slots=None, req_s=None, tok_s=None, started_s=NOW_S - 120),
)  # fmt: skip
EVENTS = (
    event("NothingFits", "replica 2 needs 73.6 GiB on one GPU; most free is GPU 3: 50.8 GiB", warning=True,
          source="launcher", model=KEY, at_s=NOW_S - 120),
    event("Scaled", "1 to 2: backlog 204 / 100 = 3, max 2", source="autoscaler", model=KEY, at_s=NOW_S - 121),
    event("Throttled", "thermal at 84 °C: 1155 of 1410 MHz", warning=True, source="GPU 2", at_s=NOW_S - 180),
    event("DeadLetter", "engine timeout 120s after 3 attempts", severe=True, count=3, source="qwen3-32b-x7k2q",
          model=KEY, at_s=NOW_S - 540),
    event("Applied", "generation 4: maxProcessNum 8 to 16", model=KEY, at_s=NOW_S - 3 * 86_400),
)  # fmt: skip
QUEUES = (
    queue("whisper-large-v3", queued=18, oldest_s=250.0, in_s=0.1, out_s=0.0, drain="grows", ready=0, trend=1,
          autoscaler="wants 1, has 1 (max)", backlog_5min=tuple(float(n) for n in range(16))),
    queue("qwen3-32b", queued=396, in_flight=16, slots=16, oldest_s=38.0, in_s=6.0, out_s=2.9, drain="grows", ready=1,
          desired=2, dead=3, trend=1, autoscaler="wants 5, max 2", backlog_5min=tuple(float(n) for n in range(16)),
          explain="ceil(412 / 100) = 5, kept to 1..2. Up at once, down after 300 s below. Replica 2 is Pending: does "
                  "not fit.",
          decisions=(ScaleDecision(at_s=NOW_S - 120, text="1 to 2", why="backlog 204 / 100 = 3, max 2"),
                     ScaleDecision(at_s=NOW_S - 3_060, text="2 to 1", why="backlog 0 for 300 s"))),
    queue("deepseek-r1-14b", queued=6, oldest_s=9.0, in_s=0.6, drain="loads", ready=0, autoscaler="wants 1"),
    queue("bge-m3", in_flight=1, in_s=22.4, out_s=22.4),
)  # fmt: skip
LETTERS = (
    dead_letter("8f31c2aa-0000-4000-8000-000000000000"),
    dead_letter("90ab17bb-0000-4000-8000-000000000000"),
    dead_letter("c41d77cc-0000-4000-8000-000000000000", died_s=NOW_S - 660),
)
SOURCES = (
    source("store", text="/home/ada/.local/share/uplion"),
    source("queue", "..", "starting", since_s=NOW_S - 3),
    source("API", "!", "port 8080 is taken by python3 (pid 4121): end it, or uplion --api 127.0.0.1:8081",
           since_s=NOW_S - 41),
)  # fmt: skip
FULL = ScalePreview(
    wanted=4,
    lines=(
        PlannedReplica(number=1, name="qwen3-32b-x7k2q", place="GPU 2", mem_mib=75_366.0, estimated=False, fits=True,
                       text="running, 16 in flight"),
        PlannedReplica(number=2, name="", place="", mem_mib=75_366.0, estimated=False, fits=False,
                       text="does not fit: most free is GPU 3 with 50.8"),
        *(PlannedReplica(number=n, name="", place="", mem_mib=75_366.0, estimated=False, fits=False,
                         text="does not fit") for n in (3, 4)),
    ),
    advice=("--gpu-memory-utilization 0.6 books 48.0 GiB: replica 2 fits on GPU 3.",),
)  # fmt: skip


def box(**fields: Any) -> StillFleet:
    """The box in its worst moment."""
    context = replace(BOX, queue="nats on 127.0.0.1:41873, 48 MiB of 1 GiB")
    whole = {"replicas": REPLICAS, "events": EVENTS, "queues": QUEUES, "sources": SOURCES, "context": context}
    fleet = StillFleet(QWEN, model("whisper-large-v3", ready=0), **{**whole, **fields})
    fleet.queues.letters[TOPIC] = LETTERS
    fleet.models.planned = FULL
    rises = tuple(float(n) for n in range(400))
    fleet.histories |= {
        f"model/{KEY}/backlog": rises,
        f"model/{KEY}/tok_s": tuple(1_000 + 300 * sin(n / 20) for n in range(400)),
        f"model/{KEY}/ttft": tuple(n / 60 for n in range(400)),
        f"queue/{TOPIC}/queued": rises,
        f"queue/{TOPIC}/in": tuple(3 + 3 * sin(n / 30) for n in range(400)),
    }
    return fleet


def line(text: str, source: str = "qwen3-32b-x7k2q", level: str = "info", at_s: float | None = NOW_S) -> LogLine:
    """One line of a log."""
    return LogLine(source=source, at_s=at_s, level=level, text=text)


def still(make: Callable[[StillFleet], Screen[Any]] | None, text: str, *keys: str) -> Callable[..., Awaitable[None]]:
    """What runs before a picture is taken: opens a screen, presses keys, waits for `text`, stops the cursor's blink."""

    async def run(pilot: Pilot[Any]) -> None:
        await shows(pilot, "gpu-01")
        if make:
            await pilot.app.push_screen(make(pilot.app.fleet))  # type: ignore[attr-defined]
        await pilot.press(*keys)
        await shows(pilot, text)
        for field in pilot.app.screen.query("Input, TextArea"):
            if isinstance(field, Input | TextArea):
                field.cursor_blink = False
        await pilot.pause()

    return run
