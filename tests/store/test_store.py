from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from operator_embed.aimodel import RESTARTED_AT, AIModel, Spec, Status
from operator_embed.box import changes
from operator_embed.box.home import Home
from operator_embed.box.secrets import Secrets
from operator_embed.box.store import Conflict, Deposed, Expired, Invalid, NotFound, Op, Store, StoreError
from tests.aimodel.specs import models, statuses
from tests.store.actors import model

REMOTE = Spec(type="remote", model="gpt", base_url="https://api.openai.com/v1")


def remote(**fields: Any) -> AIModel:
    return AIModel(namespace="default", name="gpt", spec=replace(REMOTE, **fields))


@contextmanager
def refused(kind: type[StoreError], *words: str) -> Iterator[None]:
    with pytest.raises(kind) as error:
        yield
    assert str(error.value).isprintable()
    for word in words:
        assert word in str(error.value)


def test_apply_creates_changes_and_leaves_alone(store: Store) -> None:
    action, created = store.apply(model("a", 1))
    assert (action, created.generation, created.uid != "") == ("created", 1, True)
    version = store.version()
    assert store.apply(model("a", 1)) == ("unchanged", created)
    assert store.version() == version
    action, changed = store.apply(model("a", 2))
    assert (action, changed.generation, changed.uid) == ("configured", 2, created.uid)
    assert store.get("default/a") == changed
    assert store.list() == (changed,)


def test_labels_change_the_version_and_not_the_generation(store: Store) -> None:
    _, created = store.apply(model("a"))
    _, labelled = store.apply(replace(model("a"), labels=(("team", "x"),)))
    assert labelled.generation == created.generation
    assert labelled.resource_version != created.resource_version


def test_a_change_by_somebody_else_is_a_conflict(store: Store) -> None:
    _, read = store.apply(model("a", 1))
    store.apply(model("a", 2))
    with refused(Conflict, "default/a", "changed by somebody else"):
        store.apply(replace(model("a", 3), resource_version=read.resource_version))
    with refused(Conflict):
        store.patch("default/a", lambda old: old, resource_version=read.resource_version)
    with refused(Conflict):
        store.delete("default/a", resource_version=read.resource_version)
    assert store.list()[0].spec.replicas == 2


def test_status_is_no_change_by_somebody_else(store: Store) -> None:
    _, read = store.apply(model("a", 1))
    store.put_status("default/a", Status(state="Running", ready=1), store.next_epoch())
    action, applied = store.apply(replace(model("a", 3), resource_version=read.resource_version))
    assert (action, applied.status.state) == ("configured", "Running")


def test_a_model_that_went_away_is_not_created_from_an_old_copy(store: Store) -> None:
    _, read = store.apply(model("a"))
    store.remove(read.key)
    with refused(Conflict, "gone"):
        store.apply(read)


def test_patch_refuses_what_nobody_can_run(store: Store) -> None:
    store.apply(model("a", 1))
    with refused(Invalid, "spec.minReplicas: 5 is more than maxReplicas 2"):
        store.patch("default/a", lambda old: replace(old, spec=replace(old.spec, min_replicas=5, max_replicas=2)))
    with refused(NotFound, "default/b", "uplion get models"):
        store.patch("default/b", lambda old: old)
    assert store.list()[0].generation == 1


def test_a_failing_change_leaves_nothing_behind(store: Store) -> None:
    store.apply(model("a", 1))

    def fails(old: AIModel) -> AIModel:
        raise LookupError

    with pytest.raises(LookupError):
        store.patch("default/a", fails)
    assert store.apply(model("a", 2))[0] == "configured"


def test_the_spec_before_the_last_change_is_kept(store: Store) -> None:
    store.apply(model("a", 1))
    assert store.previous("default/a") is None
    store.apply(model("a", 2))
    store.apply(replace(model("a", 2), labels=(("x", "y"),)))
    before = store.previous("default/a")
    assert before is not None
    assert before.spec.replicas == 1
    store.apply(replace(before, resource_version=""))
    undone = store.previous("default/a")
    assert undone is not None
    assert undone.spec.replicas == 2


def test_deleting_waits_for_the_leader(store: Store) -> None:
    store.apply(model("a", 1))
    deleted = store.delete("default/a")
    assert deleted.deleted_s is not None
    assert store.delete("default/a") == deleted
    with refused(Conflict, "is being deleted"):
        store.apply(model("a", 1))
    store.remove("default/a")
    store.remove("default/a")
    assert store.get("default/a") is None
    _, again = store.apply(model("a", 1))
    assert (again.generation, again.uid != deleted.uid) == (1, True)


