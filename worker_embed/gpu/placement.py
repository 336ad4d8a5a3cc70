"""Where a replica goes: a ledger of memory that is used and memory that is promised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from worker_embed.gpu.samples import GpuSample, Sample

GPU_MARGIN_MIB = 1024.0
"""Left free on each GPU for what drivers and CUDA contexts take without asking."""
RAM_MARGIN_MIB = 256.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Memory that a replica may take, from the moment it is placed until it is gone."""

    session: int
    """Session id of its process; 0 before it has started."""
    uuids: tuple[str, ...] = ()
    """Its GPUs; none means RAM."""
    each_mib: float
    """Declared, estimated or learned, on each of its GPUs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """One memory that replicas share."""

    total_mib: float
    free_mib: float
    """What can be allocated now, whoever has taken the rest."""
    claimed_mib: float = 0.0
    """Sum over our replicas of the larger of claim and use."""
    unused_mib: float = 0.0
    """Part of it that is not taken yet and still counts in `free_mib`."""

    def left_mib(self, margin_mib: float) -> float:
        """What may be promised to one more replica."""
        return max(0.0, min(self.free_mib - self.unused_mib, self.total_mib - self.claimed_mib) - margin_mib)

    def promised(self, mib: float) -> Room:
        """The same memory after one more promise."""
        return replace(self, claimed_mib=self.claimed_mib + mib, unused_mib=self.unused_mib + mib)


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuRoom:
    """One GPU and what can be promised of it."""

    uuid: str
    index: int
    room: Room | None
    """`None` while it cannot be read."""
    lost: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """All memory of this box."""

    gpus: tuple[GpuRoom, ...] = ()
    ram: Room
    no_gpu: str = ""
    """Why there are no GPUs, or no figures of them, for a user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one replica asks for."""

    mem_mib: float
    gpus: int | tuple[str, ...] | None = None
    """How many, or which by UUID or its beginning; 0 is the CPU; `None` is one GPU where there is any, else the CPU."""
    estimated: bool = True
    """`mem_mib` was computed, not measured on a replica like it."""
    who: str = "replica"
    """How refusals name it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A place that was found."""

    uuids: tuple[str, ...] = ()
    """GPUs in the order of their indexes; none means CPU."""
    indexes: tuple[int, ...] = ()
    each_mib: float
    """To be claimed on each GPU, or of RAM."""
    left_mib: float
    """What was left, before this, on the fullest of the GPUs or in RAM, beyond the margin."""

    @property
    def where(self) -> str:
        """`GPU 2`, `GPU 0,1` or `CPU`."""
        return f"GPU {','.join(map(str, self.indexes))}" if self.uuids else "CPU"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """No place was found."""

    reason: str
    """One line for a user."""
    most_free_index: int | None = None
    """GPU with the most left, where that is what was short."""
    most_free_mib: float | None = None


def place(need: Need, rooms: Rooms, margin_mib: float = GPU_MARGIN_MIB) -> Placed | Refused:
    """The tightest GPUs that hold the replica, so that large ones find room later; ties go to the lower index."""
    if need.gpus == 0 or need.gpus == () or (need.gpus is None and not rooms.gpus):
        return _on_cpu(need, rooms.ram)
    if isinstance(need.gpus, tuple):
        return _on_these(need, need.gpus, rooms, margin_mib)
    return _on_any(need, need.gpus or 1, rooms, margin_mib)


def promised(rooms: Rooms, placed: Placed) -> Rooms:
    """The box after a replica got its place."""
    if not placed.uuids:
        return replace(rooms, ram=rooms.ram.promised(placed.each_mib))
    gpus = (
        replace(gpu, room=gpu.room.promised(placed.each_mib)) if gpu.room and gpu.uuid in placed.uuids else gpu
        for gpu in rooms.gpus
    )
    return replace(rooms, gpus=tuple(gpus))


def rooms_of(sample: Sample, claims: Sequence[Claim]) -> Rooms:
    """The ledger: what a sample shows of the box, with what our replicas were promised."""
    host = sample.host
    resident = {session.session: session.rss_mib for session in host.sessions}
    in_ram = [(claim.each_mib, resident.get(claim.session, 0.0)) for claim in claims if not claim.uuids]
    ram = _room(host.ram_total_mib, host.ram_total_mib - host.ram_used_mib, in_ram)
    return Rooms(gpus=tuple(_gpu_room(gpu, claims) for gpu in sample.gpus), ram=ram, no_gpu=sample.notice)


def pin_env(placed: Placed) -> dict[str, str]:
    """Variables that make CUDA see the GPUs of a place, and no other; UUIDs, as CUDA counts in another order."""
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(placed.uuids)}


def _gpu_room(gpu: GpuSample, claims: Sequence[Claim]) -> GpuRoom:
    room = None
    if gpu.free_mib is not None and gpu.total_mib is not None:
        pairs = [(claim.each_mib, _used_on(gpu, claim)) for claim in claims if gpu.uuid in claim.uuids]
        room = _room(gpu.total_mib, gpu.free_mib, pairs)
    return GpuRoom(uuid=gpu.uuid, index=gpu.index, room=room, lost=gpu.lost)


def _used_on(gpu: GpuSample, claim: Claim) -> float:
    """A process whose size the driver does not tell is taken to use all of its claim."""
    ours = [process.used_mib for process in gpu.processes if claim.session and process.session == claim.session]
    return max(claim.each_mib if None in ours else 0.0, sum(used or 0.0 for used in ours))


def _room(total_mib: float, free_mib: float, claimed_and_used: Iterable[tuple[float, float]]) -> Room:
    pairs = list(claimed_and_used)
    return Room(
        total_mib=total_mib,
        free_mib=free_mib,
        claimed_mib=sum(max(pair) for pair in pairs),
        unused_mib=sum(max(0.0, claimed - used) for claimed, used in pairs),
    )


def _on_cpu(need: Need, ram: Room) -> Placed | Refused:
    if (left_mib := ram.left_mib(RAM_MARGIN_MIB)) < need.mem_mib:
        return Refused(reason=f"{need.who} needs {gib(need.mem_mib)} of RAM; {gib(left_mib)} is free")
    return Placed(each_mib=need.mem_mib, left_mib=left_mib)


def _on_these(need: Need, names: tuple[str, ...], rooms: Rooms, margin_mib: float) -> Placed | Refused:
    chosen: list[GpuRoom] = []
    for name in names:
        found = [gpu for gpu in rooms.gpus if gpu.uuid.startswith(name)]
        if len(found) != 1:
            what = f"{len(found)} GPUs begin with it" if found else rooms.no_gpu or "this box has no such GPU"
            return Refused(reason=f"{need.who} wants {name}: {what}")
        chosen.append(found[0])
    if len({gpu.uuid for gpu in chosen}) < len(chosen):
        return Refused(reason=f"{need.who} names the same GPU twice: {', '.join(names)}")
    return _fit(need, len(chosen), chosen, rooms, margin_mib)


def _on_any(need: Need, count: int, rooms: Rooms, margin_mib: float) -> Placed | Refused:
    if count > len(rooms.gpus):
        has = f"this box has {len(rooms.gpus)}" if rooms.gpus else rooms.no_gpu or "this box has none"
        return Refused(reason=f"{need.who} needs {count} GPU{'s' * (count > 1)}; {has}")
    return _fit(need, count, rooms.gpus, rooms, margin_mib)


def _fit(need: Need, count: int, gpus: Sequence[GpuRoom], rooms: Rooms, margin_mib: float) -> Placed | Refused:
    """The tightest `count` of `gpus`."""
    each_mib = need.mem_mib / count
    left = {gpu: gpu.room.left_mib(margin_mib) for gpu in gpus if gpu.room and not gpu.lost}
    fits = [gpu for gpu in left if left[gpu] >= each_mib]
    if len(fits) < count:
        return _too_full(need, count, gpus, left, rooms.no_gpu)
    fits.sort(key=lambda gpu: (left[gpu], gpu.index))
    taken = sorted(fits[:count], key=lambda gpu: gpu.index)
    return Placed(
        uuids=tuple(gpu.uuid for gpu in taken),
        indexes=tuple(gpu.index for gpu in taken),
        each_mib=each_mib,
        left_mib=min(left[gpu] for gpu in taken),
    )


def _too_full(need: Need, count: int, gpus: Sequence[GpuRoom], left: Mapping[GpuRoom, float], notice: str) -> Refused:
    each_mib = need.mem_mib / count
    if isinstance(need.gpus, tuple) or not left:
        first = next(gpu for gpu in gpus if left.get(gpu, -1.0) < each_mib)
        if first in left:
            what = f"{gib(left[first])} is free"
        else:
            what = f"it is lost: {first.lost}" if first.lost else notice or "it cannot be read now"
        return Refused(reason=f"{need.who} needs {gib(each_mib)} on GPU {first.index}; {what}")
    most = max(left, key=lambda gpu: (left[gpu], -gpu.index))
    if count == 1:
        what = f"{gib(each_mib)} on one GPU; most free is GPU {most.index}: {gib(left[most])}"
    else:
        enough = sum(1 for mib in left.values() if mib >= each_mib)
        what = f"{gib(each_mib)} on each of {count} GPUs; {enough} of {len(gpus)} have that much free"
    return Refused(reason=f"{need.who} needs {what}", most_free_index=most.index, most_free_mib=left[most])


def gib(mib: float) -> str:
    """`73.6 GiB`, or `159 MiB` below one."""
    return f"{mib / 1024:.1f} GiB" if mib >= 1024 else f"{mib:.0f} MiB"
