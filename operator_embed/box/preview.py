"""Which replicas of a model would fit where, by what a console sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from operator_embed.aimodel import AIModel
from operator_embed.autoscaler import DEFAULT_MAX, bounds
from operator_embed.fleet.fleet import FleetView
from operator_embed.fleet.models import PlannedReplica, ReplicaNeed, ReplicaView, Scale, ScalePreview
from operator_embed.schema import MAX_REPLICAS
from worker_embed.gpu.placement import (
    GPU_MARGIN_MIB,
    RAM_MARGIN_MIB,
    GpuRoom,
    Need,
    Placed,
    Refused,
    Room,
    Rooms,
    gib,
    place,
    promised,
)


def preview(model: AIModel, change: Scale, view: FleetView) -> ScalePreview:
    """The replicas that run, then those that would be added, each with its place or the reason why it has none."""
    row = next((m for m in view.models if m.key == model.key), None)
    need = row.need if row else ReplicaNeed()
    wanted = _wanted(model, change, row.backlog if row else None, row.desired if row else 0)
    running = [r for r in view.replicas if r.model == model.key and r.pid is not None][:wanted]
    numbers = range(len(running) + 1, wanted + 1)
    lines = [_running(number, r) for number, r in enumerate(running, 1)]
    if need.mem_mib is None:
        lines += [_line(number, need, text=need.missing or "not known yet") for number in numbers]
    else:
        lines += _placed(need, need.mem_mib, numbers, _rooms(view))
    return ScalePreview(wanted=wanted, lines=tuple(lines), advice=tuple(_advice(model.key, need, lines, view)))


def _placed(need: ReplicaNeed, mem_mib: float, numbers: Sequence[int], rooms: Rooms) -> Iterator[PlannedReplica]:
    refused = 0
    for number in numbers:
        answer = place(Need(mem_mib=mem_mib, gpus=need.gpus, who=f"replica {number}"), rooms)
        if isinstance(answer, Placed):
            rooms = promised(rooms, answer)
            text = f"fits: {gib(answer.left_mib)} free"
            yield _line(number, need, where=answer.where, text=text)
        else:
            refused += 1
            yield _line(number, need, text=_refusal(answer, refused))


def _wanted(model: AIModel, change: Scale, backlog: int | None, desired: int) -> int:
    threshold = model.spec.msg_backlog_threshold if change.threshold is None else change.threshold
    if not threshold:
        current = 1 if model.spec.replicas is None else model.spec.replicas
        return min(current if change.replicas is None else change.replicas, MAX_REPLICAS)
    low, high = bounds(model) or (1, DEFAULT_MAX)
    low = low if change.min_replicas is None else change.min_replicas
    high = high if change.max_replicas is None else change.max_replicas
    asked = desired if backlog is None or change.paused else -(-backlog // threshold)
    return min(max(low, min(asked, high)), MAX_REPLICAS)


def _rooms(view: FleetView) -> Rooms:
    """The engine's ledger, as far as it is shown."""
    gpus = (
        GpuRoom(
            uuid=gpu.key,
            index=gpu.index,
            room=None if gpu.free_mib is None else _room(gpu.free_mib, GPU_MARGIN_MIB),
            lost=gpu.lost,
        )
        for gpu in view.gpus
    )
    ram = _room(view.host.ram_free_mib or 0.0, RAM_MARGIN_MIB)
    return Rooms(gpus=tuple(gpus), ram=ram, no_gpu=view.gpu_panel.notice)


def _room(free_mib: float, margin_mib: float) -> Room:
    """Memory that is empty but for what may not be promised."""
    return Room(total_mib=free_mib + margin_mib, free_mib=free_mib + margin_mib)


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


def _line(number: int, need: ReplicaNeed, *, where: str = "", text: str) -> PlannedReplica:
    return PlannedReplica(
        number=number,
        name="",
        place=where or "-",
        mem_mib=need.mem_mib,
        estimated=need.estimated,
        fits=bool(where),
        text=text,
    )


def _refusal(refused: Refused, count: int) -> str:
    if count > 1 or refused.most_free_mib is None:
        return "does not fit" if count > 1 else f"does not fit: {refused.reason}"
    return f"does not fit: the most free is GPU {refused.most_free_index} with {gib(refused.most_free_mib)}"


def _advice(key: str, need: ReplicaNeed, lines: Sequence[PlannedReplica], view: FleetView) -> Iterator[str]:
    """Whose memory would make room for one more, if nobody misses it now."""
    on_a_gpu = need.mem_mib is not None and isinstance(need.gpus, int | None) and (need.gpus or 1) == 1
    if not on_a_gpu or all(line.fits for line in lines):
        return
    names = {model.key: model.name for model in view.models}
    for gpu in sorted(view.gpus, key=lambda gpu: (-(gpu.free_mib or 0.0), gpu.index)):
        for r in view.replicas:
            idle = r.model != key and r.state == "Ready" and r.busy == 0 and r.place == f"GPU {gpu.index}"
            if idle and gpu.free_mib is not None and gpu.free_mib + (r.mem_mib or 0.0) >= (need.mem_mib or 0.0):
                yield f"Free GPU {gpu.index}: {names[r.model]} is idle and holds {gib(r.mem_mib or 0.0)} there."
                return
