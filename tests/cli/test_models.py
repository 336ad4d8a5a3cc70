"""Models from the command line: apply, get, describe, scale, restart, delete, on a box that is served."""

from __future__ import annotations

import json
import os
import pty
import re

import pytest

from console.commands.box import in_shell
from operator_embed.box.why import ADVICE
from tests.cli.box import UPLION, Box, line, manifest


def test_apply_says_what_it_did(served: Box) -> None:
    assert served.says("apply", "-f", "-", "--wait", text=manifest("one", replicas=0)) == "aimodel/one created\n"
    assert served.says("apply", "-f", "-", text=manifest("one", replicas=0)) == "aimodel/one unchanged\n"
    assert served.says("apply", "-f", "-", text=manifest("one", replicas=0, parallel=3)) == "aimodel/one configured\n"


def test_apply_names_file_field_and_line_of_each_error(served: Box) -> None:
    file = served.file("bad.yaml", manifest("bad", replicas=-1).replace("{", "\n{"))
    said = served.refuses("apply", "-f", file)
    assert said.startswith(f"error: {file}: spec.replicas: -1 is not within 0 to 1000 (line ")
    assert served.refuses("apply", "-f", "/nowhere.yaml") == "error: /nowhere.yaml: No such file or directory\n"


def test_apply_calls_standard_input_by_its_name(served: Box) -> None:
    assert served.refuses("apply", "-f", "-", text="") == "error: standard input: the text has no AIModel in it\n"
    assert served.refuses("delete", "-f", "-", text="") == "error: standard input: the text has no AIModel in it\n"


def test_apply_warns_of_unknown_fields(served: Box) -> None:
    ended = served.run("apply", "-f", "-", text=manifest("one", replicas=0, replcas=2))
    assert ended.returncode == 0
    assert "warning: standard input: spec.replcas: unknown field, ignored; did you mean replicas?" in ended.stderr


def test_a_refused_file_does_not_keep_the_others_from_being_applied(served: Box) -> None:
    good, bad = served.file("good.yaml", manifest("two", replicas=0)), served.file("bad.yaml", "kind: Pod")
    ended = served.run("apply", "-f", bad, "-f", good)
    assert (ended.returncode, ended.stdout) == (1, "aimodel/two created\n")
    assert f"error: {bad}: kind: expected AIModel" in ended.stderr


def test_apply_wait_tells_why_it_waits(served: Box) -> None:
    text = manifest("lost", "/nowhere.gguf", engine="llama", parallel=1)
    said = served.refuses("apply", "-f", "-", "--wait", "--timeout", "2s", text=text)
    assert "waiting for aimodel/lost: 0 of 1 ready, WeightsMissing" in said
    assert "error: aimodel/lost: not done after 2 s: 0 of 1 ready, WeightsMissing" in said
    assert "or run uplion edit lost and set source." in " ".join(served.says("describe", "lost").split())
    assert served.says("delete", "-f", "-", "--wait", text=text) == "aimodel/lost deleted\n"


def test_table_is_aligned_and_plain(served: Box) -> None:
    title, *rows = served.says("get", "models").splitlines()
    assert title.split() == ["NAME", "READY", "STATE", "BACKLOG", "OLDEST", "REQ/S", "TOK/S", "ENGINE", "AGE"]
    hello = next(row for row in rows if row.startswith("hello "))
    assert hello.split()[1:5] == ["1/1", "Running", "0", "-"]
    assert hello.index("Running") == title.index("STATE")
    assert "\x1b" not in "".join(rows)
    assert "LAST FAILURE" in served.says("get", "models", "hello", "-o", "wide")


def test_flags_may_stand_before_names_and_names_may_carry_their_kind(served: Box) -> None:
    assert served.says("get", "models", "-o", "name", "aimodel/hello") == "aimodel/hello\n"
    assert served.says("get", "models", "-n", "elsewhere", "-o", "name") == ""


def test_objects_can_be_applied_again(served: Box) -> None:
    listed = served.says("get", "models", "-o", "json")
    assert json.loads(listed)["kind"] == "List"
    assert "aimodel/hello unchanged\n" in served.says("apply", "-f", "-", text=listed)
    one = served.says("get", "models", "hello", "-o", "yaml")
    assert "\n  state: Running\n" in one
    assert served.says("apply", "-f", "-", text=one) == "aimodel/hello unchanged\n"


def test_an_object_that_was_changed_since_it_was_read_is_not_applied(served: Box) -> None:
    served.says("apply", "-f", "-", text=manifest("read", replicas=0))
    read = served.says("get", "models", "read", "-o", "json")
    changed = read.replace('"parallel": 2', '"parallel": 3')
    assert served.says("apply", "-f", "-", text=changed) == "aimodel/read configured\n"
    said = served.refuses("apply", "-f", "-", text=read)
    assert said.startswith(
        "error: standard input: default/read: was changed by somebody else since it was read (resourceVersion "
    )
    assert served.object("read")["spec"]["parallel"] == 3
    served.says("delete", "read", "--wait")
    assert "remove resourceVersion to create it again" in served.refuses("apply", "-f", "-", text=read)