def test_status_of_an_older_leader_is_refused(store: Store) -> None:
    store.apply(model("a"))
    first = store.next_epoch()
    assert store.put_status("default/a", Status(state="Running"), first)
    second = store.next_epoch()
    with refused(Deposed, "default/a"):
        store.put_status("default/a", Status(state="Failed"), first)
    version = store.version()
    assert not store.put_status("default/a", Status(state="Running"), second)
    assert not store.put_status("default/gone", Status(state="Running"), second)
    assert store.version() == version


def test_our_annotations_survive_a_file_without_them(store: Store) -> None:
    store.apply(replace(model("a"), annotations=(("note", "1"),)))
    store.patch("default/a", lambda old: replace(old, annotations=((RESTARTED_AT, "now"), ("note", "1"))))
    assert store.apply(model("a"))[1].annotations == ((RESTARTED_AT, "now"),)
    _, edited = store.apply(replace(model("a"), resource_version=store.list()[0].resource_version))
    assert edited.annotations == ()


def test_changes_tell_what_happened(store: Store) -> None:
    store.apply(model("a", 1))
    store.apply(model("a", 2))
    store.put_status("default/a", Status(state="Running"), store.next_epoch())
    store.delete("default/a")
    store.remove("default/a")
    assert [change.op for change in store.changes(0)] == [Op.ADDED, Op.MODIFIED, Op.STATUS, Op.MODIFIED, Op.DELETED]
    assert {change.key for change in store.changes(0)} == {"default/a"}
    assert store.changes(store.version()) == ()


def test_forgotten_changes_are_expired(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "KEPT", 3)
    for replicas in range(6):
        store.apply(model("a", replicas))
    with refused(Expired):
        store.changes(2)
    assert len(store.changes(3)) == 3
    with refused(Expired):
        store.changes(7)


def test_soft_state_is_kept_and_wakes_nobody(store: Store) -> None:
    store.put_soft("backoff", "{}")
    store.put_soft("backoff", "[]")
    assert (store.soft("backoff"), store.soft("other"), store.version()) == ("[]", None, 0)


def test_a_key_goes_into_a_file_of_its_owners_and_nowhere_else(store: Store, home: Home) -> None:
    _, stored = store.apply(remote(api_key="sk-secret"))
    assert (stored.spec.api_key, stored.spec.api_key_from) == (None, "secret:default.gpt")
    kept = home.secrets / "default.gpt.key"
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == ("sk-secret", 0o600)
    assert b"sk-secret" not in b"".join(file.read_bytes() for file in home.root.glob("store.db*"))
    store.remove(stored.key)
    assert list(home.secrets.iterdir()) == []


def test_a_new_key_replaces_the_replicas_and_the_same_key_does_not(store: Store) -> None:
    store.apply(remote(api_key="one"))
    assert store.apply(remote(api_key="one"))[0] == "unchanged"
    action, changed = store.apply(remote(api_key="two"))
    assert (action, changed.generation) == ("configured", 2)
    assert changed.annotation(RESTARTED_AT)


def test_a_key_that_could_not_be_stored_is_new_when_it_is_tried_again(store: Store, home: Home) -> None:
    store.apply(remote(api_key="one"))
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    with refused(StoreError, "the disk is full"):
        store.apply(replace(remote(api_key="two"), labels=(("long", "x" * 40_000),)))
    store._connection.execute("PRAGMA max_page_count = 100000")
    assert [file.name for file in home.secrets.iterdir()] == ["default.gpt.key"]
    action, changed = store.apply(remote(api_key="two"))
    assert (action, changed.generation) == ("configured", 2), "workers that hold the first one have to go"
    assert Secrets(home.secrets).read("default.gpt") == "two"


def test_a_key_file_in_the_way_is_one_line(store: Store, home: Home) -> None:
    (home.secrets / "default.gpt.key").mkdir()
    with refused(StoreError, "default.gpt.key: Is a directory"):
        store.apply(remote(api_key="one"))


def test_keys_from_files_and_the_environment(store: Store, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    given_file = home.root / "key"
    given_file.write_text("from-file\n")
    store.apply(remote(api_key_from=f"file:{given_file}"))
    assert Secrets(home.secrets).read("default.gpt") == "from-file"
    monkeypatch.setenv("A_KEY", "from-env")
    store.apply(remote(api_key_from="env:A_KEY"))
    assert Secrets(home.secrets).read("default.gpt") == "from-env"
    assert store.apply(store.list()[0])[0] == "unchanged"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("env:NO_SUCH_KEY", "the environment variable NO_SUCH_KEY does not hold a key"),
        ("file:/no/such/key", "cannot read /no/such/key: No such file or directory"),
        ("file:/dev/null", "does not hold a key on one line"),
        ("file:/dev/zero", "does not hold a key on one line"),
        ("secret:../../etc/passwd", "is not a name of a secret"),
        ("secret:nobodys", "there is no secret nobodys"),
    ],
)
def test_a_key_that_cannot_be_read_is_refused_before_anything_is_stored(store: Store, source: str, said: str) -> None:
    with refused(StoreError, said):
        store.apply(remote(api_key_from=source))
    assert store.list() == ()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(models(), statuses())
