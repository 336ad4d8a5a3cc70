"""The box that the frames of the screens' document show: four GPUs, eighteen models, five things wrong."""

from __future__ import annotations

from math import sin
from typing import Any

from operator_embed.fleet.fleet import FleetView
from operator_embed.fleet.gpus import GpuPanel, HostView
from operator_embed.fleet.models import History, ModelView, State
from tests.fleet import BOX, NOW_S, StillFleet, event, failure, gpu, gpu_process, model, replica, source

DAY_S = 86_400.0
RISES = (0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0)
FLAT = (3.0,) * 16


def old(days: float) -> dict[str, Any]:
    return {"created_s": NOW_S - days * DAY_S}


def idle(name: str, days: float, **fields: Any) -> ModelView:
    """A model at zero on purpose."""
    return model(name, ready=0, desired=0, state=State.IDLE, slots=0, busy_pct=None, **old(days), **fields)


MODELS = (
    model("bge-m3", engine="vllm", backlog=1, in_flight=1, req_s=22.4, generates=False, busy_pct=3.0, on_gpu=True,
          **old(9)),
    model("openrouter-mix", engine="remote", type="remote", req_s=0.6, tok_s=61.0, busy_pct=None, **old(31)),
    idle("codestral-22b", 12),
    model("deepseek-r1-14b", ready=0, state=State.PENDING, progress="Load 62%", backlog=6, queued=6, trend=1,
          oldest_s=9.0,
          backlog_2min=RISES, busy_pct=1.0, on_gpu=True, created_s=NOW_S - 40),
    idle("gemma-3-27b", 12),
    model("gpt-4o-mini", engine="remote", type="remote", ready=2, desired=2, degraded="APIQuotaExceededError",
          backlog=31,
          queued=31, trend=1, oldest_s=26.0, backlog_2min=RISES, busy_pct=None, failure="APIQuotaExceededError",
          failure_count=31, failure_s=NOW_S - 4, **old(31)),
    model("llama33-70b", engine="vllm", backlog=3, in_flight=3, backlog_2min=FLAT, req_s=1.8, tok_s=412.0,
          busy_pct=92.0,
          on_gpu=True, **old(6)),
    idle("llama-guard-3-8b", 12),
    model("mistral-small-24b", backlog=2, in_flight=2, backlog_2min=FLAT, req_s=3.1, tok_s=388.0, busy_pct=9.0,
          on_gpu=True,
          failure="EngineExited", failure_count=1, failure_s=NOW_S - 2 * DAY_S, **old(6)),
    idle("mixtral-8x22b-instruct-q4", 40),
    model("nomic-embed", req_s=1.2, generates=False, busy_pct=None, **old(9)),
    idle("phi-4", 12),
    idle("qwen25-coder-7b", 12),
    model("qwen3-32b", engine="vllm", ready=1, desired=2, degraded="NothingFits", backlog=412, queued=396, in_flight=16,
          slots=16, trend=1, oldest_s=38.0, backlog_2min=RISES, req_s=2.9, tok_s=1180.0, busy_pct=99.0, on_gpu=True,
          failure="NothingFits", failure_count=1, failure_s=NOW_S - 130, min_replicas=1, max_replicas=2, threshold=100,
          ttft_p95_s=6.2, vram_mib=75_366.0, kv_pct=97.0, model="Qwen/Qwen3-32B-AWQ", **old(3)),
    model("reranker-v2-m3", req_s=0.8, generates=False, busy_pct=None, **old(9)),
    model("smollm2", req_s=0.4, tok_s=22.0, busy_pct=None, **old(12)),
    model("starcoder2-15b", ready=0, desired=0, state=State.STOPPED, slots=0, busy_pct=None, **old(40)),
    model("whisper-large-v3", engine="command", ready=0, desired=1, state=State.FAILED, backlog=18, queued=18, trend=1,
          oldest_s=250.0, backlog_2min=RISES, generates=False, busy_pct=None, failure="CrashLoopBackOff",
          failure_count=7,
          failure_s=NOW_S - 12, created_s=NOW_S - 380),
)  # fmt: skip

USED_MIB = 75_366.0
GPUS = (
    gpu(0, key="GPU-8c1f2a44", free_mib=5120.0, util_pct=94.0, used_mib=75_366.0, ours_mib=74_957.0,
        claimed_mib=75_366.0, power_w=392.0,
        temp_c=67.0, models=("llama33-70b 1/2",)),
    gpu(1, key="GPU-03e9b7d1", free_mib=5530.0, util_pct=91.0, used_mib=75_366.0, ours_mib=75_366.0,
        claimed_mib=75_366.0, power_w=388.0,
        temp_c=66.0, models=("llama33-70b 2/2",)),
    gpu(2, key="GPU-f7723c0e", free_mib=5530.0, util_pct=99.0, used_mib=75_366.0, ours_mib=75_366.0,
        claimed_mib=75_366.0, power_w=311.0,
        temp_c=84.0, sm_mhz=1_155.0, models=("qwen3-32b",), throttle="thermal", throttled_since_s=NOW_S - 192,
        throttled_share=0.05),
    gpu(3, key="GPU-51d06b9a", free_mib=52019.0, util_pct=12.0, used_mib=24_166.0, ours_mib=24_166.0,
        claimed_mib=28_877.0, power_w=96.0,
        temp_c=48.0, sm_mhz=1_185.0, pcie="4 x8 of x16", models=("mistral-small-24b", "bge-m3", "deepseek-r1-14b")),
)  # fmt: skip

