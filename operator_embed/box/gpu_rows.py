"""GPUs, their processes and the host of a box as rows of the view."""

from __future__ import annotations

from collections.abc import Sequence

from operator_embed.box.facts import Facts, claims, ratio
from operator_embed.box.telemetry import SILENT_S
from operator_embed.fleet.gpus import GpuPanel, GpuProcessView, GpuView, HostView
from operator_embed.fleet.text import safe_text
from operator_embed.reconcile import Replica
from worker_embed.gpu.placement import GPU_MARGIN_MIB, RAM_MARGIN_MIB, Room, rooms_of
from worker_embed.gpu.samples import ASKING, NO_GPU, GpuProcess, GpuSample

MIB_STEP = 10.24
"""A hundredth of a GiB: what can be seen at all."""


def owners(facts: Facts) -> dict[int, tuple[str, str]]:
    """Replica and model name of each of our sessions."""
    names = {r.name: model.name for model in facts.models for r in _replicas(facts, model.key)}
    return {session: (name, names[name]) for name in names if (session := facts.session(name))}


def gpu_rows(facts: Facts, now_s: float) -> list[GpuView]:
    """One row a GPU, also for those that are lost."""
    sample = facts.telemetry.sample
    if sample is None:
        return []
    stale = now_s - sample.at > SILENT_S
    rooms = rooms_of(sample, claims(facts.holds, facts.processes)).gpus
    return [_gpu_row(gpu, room.room, facts, stale, now_s) for gpu, room in zip(sample.gpus, rooms, strict=True)]


def _gpu_row(gpu: GpuSample, room: Room | None, facts: Facts, stale: bool, now_s: float) -> GpuView:
    claimed_mib = sum(hold.each_mib for hold in facts.holds.values() if gpu.uuid in hold.gpus)
    return GpuView(
        key=gpu.uuid,
        version=0,
        index=gpu.index,
        name=safe_text(gpu.name),
        util_pct=gpu.util_pct,
        used_mib=gpu.used_mib,
        ours_mib=room.claimed_mib - room.unused_mib if room else None,
        claimed_mib=room.claimed_mib if room else claimed_mib,
        total_mib=gpu.total_mib,
        free_mib=room.left_mib(GPU_MARGIN_MIB) if room else None,
        power_w=None if gpu.power_w is None else round(gpu.power_w),
        power_limit_w=gpu.power_limit_w,
        temp_c=gpu.temp_c,
        sm_mhz=gpu.sm_mhz,
        max_sm_mhz=gpu.max_sm_mhz,
        pcie=gpu.pcie,
        throttle=", ".join(gpu.throttle),
        throttled_since_s=facts.gpu_news.throttled_s.get(gpu.uuid),
        throttled_share=round(facts.telemetry.throttled_share(gpu.uuid, now_s), 2) if gpu.throttle else 0.0,
        lost=gpu.lost,
        models=_models(gpu, facts),
        stale=stale,
    )


def _models(gpu: GpuSample, facts: Facts) -> tuple[str, ...]:
    """`llama33-70b 1/2` for the first of a replica's two GPUs, `smollm2 x2` for two replicas."""
    labels = []
    for model in facts.models:
        holds = [facts.holds[r.name] for r in _replicas(facts, model.key) if r.name in facts.holds]
        here = [hold.gpus for hold in holds if gpu.uuid in hold.gpus]
        if len(here) == 1 and len(here[0]) > 1:
            labels.append(f"{model.name} {here[0].index(gpu.uuid) + 1}/{len(here[0])}")
        elif here:
            labels.append(f"{model.name} x{len(here)}" if len(here) > 1 else model.name)
    return tuple(labels)


def process_rows(facts: Facts, now_s: float) -> list[GpuProcessView]:
    """One row a process, over all GPUs that it uses; ours first, then by memory."""
    sample = facts.telemetry.sample
    if sample is None:
        return []
    ours = owners(facts)
    found: dict[int, list[tuple[int, GpuProcess]]] = {}
    for gpu in sample.gpus:
        for process in gpu.processes:
            found.setdefault(process.pid, []).append((gpu.index, process))
    rows = []
    for pid, parts in found.items():
        process = parts[0][1]
        replica, model = ours.get(process.session, ("", ""))
        figures = facts.telemetry.workers.get(replica)
        used = [p.used_mib for _, p in parts if p.used_mib is not None]
        busy = [p.sm_pct for _, p in parts if p.sm_pct is not None]
        state = facts.processes.get(replica)
        rows.append(
            GpuProcessView(
                key=str(pid),
                version=0,
                gpus=",".join(str(index) for index, _ in parts),
                pid=pid,
                user="us" if replica else safe_text(process.user),
                name=safe_text(process.name),
                ours=bool(replica),
                replica=replica,
                model=model,
                used_mib=sum(used) if used else None,
                sm_pct=max(busy) if busy else None,
                req_s=figures.done.per_s(now_s) if figures else None,
                tok_s=figures.tokens.per_s(now_s) if figures else None,
                kv_pct=figures.beat.kv_pct if figures else None,
                tok_per_j=facts.tok_per_j(replica, now_s),
                started_s=state.started_s if state else None,
            )
        )
    return sorted(rows, key=lambda row: (not row.ours, -(row.used_mib or 0), row.pid))


def panel(facts: Facts, now_s: float) -> GpuPanel:
    """What is true of all GPUs together."""
    sample = facts.telemetry.sample
    if sample is None:
        return GpuPanel(notice="reading")
    on_gpus = [name for name, hold in facts.holds.items() if hold.gpus]
    plain = sample.notice == ASKING or sample.notice.startswith(NO_GPU)
    wh = facts.energy.today_wh
    return GpuPanel(
        source=sample.source if sample.gpus else "",
        driver=sample.driver,
        notice=safe_text(sample.notice),
        warning=bool(sample.notice) and (bool(sample.gpus) or not plain),
        stale=now_s - sample.at > SILENT_S,
        energy_wh_today=None if wh is None else round(wh, 1),
        tok_per_j=ratio(
            facts.telemetry.tokens_per_s(now_s, on_gpus),
            facts.energy.watts([gpu.uuid for gpu in sample.gpus if not gpu.lost], now_s),
        ),
    )


def host_view(facts: Facts) -> HostView:
    """CPU and memory, and which model uses how much of them."""
    sample = facts.telemetry.sample
    if sample is None:
        return HostView()
    ours = owners(facts)
    ram = rooms_of(sample, claims(facts.holds, facts.processes)).ram
    by_model: dict[str, tuple[float, float]] = {}
    for session in sample.host.sessions:
        if session.session in ours:
            model = ours[session.session][1]
            cores, rss = by_model.get(model, (0.0, 0.0))
            by_model[model] = (cores + (session.cpu_cores or 0.0), rss + session.rss_mib)
    return HostView(
        cpu_name=safe_text(sample.host.cpu_name),
        cores=sample.host.cores,
        cpu_pct=None if sample.host.cpu_pct is None else round(sample.host.cpu_pct),
        ram_used_mib=round(sample.host.ram_used_mib / MIB_STEP) * MIB_STEP,
        ram_total_mib=sample.host.ram_total_mib,
        ram_free_mib=round(ram.left_mib(RAM_MARGIN_MIB) / MIB_STEP) * MIB_STEP,
        sessions=tuple((model, round(cores, 1), round(rss)) for model, (cores, rss) in sorted(by_model.items())),
    )


def _replicas(facts: Facts, key: str) -> Sequence[Replica]:
    observed = facts.observed.get(key)
    return observed.replicas if observed else ()
