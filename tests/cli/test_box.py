"""What else is asked of a served box: events, logs, load, answers, health, and secrets that stay secret."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.box import UPLION, Box, happens, line, manifest

KEY = "sk-never-to-be-seen-5f1c"


def test_events_newest_last(served: Box) -> None:
    told = json.loads(served.says("events", "--for", "hello", "-o", "json"))
    assert [event["reason"] for event in told][:2] == ["Applied", "Ready"]
    assert told[0]["message"] == "generation 1, created"
    title, first, *_ = served.says("events", "--for", "hello").splitlines()
    assert title.split() == ["AGE", "TYPE", "REASON", "COUNT", "MODEL", "SOURCE", "MESSAGE"]
    assert first.split()[1:3] == ["Normal", "Applied"]


def test_a_long_name_keeps_messages_of_other_models_in_sight(served: Box) -> None:
    long = "a" * 63
    served.says("apply", "-f", "-", text=manifest(long, replicas=0))
    happens(lambda: re.search(rf"{long} +you +generation 1, created\n", served.says("events")))
    assert served.says("events").splitlines()[0].index("MESSAGE") < 120
    served.says("delete", long, "--wait")


def test_events_as_they_come(served: Box) -> None:
    watching = served.start("events", "-w", "-o", "json", "--for", "newcomer")
    served.says("apply", "-f", "-", text=manifest("newcomer", replicas=0))
    assert json.loads(line(watching, '"Applied"'))["model"] == "default/newcomer"
    watching.terminate()


def test_logs_of_a_replica_and_of_the_box(served: Box) -> None:
    said = served.says("logs", "hello", "--timestamps", "--tail", "1")
    assert said.endswith(" info Ready\n")
    assert said[:2] == "20"
    assert "Z info" in said
    served.says("chat", "hello", "hi")
    happens(lambda: "POST /v1/chat/completions" in served.says("logs", "gateway"))
    assert "there is no log of it" in served.refuses("logs", "nobody")
    assert "there is no log of a previous run" in served.refuses("logs", "hello", "-p")
    served.refuses("logs", "hello", "-p", "-f", code=2)


def test_logs_of_several_replicas_name_them_and_follow_new_ones(served: Box) -> None:
    served.says("apply", "-f", "-", "--wait", text=manifest("chatty"))
    following = served.start("logs", "chatty", "-f", "--tail", "1")
    assert line(following, "Ready") == "info Ready\n"
    served.says("scale", "chatty", "--replicas", "2", "--wait")
    assert line(following, "Ready").startswith("chatty-")
    following.terminate()
    lines = served.says("logs", "chatty", "--tail", "1").splitlines()
    assert len({text.split()[0] for text in lines}) == 2


@pytest.mark.parametrize("named", [["leaving"], ["leaving", "--replica", "REPLICA"], ["REPLICA"]])
def test_a_followed_log_ends_with_its_model(served: Box, named: list[str]) -> None:
    served.says("apply", "-f", "-", "--wait", text=manifest("leaving"))
    replica = served.says("describe", "leaving").partition("Replicas:")[2].split("\n")[2].split()[0]
    following = served.start("logs", "-f", *(part.replace("REPLICA", replica) for part in named))
    line(following, "Ready")
    served.says("delete", "leaving", "--wait")
    assert line(following, "deleted") == "aimodel/leaving was deleted\n"
    assert following.wait(20) == 0


def test_top_tells_models_and_what_they_run_on(served: Box) -> None:
    said = served.says("top")
    assert said.splitlines()[0].split()[:4] == ["NAME", "READY", "BACKLOG", "FLIGHT"]
    assert "\nHOST  CPU" in said
    assert "cores" in said


def test_chat_answers_on_standard_output_alone(served: Box) -> None:
    asked = served.run("chat", "hello", "Who is there?")
    assert (asked.returncode, asked.stdout) == (0, "Hello there\n")
    assert "first token" in asked.stderr
    assert "2 tokens" in asked.stderr
    assert served.says("chat", "hello", text="from a pipe") == "Hello there\n"


def test_ctrl_c_stops_an_answer(served: Box) -> None:
    slow = manifest("slow", "static:one%20two%20three?tokens=500&tokens_per_s=20")
    served.says("apply", "-f", "-", "--wait", text=slow)
    asking = subprocess.Popen(
        [*UPLION, "chat", "slow", "hi"], env=served.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert asking.stdout is not None
    asking.stdout.read(1)
    asking.send_signal(signal.SIGINT)
    _, said = asking.communicate(timeout=20)
    assert asking.returncode == 130
    assert b"Traceback" not in said
    happens(lambda: "0/2" in served.says("top").partition("slow")[2].split("\n")[0])


def test_doctor_of_a_box_that_works(served: Box) -> None:
    checks = {check["name"]: check for check in json.loads(served.says("doctor", "-o", "json"))}
    assert {name for name, check in checks.items() if check["status"] == "!"} == set()
    assert '{"status":"ok"}' in checks["API"]["text"]
    assert checks["leader"]["text"].startswith("pid ")


def test_once_prints_the_main_screen(served: Box) -> None:
    said = served.says("--once", "--ascii")
    assert said.isascii()
    assert any(text.strip().startswith("hello ") for text in said.splitlines())
    assert "\nFailures  " in said
    titles = next(text for text in said.splitlines() if "LAST FAILURE" in text)
    assert titles.split() == served.says("get", "models", "-o", "wide").splitlines()[0].split()


def test_a_reader_that_leaves_is_no_error(served: Box) -> None:
    for command in (["get", "models"], ["crd"]):
        reading, writing = os.pipe()
        os.close(reading)
        ended = subprocess.run([*UPLION, *command], env=served.env, stdout=writing, stderr=subprocess.PIPE, check=False)
        os.close(writing)
        assert (ended.returncode, ended.stderr) == (141, b""), command


def test_a_key_is_in_its_file_and_nowhere_else(served: Box) -> None:
    spec = {"type": "remote", "baseURL": "http://127.0.0.1:9/v1", "engine": "remote"}
    asked = [
        served.run("apply", "-f", "-", text=manifest("paid", **spec, apiKeyFrom={"env": "PAID_KEY"}), PAID_KEY=KEY),
        served.run("apply", "-f", "-", text=manifest("paid2", **spec, apiKey=KEY)),
        served.run("get", "models", "paid", "-o", "json"),
        served.run("describe", "paid", "paid2"),
        served.run("edit", "paid2", EDITOR="cat"),
        served.run("events", "-o", "json"),
        served.run("doctor"),
    ]
    assert asked[0].stdout == "aimodel/paid created\n", asked[0].stderr
    said = "".join(ended.stdout + ended.stderr for ended in asked)
    assert KEY not in said + "".join(served.processes().values())
    assert json.loads(asked[2].stdout)["spec"]["apiKeyFrom"] == {"secret": "default.paid"}
    holders = [file for file in served.home.rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()]
    assert {file.parent.name for file in holders} == {"secrets"}
    assert {file.stat().st_mode & 0o777 for file in holders} == {0o600}
    served.says("delete", "paid", "paid2", "--wait")
    assert list(Path(served.home, "secrets").iterdir()) == []