def test_a_name_that_is_not_there(served: Box) -> None:
    for command in (
        ["get", "models", "nope"],
        ["get", "models", "nope", "-o", "yaml"],
        ["scale", "nope", "--min", "1"],
    ):
        said = served.refuses(*command)
        assert said == "error: default/nope: there is no such AIModel; uplion get models lists them\n", command


def test_watch_prints_what_changes(served: Box) -> None:
    served.says("apply", "-f", "-", "--wait", text=manifest("seen"))
    watching = served.start("get", "models", "seen", "-w")
    line(watching, "1/1   Running")
    served.says("scale", "seen", "--replicas", "0")
    line(watching, "Stopped")
    watching.terminate()


def test_describe_tells_all(served: Box) -> None:
    said = served.says("describe", "hello")
    for part in ("Name:              hello", "  source:          static:Hello there", "  Ready:           1 of 1",
                 "Why:", "ReplicasReady", "CPU", "Applied", "generation 1, created"):  # fmt: skip
        assert part in said, part


@pytest.mark.parametrize("advice", ADVICE.values())
def test_a_shell_is_told_commands_where_a_console_tells_keys(advice: str) -> None:
    said = in_shell(advice, "default/hello")
    assert not re.search(r"\bpress\b|\bthen [a-z] |:doctor", said)
    assert said.count("uplion edit hello") == len(re.findall(r"\b(?:press|then) e\b", advice))
    assert said.count("uplion logs hello") == len(re.findall(r"\bpress l\b", advice))


def test_scale_and_its_refusals(served: Box) -> None:
    served.says("apply", "-f", "-", "--wait", text=manifest("wide"))
    ended = served.run("scale", "wide", "--replicas", "2", "--wait")
    assert (ended.returncode, ended.stdout) == (0, "aimodel/wide scaled\n")
    assert served.object("wide")["status"]["ready"] == 2
    assert "no autoscaler runs" in served.refuses("scale", "wide", "--max", "3")
    served.says("scale", "wide", "--threshold", "4", "--min", "1", "--max", "2")
    assert "the autoscaler owns replicas" in served.refuses("scale", "wide", "--replicas", "2")
    served.says("scale", "wide", "--pause")
    assert "uplion.io/paused" in served.object("wide")["metadata"]["annotations"]
    served.says("scale", "wide", "--resume")
    assert "nothing to change" in served.refuses("scale", "wide", code=2)
    both = served.refuses("scale", "wide", "--threshold", "4", "--replicas", "2", code=2)
    assert both.startswith("error: --replicas means nothing beside --threshold")
    served.says("scale", "wide", "--threshold", "0", "--replicas", "1")
    beyond = served.refuses("scale", "wide", "--replicas", "100000")
    assert beyond == "error: default/wide: spec.replicas: 100000 is not within 0 to 1000\n"


def test_restart_replaces_every_replica(served: Box) -> None:
    def pids() -> set[str]:
        lines = served.says("describe", "hello").partition("Replicas:")[2].partition("Events:")[0].splitlines()
        return {row.split()[3] for row in lines[2:] if row.strip()}

    before = pids()
    assert before
    served.says("restart", "hello", "--wait")
    assert not before & pids()


def test_delete_without_a_terminal_asks_nothing(served: Box) -> None:
    served.says("apply", "-f", "-", text=manifest("gone", replicas=0))
    ended = served.run("delete", "gone", "never-there", "--wait")
    assert (ended.returncode, ended.stdout) == (1, "aimodel/gone deleted\n")
    assert "default/never-there: there is no such AIModel" in ended.stderr
    assert "gone" not in served.says("get", "models", "-o", "name")
    assert "name what to delete" in served.refuses("delete", code=2)


def test_delete_on_a_terminal_asks_first(served: Box) -> None:
    served.says("apply", "-f", "-", text=manifest("dear", replicas=0))
    assert "nothing was deleted" in at_terminal(served, "delete", "dear", answer="n\n")
    said = at_terminal(served, "delete", "dear", answer="y\n")
    assert "Delete 1 model? [y/N]" in said
    assert "aimodel/dear deleted" in said


def at_terminal(box: Box, *argv: str, answer: str) -> str:
    """Everything that a command says on a terminal where `answer` was typed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(UPLION[0], [*UPLION, *argv], box.env)
    os.write(terminal, answer.encode())
    said = b""
    try:
        while part := os.read(terminal, 65536):
            said += part
    except OSError:  # the other end is closed
        pass
    os.close(terminal)
    os.waitpid(pid, 0)
    return said.decode()
