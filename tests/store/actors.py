"""Processes that a test starts: `python -m tests.store.actors <what> <home> ...`; each says on stdout what it did."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from operator_embed.aimodel import AIModel, Spec
from operator_embed.box.home import Home
from operator_embed.box.lock import Lock
from operator_embed.box.store import Conflict, Store


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def model(name: str, replicas: int = 0) -> AIModel:
    return AIModel(namespace="default", name=name, spec=Spec(type="local", model=name, replicas=replicas))


def apply_for_ever(home: Home, name: str) -> None:
    """Count `replicas` of a model up, and say each number once it is stored."""
    store = Store(home)
    for replicas in range(1, 1_001):
        store.apply(model(name, replicas))
        say(replicas)


def open_store(home: Home) -> None:
    store = Store(home)
    store.put_soft("opened", "1")
    say("ok")


def add_one_each(home: Home, times: str) -> None:
    """Raise `replicas` of default/m by one, `times` times: by `patch`, then by reading and applying with a version."""
    store = Store(home)
    conflicts = 0
    for _ in range(int(times)):
        store.patch(
            "default/m", lambda old: replace(old, spec=replace(old.spec, replicas=(old.spec.replicas or 0) + 1))
        )
    for _ in range(int(times)):
        while True:
            read = store.get("default/m")
            assert read is not None
            try:
                store.apply(replace(read, spec=replace(read.spec, replicas=(read.spec.replicas or 0) + 1)))
                break
            except Conflict:
                conflicts += 1
    say(conflicts)


def watch(home: Home) -> None:
    """Say each change."""

    async def follow() -> None:
        store = Store(home)
        version = store.version()
        say("watching")
        async for change in store.watch(version):
            say(change.key, change.op)

    asyncio.run(follow())


def lead(home: Home) -> None:
    """Hold the lock until killed."""
    say(Lock(home.lock).try_acquire())
    sys.stdin.read()


def inherit(home: Home, fd: str) -> None:
    """Hold a lock that came through a descriptor until killed."""
    lock = Lock.from_fd(home.lock, int(fd))
    lock.claim()
    say(lock.held)
    sys.stdin.read()


if __name__ == "__main__":
    globals()[sys.argv[1]](Home(Path(sys.argv[2])), *sys.argv[3:])
