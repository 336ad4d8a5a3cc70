"""Which GPU a replica gets, and what is said when none will do."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker_embed.gpu.placement import (
    Claim,
    GpuRoom,
    Need,
    Placed,
    Refused,
    Room,
    Rooms,
    pin_env,
    place,
    promised,
    rooms_of,
)
from worker_embed.gpu.samples import GpuProcess, GpuSample, HostSample, Sample, SessionSample

GIB = 1024.0
RAM = Room(total_mib=64 * GIB, free_mib=40 * GIB)


def gpu(index: int, free_gib: float, **fields: Any) -> GpuRoom:
    room = Room(total_mib=80 * GIB, free_mib=free_gib * GIB)
    return replace(GpuRoom(uuid=f"GPU-{index}{index}{index}-cafe", index=index, room=room), **fields)


def box(*gpus: GpuRoom, ram: Room = RAM, no_gpu: str = "") -> Rooms:
    return Rooms(gpus=gpus, ram=ram, no_gpu=no_gpu)


FOUR = box(gpu(0, 6.4), gpu(1, 6.4), gpu(2, 6.4), gpu(3, 51.8))
NO_LIBRARY = "no NVIDIA GPU: libnvidia-ml.so.1 not found"
OFF = gpu(1, 80, lost="Xid 79, fell off the bus", room=None)


@pytest.mark.parametrize(
    ("need", "rooms", "where"),
    [
        (Need(mem_mib=5 * GIB), FOUR, "GPU 0"),
        (Need(mem_mib=15 * GIB), FOUR, "GPU 3"),
        (Need(mem_mib=5 * GIB), box(gpu(0, 50), gpu(1, 20), gpu(2, 7)), "GPU 2"),
        (Need(mem_mib=30 * GIB, gpus=2), box(gpu(0, 50), gpu(1, 20), gpu(2, 7), gpu(3, 17)), "GPU 1,3"),
        (Need(mem_mib=5 * GIB, gpus=("GPU-333",)), FOUR, "GPU 3"),
        (Need(mem_mib=5 * GIB, gpus=("GPU-333-cafe", "GPU-000")), FOUR, "GPU 0,3"),
        (Need(mem_mib=5 * GIB, gpus=0), FOUR, "CPU"),
        (Need(mem_mib=5 * GIB), box(no_gpu=NO_LIBRARY), "CPU"),
        (Need(mem_mib=5 * GIB), box(gpu(0, 80, room=None), gpu(1, 60)), "GPU 1"),
        (Need(mem_mib=5 * GIB), box(OFF, gpu(2, 60)), "GPU 2"),
    ],
)
def test_where_a_replica_goes(need: Need, rooms: Rooms, where: str) -> None:
    placed = place(need, rooms)
    assert isinstance(placed, Placed)
    assert placed.where == where


@pytest.mark.parametrize(
    ("need", "rooms", "reason"),
    [
        (
            Need(mem_mib=73.6 * GIB, who="replica 2"),
            FOUR,
            "replica 2 needs 73.6 GiB on one GPU; most free is GPU 3: 50.8 GiB",
        ),
        (
            Need(mem_mib=60 * GIB, gpus=2, who="replica 1"),
            FOUR,
            "replica 1 needs 30.0 GiB on each of 2 GPUs; 1 of 4 have that much free",
        ),
        (Need(mem_mib=GIB, gpus=8), FOUR, "replica needs 8 GPUs; this box has 4"),
        (Need(mem_mib=GIB, gpus=1), box(no_gpu=NO_LIBRARY), f"replica needs 1 GPU; {NO_LIBRARY}"),
        (Need(mem_mib=GIB, gpus=("GPU-9",)), FOUR, "replica wants GPU-9: this box has no such GPU"),
        (Need(mem_mib=GIB, gpus=("GPU-9",)), box(no_gpu=NO_LIBRARY), f"replica wants GPU-9: {NO_LIBRARY}"),
        (Need(mem_mib=GIB, gpus=("GPU-",)), FOUR, "replica wants GPU-: 4 GPUs begin with it"),
        (
            Need(mem_mib=GIB, gpus=("GPU-0", "GPU-000")),
            FOUR,
            "replica names the same GPU twice: GPU-0, GPU-000",
        ),
        (Need(mem_mib=20 * GIB, gpus=("GPU-3", "GPU-0")), FOUR, "replica needs 10.0 GiB on GPU 0; 5.4 GiB is free"),
        (
            Need(mem_mib=GIB, gpus=("GPU-1",)),
            box(gpu(0, 80), OFF),
            "replica needs 1.0 GiB on GPU 1; it is lost: Xid 79, fell off the bus",
        ),
        (
            Need(mem_mib=GIB),
            box(gpu(0, 80, room=None), no_gpu="driver changed 580.95 to 590.12, reading again in 4s"),
            "replica needs 1.0 GiB on GPU 0; driver changed 580.95 to 590.12, reading again in 4s",
        ),
        (Need(mem_mib=50 * GIB, gpus=0), FOUR, "replica needs 50.0 GiB of RAM; 39.8 GiB is free"),
        (
            Need(mem_mib=900),
            box(ram=Room(total_mib=2000, free_mib=1000)),
            "replica needs 900 MiB of RAM; 744 MiB is free",
        ),
    ],
)
def test_why_a_replica_gets_no_place(need: Need, rooms: Rooms, reason: str) -> None:
    refused = place(need, rooms)
    assert isinstance(refused, Refused)
    assert refused.reason == reason


def test_a_refusal_names_the_gpu_with_most_room() -> None:
    refused = place(Need(mem_mib=73.6 * GIB), FOUR)
    assert isinstance(refused, Refused)
    assert (refused.most_free_index, round((refused.most_free_mib or 0) / GIB, 1)) == (3, 50.8)


def places(need: Need, rooms: Rooms, count: int) -> list[str]:
    """Where each of `count` replicas goes, one after the other."""
    found = []
    for _ in range(count):
        answer = place(need, rooms)
        found.append(answer.where if isinstance(answer, Placed) else "-")
        rooms = promised(rooms, answer) if isinstance(answer, Placed) else rooms
    return found


def test_a_promise_counts_for_replicas_that_come_after() -> None:
    assert places(Need(mem_mib=20 * GIB), box(gpu(0, 30), gpu(1, 45)), 4) == ["GPU 0", "GPU 1", "GPU 1", "-"]
    assert places(Need(mem_mib=15 * GIB, gpus=0), FOUR, 3) == ["CPU", "CPU", "-"]


def sample(*gpus: GpuSample, rss_mib: float = 0.0, ram_used_mib: float = 10 * GIB) -> Sample:
    host = HostSample("", 16, 1.0, ram_used_mib, 64 * GIB, (SessionSample(500, 1.0, rss_mib),))
    return Sample(1.0, 1.0, "fake", "580.95", "", host, gpus)


def used_gpu(used_mib: float, *processes: GpuProcess) -> GpuSample:
    return GpuSample(
        "GPU-000", 0, "FAKE", 1.0, used_mib, 80 * GIB, 1.0, 1.0, 1.0, 1.0, 1.0, (), "", 1.0, processes,
        free_mib=80 * GIB - used_mib,
    )  # fmt: skip


def process(session: int, used_mib: float | None) -> GpuProcess:
    return GpuProcess(session + 1, session, "ada", "vllm", used_mib, 1.0)


@pytest.mark.parametrize(
    ("claims", "gpu_sample", "left_gib"),
    [
        ((), used_gpu(0), 79),
        ((), used_gpu(20 * GIB, process(9, 20 * GIB)), 59),
        ((Claim(session=0, uuids=("GPU-000",), each_mib=30 * GIB),), used_gpu(0), 49),
        ((Claim(session=500, uuids=("GPU-000",), each_mib=30 * GIB),), used_gpu(10 * GIB, process(500, 10 * GIB)), 49),
        ((Claim(session=500, uuids=("GPU-000",), each_mib=30 * GIB),), used_gpu(35 * GIB, process(500, 35 * GIB)), 44),
        ((Claim(session=500, uuids=("GPU-000",), each_mib=30 * GIB),), used_gpu(30 * GIB, process(500, None)), 49),
        ((Claim(session=500, uuids=("GPU-111",), each_mib=30 * GIB),), used_gpu(0), 79),
        (
            (Claim(session=500, uuids=("GPU-000",), each_mib=30 * GIB),),
            used_gpu(50 * GIB, process(500, 10 * GIB), process(9, 40 * GIB)),
            9,
        ),
    ],
    ids=["empty", "stranger", "not started", "loading", "above claim", "size not told", "elsewhere", "and a stranger"],
)
def test_the_ledger_counts_the_larger_of_claim_and_use(
    claims: tuple[Claim, ...], gpu_sample: GpuSample, left_gib: float
) -> None:
    room = rooms_of(sample(gpu_sample), claims).gpus[0].room
    assert room
    assert room.left_mib(GIB) / GIB == left_gib


def test_weights_mapped_from_a_file_are_not_promised_twice() -> None:
    """The kernel counts mapped weights as free, as it could drop them; a second such model would make both crawl."""
    claim = Claim(session=500, each_mib=40 * GIB)
    rooms = rooms_of(sample(rss_mib=40 * GIB, ram_used_mib=5 * GIB), [claim])
    assert isinstance(place(Need(mem_mib=30 * GIB), rooms), Refused)
    assert isinstance(place(Need(mem_mib=20 * GIB), rooms), Placed)


def test_a_gpu_that_cannot_be_read_has_no_room() -> None:
    unread = GpuSample(
        "GPU-000", 0, "A100", None, None, 80 * GIB, None, None, None, None, None, (), "", None, (), "Xid 79"
    )
    (room,) = rooms_of(sample(unread), []).gpus
    assert (room.room, room.lost) == (None, "Xid 79")


def test_pinning_is_by_uuid_and_the_cpu_sees_no_gpu() -> None:
    placed = place(Need(mem_mib=10 * GIB, gpus=2), FOUR)
    assert isinstance(placed, Placed)
    assert pin_env(placed)["CUDA_VISIBLE_DEVICES"] == "GPU-000-cafe,GPU-111-cafe"
    on_cpu = place(Need(mem_mib=1, gpus=0), FOUR)
    assert isinstance(on_cpu, Placed)
    assert pin_env(on_cpu) == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ""}


MIB_OF_A_GPU = st.integers(0, 80 * 1024).map(float)
GPUS = st.lists(MIB_OF_A_GPU, min_size=1, max_size=8)
NEEDS = st.lists(st.tuples(MIB_OF_A_GPU, st.one_of(st.none(), st.integers(0, 4))), max_size=12)


@given(GPUS, NEEDS, st.integers(0, 4096), st.randoms())
def test_memory_is_never_promised_twice_and_order_of_gpus_does_not_matter(
    free: list[float], needs: list[tuple[float, int | None]], margin_mib: float, random: Random
) -> None:
    rooms = box(*(gpu(index, mib / GIB) for index, mib in enumerate(free)))
    shuffled = list(rooms.gpus)
    random.shuffle(shuffled)
    left = {one.uuid: mib - margin_mib for one, mib in zip(rooms.gpus, free, strict=True)}
    for mem_mib, gpus in needs:
        need = Need(mem_mib=mem_mib, gpus=gpus)
        answer = place(need, rooms, margin_mib)
        assert place(need, replace(rooms, gpus=tuple(shuffled)), margin_mib) == answer
        if isinstance(answer, Refused) or not answer.uuids:
            continue
        rooms = promised(rooms, answer)
        shuffled = [next(one for one in rooms.gpus if one.uuid == other.uuid) for other in shuffled]
        assert len(answer.uuids) == (gpus or 1)
        for uuid in answer.uuids:
            left[uuid] -= answer.each_mib
            assert left[uuid] >= -0.01 or answer.each_mib == 0