def test_what_is_stored_comes_back(store: Store, model: AIModel, status: Status) -> None:
    if model.spec.api_key_from:
        model = replace(model, spec=replace(model.spec, api_key_from=None))
    store.remove(model.key)
    store.apply(model)
    epoch = store.next_epoch()
    store.put_status(model.key, status, epoch)
    stored = store.get(model.key)
    assert stored is not None
    assert (stored.spec, stored.labels, stored.annotations) == (model.spec, model.labels, model.annotations)
    assert replace(stored.status, epoch=0) == status


def test_files_are_their_owners_alone(store: Store, home: Home) -> None:
    store.apply(model("a"))
    assert {file.stat().st_mode & 0o777 for file in home.root.glob("store.db*")} == {0o600}


def test_a_file_of_a_newer_program_is_left_alone(home: Home) -> None:
    Store(home).close()
    with sqlite3.connect(home.store) as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    with refused(StoreError, str(home.store), "newer uplion (format 99"):
        Store(home)


def test_a_damaged_file_is_one_line(home: Home) -> None:
    home.prepare()
    home.store.write_bytes(b"no database at all" * 1_000)
    with refused(StoreError, str(home.store), "is damaged"):
        Store(home)


def test_damage_inside_is_one_line(home: Home) -> None:
    store = Store(home)
    for number in range(200):
        store.apply(model(f"m{number}"))
    store.close()
    with home.store.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(home.store.stat().st_size - 4096))
    with refused(StoreError, str(home.store)):
        opened = Store(home)
        try:
            opened.list()
        finally:
            opened.close()


@pytest.mark.parametrize(
    ("column", "junk"),
    [("spec", '{"type": "local", "model": "a", "engine": "warp"}'), ("spec", "[]"), ("labels", "{"), ("status", "[]")],
)
def test_a_model_that_is_not_understood_is_one_line(store: Store, home: Home, column: str, junk: str) -> None:
    store.apply(model("a"))
    store._connection.execute(f"UPDATE models SET {column} = ?", (junk,))
    for read in (store.list, lambda: store.get("default/a")):
        with refused(StoreError, "AIModel default/a, as stored, is not understood", "another version"):
            read()
    assert "is not understood" in store.trouble


def test_a_full_disk_is_one_line_and_loses_nothing(store: Store) -> None:
    store.apply(model("a", 1))
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    with refused(StoreError, "the disk is full"):
        for number in range(1_000):
            store.apply(replace(model(f"m{number}"), labels=(("long", "x" * 4_000),)))
    store._connection.execute("PRAGMA max_page_count = 100000")
    assert store.apply(model("a", 2))[0] == "configured"


def test_a_folder_in_place_of_the_file_is_one_line(home: Home) -> None:
    home.prepare()
    home.store.mkdir()
    with refused(StoreError, str(home.store)):
        Store(home)


def test_a_lock_held_too_long_is_one_line(store: Store, home: Home) -> None:
    store._connection.execute("PRAGMA busy_timeout = 1")
    other = sqlite3.connect(home.store, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with refused(StoreError, "another process has kept it locked"):
        store.apply(model("a"))
    other.close()
    assert store.apply(model("a"))[0] == "created"


def test_a_file_that_cannot_be_written_is_one_line(store: Store) -> None:
    store._connection.execute("PRAGMA query_only = 1")
    with refused(StoreError, "cannot be written", "check who owns it"):
        store.apply(model("a"))


def test_why_nothing_can_be_written_is_known_until_something_can(store: Store) -> None:
    with refused(NotFound):
        store.delete("default/nobody")
    with refused(Expired):
        store.changes(7)
    assert store.trouble == ""
    store._connection.execute("PRAGMA query_only = 1")
    with refused(StoreError):
        store.put_soft("x", "1")
    assert "cannot be written" in store.trouble
    store._connection.execute("PRAGMA query_only = 0")
    store.put_soft("x", "1")
    assert store.trouble == ""


def test_bells_that_cannot_be_rung_fail_no_write(store: Store, home: Home) -> None:
    home.bells.rmdir()
    home.bells.write_text("no folder")
    assert store.apply(model("a"))[0] == "created"
