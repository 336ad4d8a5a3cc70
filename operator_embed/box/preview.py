"""Which replicas of a model would fit where, by what a console sees."""

from __future__ import annotations

from pathlib import Path

from operator_embed.aimodel import AIModel
from operator_embed.autoscaler import bounds
from operator_embed.box.needs import Missing, need_of
from operator_embed.fleet.fleet import FleetView
from operator_embed.fleet.models import PlannedReplica, ReplicaView, Scale, ScalePreview
from worker_embed.gpu.placement import GpuRoom, Placed, Refused, Room, Rooms, gib, place, promised


def preview(model: AIModel, change: Scale, view: FleetView, weights: Path) -> ScalePreview:
    """The replicas that run, then those that would be added, each with its place or the reason why it has none."""
    row = next((m for m in view.models if m.key == model.key), None)
    mine = [r for r in view.replicas if r.model == model.key]
    wanted = _wanted(model, change, row.backlog if row else None, row.desired if row else 0)
    running = [r for r in mine if r.pid is not None][:wanted]
    lines = [_running(number, r) for number, r in enumerate(running, 1)]
    rooms = _rooms(view)
    on_gpu = bool(rooms.gpus) and model.spec.gpus != 0
    refused = 0
    for number in range(len(running) + 1, wanted + 1):
        need = need_of(model, weights, on_gpu=on_gpu, who=f"replica {number}")
        if isinstance(need, Missing):
            lines.append(_line(number, "-", None, fits=False, text=need.message))
            continue
        answer = place(need, rooms)
        if isinstance(answer, Placed):
            rooms = promised(rooms, answer)
            text = f"fits: {gib(answer.left_mib)} free"
            lines.append(_line(number, answer.where, need.mem_mib, fits=True, text=text))
        else:
            refused += 1
            lines.append(_line(number, "-", need.mem_mib, fits=False, text=_refusal(answer, refused)))
    return ScalePreview(wanted=wanted, lines=tuple(lines), advice=_advice(wanted, lines))


def _wanted(model: AIModel, change: Scale, backlog: int | None, desired: int) -> int:
    limits = bounds(model)
    threshold = model.spec.msg_backlog_threshold if change.threshold is None else change.threshold
    if limits is None and not threshold:
        current = 1 if model.spec.replicas is None else model.spec.replicas
        return current if change.replicas is None else change.replicas
    low, high = limits or (1, 100)
    low = low if change.min_replicas is None else change.min_replicas
    high = high if change.max_replicas is None else change.max_replicas
    asked = desired if backlog is None or not threshold else -(-backlog // threshold)
    return max(low, min(asked, high))


def _rooms(view: FleetView) -> Rooms:
    host = view.host
    ram = Room(
        total_mib=host.ram_total_mib or 0.0, free_mib=max(0.0, (host.ram_total_mib or 0.0) - (host.ram_used_mib or 0.0))
    )
    gpus = tuple(
        GpuRoom(
            uuid=gpu.key,
            index=gpu.index,
            room=None
            if gpu.total_mib is None or gpu.used_mib is None
            else Room(
                total_mib=gpu.total_mib,
                free_mib=gpu.total_mib - gpu.used_mib,
                claimed_mib=gpu.claimed_mib,
                unused_mib=max(0.0, gpu.claimed_mib - (gpu.ours_mib or 0.0)),
            ),
            lost=gpu.lost,
        )
        for gpu in view.gpus
    )
    return Rooms(gpus=gpus, ram=ram, no_gpu=view.gpu_panel.notice)


def _running(number: int, replica: ReplicaView) -> PlannedReplica:
    text = "running" if replica.state == "Ready" else replica.state.lower()
    if replica.busy:
        text += f", {replica.busy} in flight"
    return PlannedReplica(
        number=number,
        name=replica.key,
        place=replica.place,
        mem_mib=replica.mem_mib,
        estimated=False,
        fits=True,
        text=text,
    )


def _line(number: int, where: str, mem_mib: float | None, *, fits: bool, text: str) -> PlannedReplica:
    return PlannedReplica(number=number, name="", place=where, mem_mib=mem_mib, estimated=True, fits=fits, text=text)


def _refusal(refused: Refused, count: int) -> str:
    if count > 1 or refused.most_free_mib is None:
        return "does not fit" if count > 1 else f"does not fit: {refused.reason}"
    return f"does not fit: the most free is GPU {refused.most_free_index} with {gib(refused.most_free_mib)}"


def _advice(wanted: int, lines: list[PlannedReplica]) -> tuple[str, ...]:
    short = sum(not line.fits for line in lines)
    if not short:
        return ()
    fit, stay = "fits" if wanted - short == 1 else "fit", "stays" if short == 1 else "stay"
    return (f"{wanted - short} of {wanted} {fit}; {short} {stay} Pending until there is room.",)
