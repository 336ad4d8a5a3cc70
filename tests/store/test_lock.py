from __future__ import annotations

import os

import pytest

from operator_embed.box.home import Home, HomeError
from operator_embed.box.lock import Lock
from tests.store.conftest import Start


@pytest.fixture(autouse=True)
def prepared(home: Home) -> None:
    home.prepare()


def test_one_leads_and_others_see_who(home: Home) -> None:
    first, second = Lock(home.lock), Lock(home.lock)
    assert second.holder() is None
    assert first.try_acquire()
    assert first.try_acquire()
    assert not second.try_acquire()
    assert (first.holder(), second.holder()) == (os.getpid(), os.getpid())
    first.release()
    assert second.holder() is None
    assert second.try_acquire()
    second.release()


def test_kill_nine_of_the_leader_frees_the_lock(home: Home, start: Start) -> None:
    leader = start("lead", home.root)
    assert leader.stdout is not None
    assert leader.stdout.readline() == "True\n"
    lock = Lock(home.lock)
    assert (lock.try_acquire(), lock.holder()) == (False, leader.pid)
    leader.kill()
    leader.wait()
    assert lock.try_acquire()
    assert lock.holder() == os.getpid()
    lock.release()


def test_a_child_that_inherits_the_lock_keeps_it_without_a_gap(home: Home, start: Start) -> None:
    lock, other = Lock(home.lock), Lock(home.lock)
    assert lock.try_acquire()
    child = start("inherit", home.root, lock.fileno(), pass_fds=(lock.fileno(),))
    assert child.stdout is not None
    assert child.stdout.readline() == "True\n"
    lock.release()
    assert (other.try_acquire(), other.holder()) == (False, child.pid)
    child.kill()
    child.wait()
    assert other.try_acquire()
    other.release()


def test_a_child_that_was_not_given_the_lock_does_not_keep_it(home: Home, start: Start) -> None:
    lock = Lock(home.lock)
    assert lock.try_acquire()
    bystander = start("watch", home.root)
    assert bystander.stdout is not None
    assert bystander.stdout.readline() == "watching\n"
    lock.release()
    assert Lock(home.lock).holder() is None


def test_a_descriptor_that_is_no_lock_is_refused(home: Home) -> None:
    with pytest.raises(HomeError, match=r"lock"):
        Lock.from_fd(home.lock, 0)
    home.lock.touch()
    with pytest.raises(HomeError, match="descriptor 0 is not"):
        Lock.from_fd(home.lock, 0)
