"""Rollouts played through: whatever the order in which workers load, leave and find room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from operator_embed.box.rollout import SURGE, Running, plan

STEPS = 200


@dataclass
class World:
    """A box that holds `places` workers, those that leave included."""

    wanted: int
    places: int
    workers: dict[str, Running] = field(default_factory=dict)
    started: int = 0

    def ready(self) -> int:
        return sum(w.ready for w in self.workers.values() if not w.leaving)

    def step(self) -> None:
        """One pass of the loop, as the workloads of a box make it."""
        processes = sum(not w.waiting for w in self.workers.values())
        room = processes < self.places
        olds = sum(w.template == "old" for w in self.workers.values() if not w.leaving)
        waits = any(w.waiting for w in self.workers.values())
        crowded = waits and not room and processes - olds < self.places
        do = plan(self.wanted, list(self.workers.values()), "new", crowded=crowded)
        for name in do.retire:
            if self.workers[name].waiting:
                del self.workers[name]
            else:
                self.workers[name] = replace(self.workers[name], leaving=True)
        for _ in range(do.start):
            self.started += 1
            name = f"n{self.started}"
            self.workers[name] = Running(name=name, template="new", waiting=True, started_s=self.started)
        for name, worker in self.workers.items():
            if worker.waiting and sum(not w.waiting for w in self.workers.values()) < self.places:
                self.workers[name] = replace(worker, waiting=False)

    def happens(self, choice: int) -> None:
        """Something that workers do by themselves: one has loaded, or has gone."""
        due = [w for w in self.workers.values() if w.leaving or not (w.ready or w.waiting)]
        if due:
            worker = due[choice % len(due)]
            if worker.leaving:
                del self.workers[worker.name]
            else:
                self.workers[worker.name] = replace(worker, ready=True)

    def settled(self) -> bool:
        """As many as asked for, all of them new and ready."""
        return len(self.workers) == self.wanted and all(w.ready and w.template == "new" for w in self.workers.values())


def olds(count: int) -> dict[str, Running]:
    return {f"o{n}": Running(name=f"o{n}", template="old", ready=True) for n in range(count)}


def run(world: World, choices: Sequence[int], *, least: int, most: int) -> None:
    """Play to the end, which has to come; `least` answer and `most` stay all along."""
    for turn in range(STEPS):
        world.step()
        staying = [w for w in world.workers.values() if not w.leaving]
        assert len(staying) <= most
        assert world.ready() >= least
        if world.settled():
            return
        world.happens(choices[turn % len(choices)])
    raise AssertionError(f"not settled after {STEPS} steps: {world}")


SOME = st.integers(0, 5)
CHOICES = st.lists(st.integers(0, 9), min_size=1, max_size=30)


@given(before=SOME, wanted=SOME, choices=CHOICES)
def test_with_room_no_fewer_answer_than_asked_for_and_at_most_one_more_runs(
    before: int, wanted: int, choices: list[int]
) -> None:
    world = World(wanted=wanted, places=100, workers=olds(before))
    run(world, choices, least=min(before, wanted), most=max(before, wanted + SURGE))


@given(wanted=st.integers(1, 5), choices=CHOICES)
def test_without_room_one_fewer_answers_meanwhile(wanted: int, choices: list[int]) -> None:
    world = World(wanted=wanted, places=wanted, workers=olds(wanted))
    run(world, choices, least=wanted - 1, most=wanted + SURGE)


@given(before=SOME, then=SOME, choices=CHOICES, turn=st.integers(0, 20))
def test_a_change_of_mind_in_the_middle_is_followed(before: int, then: int, choices: list[int], turn: int) -> None:
    world = World(wanted=5, places=100, workers=olds(before))
    for choice in choices[:turn]:
        world.step()
        world.happens(choice)
    world.wanted = then
    run(world, choices, least=min(world.ready(), then), most=6)
