"""A box that nothing leads, places that cannot be used, and mistakes on the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from console import __main__ as program
from console import settings
from console.commands.parser import parser
from console.settings import Settings
from tests.cli.box import UPLION, Box, manifest


@pytest.fixture
def here(alone: Box, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a box for commands that are run in this process."""
    for name in ("UPLION_API_PORT", "UPLION_API_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UPLION_HOME", str(alone.home))
    return alone.home


UNLED = "nothing runs this box: start uplion or uplion serve\n"
VERBS = "serve apply get describe edit scale restart delete logs events top chat doctor crd"


def test_wishes_are_stored_and_said_to_be(alone: Box) -> None:
    applied = alone.run("apply", "-f", "-", text=manifest("later"))
    assert (applied.returncode, applied.stdout) == (0, "aimodel/later created\n")
    assert applied.stderr == f"stored; {UNLED}"
    assert alone.refuses("scale", "later", "--replicas", "2", "--wait") == f"stored; {UNLED}"
    assert alone.object("later")["spec"]["replicas"] == 2
    seen = alone.run("get", "models")
    assert seen.stderr == f"warning: {UNLED}"
    assert "later" in seen.stdout
    assert "ScaleAsked" in alone.says("events", "--for", "later")
    assert "NO LEADER" in alone.says("--once")


def test_nothing_is_said_to_be_stored_where_nothing_was(alone: Box) -> None:
    said = alone.refuses("delete", "nope", "-y", "--wait")
    assert said == "error: default/nope: there is no such AIModel; uplion get models lists them\n"


def test_an_empty_box_says_how_to_fill_it(alone: Box) -> None:
    seen = alone.run("get", "models")
    assert (seen.returncode, seen.stdout) == (0, "")
    assert "uplion apply -f model.yaml makes one" in seen.stderr


def test_settings_that_are_wrong(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = here / "config.toml"
    for text, says in {
        "theme = 'nord'\napi_prot = 1\n": f"{config}, line 2: unknown setting 'api_prot'; known are ",
        "api_port = 'x'\n": f"{config}, line 1: api_port: expected a whole number, got 'x'\n",
        "\ncompat = 1\n": f"{config}, line 2: compat: expected true or false, got 1\n",
        "timeout_s = 0\n": f"{config}, line 1: timeout_s: expected at least 1 second, got 0\n",
        "[api]\nport = 1\n": f"{config}, line 1: unknown setting 'api'",
        "api_port = \n": f"{config}: is not TOML: ",
    }.items():
        config.write_text(text)
        assert program.run(["get", "models"]) == 1
        assert capsys.readouterr().err.startswith(f"error: {says}")


def test_flag_before_environment_before_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "config.toml").write_text("api_port = 1001\napi_host = '0.0.0.0'\n")
    assert settings.load(here / "config.toml").api_port == 1001
    monkeypatch.setenv("UPLION_API_PORT", "1002")
    assert settings.load(here / "config.toml").api_port == 1002
    settings.take_flags(parser().parse_args(["serve", "--api-port", "1003"]))
    assert settings.load(here / "config.toml") == Settings(api_host="0.0.0.0", api_port=1003)


def test_places_that_cannot_be_used(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "store.db").write_text("this is no database" * 100)
    for command in (["get", "models"], ["describe", "x"], ["serve"], ["--once"]):
        assert program.run(command) == 1
        assert capsys.readouterr().err.startswith(f"error: {here}/store.db: is damaged")
    assert program.run(["doctor"]) == 1
    assert f"!   store      {here}/store.db: is damaged" in capsys.readouterr().out
    monkeypatch.setenv("UPLION_HOME", "/proc/none")
    for command in (["get", "models"], ["serve"], ["--once"]):
        assert program.run(command) == 1
        assert capsys.readouterr().err.startswith("error: /proc/none: cannot be used: ")