PROCESSES = (
    gpu_process(40_211, gpus="0,1", replica="llama33-70b-c6h2w", model="llama33-70b", used_mib=150_323.0, sm_pct=92.0,
                req_s=1.8, tok_s=412.0, kv_pct=41.0, tok_per_j=0.5, started_s=NOW_S - 6 * DAY_S),
    gpu_process(41_877, gpus="2", replica="qwen3-32b-x7k2q", model="qwen3-32b", used_mib=75_366.0, sm_pct=99.0,
                req_s=2.9,
                tok_s=1_180.0, kv_pct=97.0, tok_per_j=3.8, started_s=NOW_S - 3 * DAY_S),
    gpu_process(43_377, gpus="3", replica="bge-m3-q5z4d", model="bge-m3", used_mib=2_355.0, sm_pct=3.0, req_s=22.4,
                started_s=NOW_S - 9 * DAY_S),
    gpu_process(3_122, user="root", name="Xorg", ours=False, used_mib=409.0, started_s=NOW_S - 40 * DAY_S),
)  # fmt: skip

REPLICAS = (
    replica("qwen3-32b-x7k2q", "qwen3-32b", place="GPU 2", pid=41_877, mem_mib=USED_MIB, busy=16, slots=16, req_s=2.9,
            tok_s=1_180.0, kv_pct=97.0, ttft_p95_s=6.2, tok_per_j=3.8, started_s=NOW_S - 3 * DAY_S),
    replica("qwen3-32b-m4tq6", "qwen3-32b", state="Pending", reason="NothingFits", place="", pid=None, mem_mib=USED_MIB,
            busy=None, slots=None, req_s=None, tok_s=None, started_s=NOW_S - 130),
    replica("whisper-large-v3-b2c4d", "whisper-large-v3", state="Backoff", reason="CrashLoopBackOff", place="GPU 3",
            pid=None,
            mem_mib=None, busy=None, slots=None, req_s=None, tok_s=None, restarts=7, started_s=None,
            next_try_s=NOW_S + 48),
)  # fmt: skip

FAILURES = (
    failure("whisper-large-v3", "CrashLoopBackOff", "exit 1, next try in 48s: fp8 needs sm_89, this GPU is sm_80",
            count=7,
            since_s=NOW_S - 12, model="default/whisper-large-v3"),
    failure("qwen3-32b", "DeadLetters", "3 requests gave up after 3 attempts each: engine timeout 120s", count=3,
            since_s=NOW_S - 550, model="default/qwen3-32b"),
    failure("qwen3-32b", "NothingFits", "replica 2 needs 73.6 GiB on one GPU; most free is GPU 3: 50.8 GiB",
            severe=False,
            since_s=NOW_S - 130, model="default/qwen3-32b"),
    failure("gpt-4o-mini", "APIQuotaExceededError", "upstream answers 429; paused for 26s more (Retry-After)",
            severe=False, count=31, since_s=NOW_S - 4, model="default/gpt-4o-mini"),
    failure("GPU 2", "Throttled", "thermal at 84 °C: 1155 of 1410 MHz, 5 % of the last hour", severe=False,
            since_s=NOW_S - 192),
)  # fmt: skip

EVENTS = (
    event("Throttled", "thermal at 84 °C, 1155 of 1410 MHz; qwen3-32b-x7k2q was on it", source="GPU 2", warning=True,
          at_s=NOW_S - 192),
    event("Xid 31", "memory page fault; llama33-70b-c6h2w restarted, 3 requests retried", source="GPU 1", severe=True,
          at_s=NOW_S - 2 * DAY_S),
    event("Applied", "generation 4: maxProcessNum 8 to 16", source="you", at_s=NOW_S - 3 * DAY_S),
)  # fmt: skip

SOURCES = (
    source("store", text="/srv/uplion"),
    source("queue", text="nats on 127.0.0.1:41873"),
    source("API", text="http://127.0.0.1:8080/v1   no token needed, loopback only"),
    source("llama", text="xllamacpp 2026.10"),
    source("GPU", "-", "no NVIDIA driver (libnvidia-ml.so.1 not found): models run on the CPU"),
)

PANEL = GpuPanel(source="nvml", driver="580.95", energy_wh_today=9_100.0, tok_per_j=1.7)
BUSY = FleetView(
    context=BOX, models=MODELS, replicas=REPLICAS, gpus=GPUS, gpu_processes=PROCESSES, gpu_panel=PANEL,
    failures=FAILURES,
    events=EVENTS, sources=SOURCES, at_s=NOW_S,
)  # fmt: skip

NO_GPU = GpuPanel(notice="no NVIDIA GPU: libnvidia-ml.so.1 not found")
HOST = HostView(
    cpu_name="AMD EPYC 7B13", cores=16, cpu_pct=72.0, ram_used_mib=21_914.0, ram_total_mib=65_536.0,
    sessions=(("smollm2", 11.2, 410.0),),
)  # fmt: skip


def wave(around: float, swing: float) -> History:
    """An hour of a figure that moves a little."""
    return tuple(around + swing * sin(i / 5) for i in range(720))


HISTORIES: dict[str, History] = {
    **{f"gpu/{g.key}/util": wave(g.util_pct or 0.0, 6.0 if g.index < 2 else 1.0) for g in GPUS},
    **{f"gpu/{g.key}/vram": wave(90.0, 0.0) for g in GPUS},
    "host/cpu": wave(70.0, 12.0),
    "host/ram": wave(33.0, 0.0),
}


def fleet(view: FleetView = BUSY, *, read_only: bool = False) -> StillFleet:
    """A still fleet that shows `view`, with history."""
    fields = {name: getattr(view, name) for name in FleetView.__dataclass_fields__ if name != "models"}
    still = StillFleet(*view.models, read_only=read_only, **fields)
    still.histories = HISTORIES
    return still