def test_the_console_needs_a_terminal(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run([]) == 1
    said = capsys.readouterr().err
    assert said == "error: the console needs a terminal; uplion --once prints it as text, uplion serve needs none\n"


@pytest.mark.parametrize("verb", VERBS.split())
def test_every_verb_has_help_with_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        program.run([verb, "--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert "examples:\n  " in said
    assert f"uplion {verb}" in said.partition("examples:")[2]


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["gte"], "invalid choice: 'gte'"),
        (["get"], "the following arguments are required: models"),
        (["get", "pods"], "invalid choice: 'pods'"),
        (["get", "models", "-o", "xml"], "invalid choice: 'xml'"),
        (["apply"], "the following arguments are required: -f/--filename"),
        (["scale", "x", "--replicas", "-1"], "expected a whole number from 0 on"),
        (["scale", "x", "--pause", "--resume"], "not allowed with argument"),
        (["apply", "-f", "-", "--timeout", "soon"], "expected a time as 90s, 5m or 1h30m"),
        (["chat"], "the following arguments are required: NAME"),
        (["chat", "x", "hi", "--temperature", "nan"], "expected a number from 0 on"),
        (["chat", "x", "hi", "--temperature", "1e999"], "expected a number from 0 on"),
    ],
)
def test_mistakes_end_with_2(argv: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        program.run(argv)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_objects_are_not_watched(alone: Box) -> None:
    assert "leave out -o json" in alone.refuses("get", "models", "-w", "-o", "json", code=2)


def test_a_result_that_cannot_be_written_is_one_line(alone: Box) -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [*UPLION, "crd"], env=alone.env, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ended.returncode == 1
    assert ended.stderr == "error: cannot write: No space left on device; make room and try again\n"


def test_a_reader_that_has_enough_ends_a_log_that_is_followed(alone: Box) -> None:
    (alone.home / "logs").mkdir(exist_ok=True)
    (alone.home / "logs" / "gateway.log").write_text("a line of a log that is longer than a pipe\n" * 10_000)
    argv = [*UPLION, "logs", "gateway", "-f", "--tail", "10000"]
    with subprocess.Popen(argv, env=alone.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as following:
        assert following.stdout
        assert following.stderr
        assert following.stdout.readline() == "a line of a log that is longer than a pipe\n"
        following.stdout.close()
        try:
            assert following.wait(timeout=20) == 141
            assert following.stderr.read() == ""
        finally:
            following.kill()


def test_what_nobody_expected_is_a_line_and_a_log(alone: Box) -> None:
    code = (
        "import sys; from console.commands import crd; crd.crd_yaml = lambda: 1 / 0; from console import __main__ as m"
    )
    ended = subprocess.run(
        [sys.executable, "-c", f"{code}; sys.exit(m.run(['crd']))"],
        env=alone.env,
        capture_output=True,
        text=True,
        check=False,
    )
    log = alone.home / "logs" / "uplion.log"
    assert ended.returncode == 1
    assert ended.stderr == f"error: unexpected ZeroDivisionError: division by zero; details are in {log}\n"
    assert "Traceback" in log.read_text()


def test_version_and_listing_load_little(alone: Box) -> None:
    heavy = {"textual", "httpx", "nats", "yaml", "aiohttp", "kubernetes"}
    code = f"import sys; from console.__main__ import run; run(['get', 'models']); print({heavy} & sys.modules.keys())"
    said = subprocess.check_output([sys.executable, "-c", code], env=alone.env, text=True, stderr=subprocess.DEVNULL)
    assert said == "set()\n"
    assert alone.says("--version").startswith("uplion 0.")


READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
MAY_MOUNT = subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not MAY_MOUNT, reason="user namespaces are not allowed here")
def test_a_home_on_a_read_only_medium_can_be_looked_at(alone: Box) -> None:
    alone.says("apply", "-f", "-", text=manifest("kept"))

    def run(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["unshare", "-rm", "sh", "-c", READ_ONLY, str(alone.home), *UPLION, *argv],
            env=alone.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    for looked in (["get", "models"], ["describe", "kept"], ["--once"], ["events"], ["get", "models", "-o", "yaml"]):
        seen = run(*looked)
        assert (seen.returncode, "kept" in seen.stdout) == (0, True), seen.stderr
    assert run("scale", "kept", "--replicas", "2").stderr.startswith(f"error: {alone.home}/store.db: cannot be written")
    assert run("serve").stderr.startswith(f"error: {alone.home}: cannot be used: Read-only file system; ")
