"""The command line: names, flags and help; what a command does is loaded when it is asked for."""

from __future__ import annotations

import argparse
import math
import re
import textwrap
from collections.abc import Sequence
from typing import Any

from console.settings import KEYS

FORMATS = ("table", "wide", "json", "yaml", "name")
KINDS = ("models", "model", "aimodels", "aimodel")
WAIT_S = 300.0


class Version(argparse.Action):
    """Prints the version; reading it costs more than all the rest of the parser, so it is read when asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        from importlib.metadata import version

        print(f"uplion {version('uplion')}")
        parser.exit()


def duration(text: str) -> float:
    """Seconds of `90`, `90s`, `5m`, `1h30m`."""
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", text)
    if not text or match is None:
        raise argparse.ArgumentTypeError(f"expected a time as 90s, 5m or 1h30m, got {text!r}")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def whole(text: str) -> int:
    """A whole number from 0 on."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 on, got {text!r}")
    return int(text)


def temperature(text: str) -> float:
    """A number that JSON can say."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number from 0 on, got {text!r}")
    return number


def port(text: str) -> str:
    """A port, as the text that the environment takes."""
    if not 0 < whole(text) < 65536:
        raise argparse.ArgumentTypeError(f"expected a port from 1 to 65535, got {text}")
    return text


def parser() -> argparse.ArgumentParser:
    """All commands with their help."""
    top = _Parser(
        prog="uplion",
        description=_filled(
            """Serve AI models from one terminal. Without a command: the console. An AIModel is a model to serve, as
            YAML; a box is all that runs from one folder, $UPLION_HOME or ~/.local/share/uplion. For more on a command:
            uplion COMMAND --help."""
        ),
        epilog=_examples(
            ("uplion", "open the console; it leads this box where nothing else does"),
            ("uplion apply -f model.yaml", "create or change a model"),
            ("uplion get models", "what runs, what waits, what is wrong"),
            ("uplion chat smollm2 'Say hello'", "ask a model"),
        ),
    )
    top.add_argument("--version", action=Version, nargs=0, default=argparse.SUPPRESS, help="print the version and end")
    top.add_argument("--once", action="store_true", help="print the main screen as text and end")
    _node_flags(top)
    _look_flags(top)
    top.set_defaults(command="console.console")
    verbs = top.add_subparsers(title="commands", metavar="COMMAND", parser_class=_Verb)
    for add in (_serve, _apply, _get, _describe, _edit, _scale, _restart, _delete, _logs, _events, _top, _chat, _rest):
        add(verbs)
    return top


class _Parser(argparse.ArgumentParser):
    """Keeps the lines of its examples, and takes no abbreviated flags: a later flag would change their meaning."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)


class _Verb(_Parser):
    """Takes names before, between and after flags, as kubectl does."""

    _inside = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:  # type: ignore[override]
        if self._inside:
            return super().parse_known_args(args, namespace)
        self._inside = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._inside = False


Verbs = Any
"""argparse has no public name for what `add_subparsers` returns."""


def _serve(verbs: Verbs) -> None:
    serve = _verb(
        verbs,
        "serve",
        "serve.serve",
        "lead this box without a console",
        """Runs models, queue, API node and autoscaler; waits while another process leads. SIGTERM and SIGHUP end it
        and leave the models running, ctrl+c drains and stops all of them, ctrl+c again leaves them. Under systemd
        use KillMode=process, so that a restart of the service interrupts no request.""",
        ("uplion serve", "in a shell, in tmux, in a container"),
        ("uplion serve --api-host 0.0.0.0", "let other machines reach the API"),
    )
    _node_flags(serve)
    serve.add_argument("--lock-fd", type=int, help=argparse.SUPPRESS)
    serve.add_argument("--handover-fd", type=int, help=argparse.SUPPRESS)


def _apply(verbs: Verbs) -> None:
    apply = _verb(
        verbs,
        "apply",
        "apply.apply",
        "create or change AIModels from files",
        "Reads YAML or JSON, one AIModel or many. Relative paths in it are seen from the file.",
        ("uplion apply -f model.yaml --wait", "and return when it can answer"),
        ("uplion get models -o yaml | uplion apply -f -", "from standard input"),
    )
    _files(apply, required=True)
    _wait(apply, "return when all replicas that are wanted can answer")


def _get(verbs: Verbs) -> None:
    get = _verb(
        verbs,
        "get",
        "get.models",
        "list AIModels",
        """One line a model. Where a figure should be, ? says that it is not known and - that there is none; 412? is
        the last that was heard of it.""",
        ("uplion get models", "all of them"),
        ("uplion get models smollm2 -o yaml", "one, as it is stored, with its status"),
        ("uplion get models -w", "and each change as it comes"),
    )
    get.add_argument("kind", choices=KINDS, metavar="models", help="what to list")
    _names(get, nargs="*", what="names of AIModels; without any, all of them", where="of this namespace only")
    get.add_argument(
        "-o",
        "--output",
        choices=FORMATS,
        default="table",
        metavar="FORMAT",
        help="table (default), wide (with more columns), json, yaml or name",
    )
    get.add_argument("-w", "--watch", action="store_true", help="stay, and print each line that changes")


def _describe(verbs: Verbs) -> None:
    describe = _verb(
        verbs,
        "describe",
        "describe.describe",
        "all about an AIModel: spec, status, replicas, events, and why it is so",
        "",
        ("uplion describe smollm2", "in words"),
    )
    _names(describe, nargs="+")


def _edit(verbs: Verbs) -> None:
    edit = _verb(
        verbs,
        "edit",
        "edit.edit",
        "change an AIModel in your editor",
        """Opens $UPLION_EDITOR, $VISUAL, $EDITOR or vi. A text that is not valid comes back with what is wrong on
        top; an empty or unchanged one changes nothing. A change by somebody else meanwhile is noticed, and your text
        is kept in a file.""",
        ("EDITOR=nano uplion edit smollm2", ""),
    )
    _names(edit)


def _scale(verbs: Verbs) -> None:
    scale = _verb(
        verbs,
        "scale",
        "scale.scale",
        "set the replicas of an AIModel, or the bounds of its autoscaler",
        "",
        ("uplion scale smollm2 --replicas 2 --wait", "without an autoscaler; 0 stops it"),
        ("uplion scale smollm2 --min 0 --max 4 --threshold 8", "a replica for each 8 requests, 0 to 4 of them"),
        ("uplion scale smollm2 --pause", "hold the autoscaler at what there is; --resume lets it go"),
        ("uplion scale smollm2 --threshold 0", "no autoscaler any more"),
    )
    _names(scale)
    scale.add_argument("--replicas", type=whole, metavar="N", help="N of them, where no autoscaler runs; 0 stops it")
    scale.add_argument("--min", type=whole, metavar="N", help="at least N; 0 lets it sleep until a request comes")
    scale.add_argument("--max", type=whole, metavar="N", help="at most N")
    scale.add_argument(
        "--threshold",
        type=whole,
        metavar="N",
        help="autoscale: a replica for every N requests that wait or run; 0 ends it",
    )
    held = scale.add_mutually_exclusive_group()
    held.add_argument("--pause", dest="paused", action="store_const", const=True, help="hold the autoscaler")
    held.add_argument("--resume", dest="paused", action="store_const", const=False, help="let the autoscaler go on")
    _wait(scale, "return when all replicas that are wanted can answer")


def _restart(verbs: Verbs) -> None:
    restart = _verb(
        verbs,
        "restart",
        "restart.restart",
        "replace all replicas of an AIModel, one after the other",
        "Each finishes what it has in hand first, for up to 30 s.",
        ("uplion restart smollm2 --wait", "and return when the last one is new"),
    )
    _names(restart, nargs="+")
    _wait(restart, "return when all replicas are new and can answer")


def _delete(verbs: Verbs) -> None:
    delete = _verb(
        verbs,
        "delete",
        "delete.delete",
        "stop AIModels and remove everything of them",
        """Replicas finish what they have in hand, for up to 30 s; requests that wait get an error. On a terminal it
        asks first.""",
        ("uplion delete smollm2 --wait", "and return when it is gone"),
        ("uplion delete -f model.yaml --yes", "what a file names, without a question"),
    )
    _names(delete, nargs="*")
    _files(delete, required=False)
    delete.add_argument("-y", "--yes", action="store_true", help="do not ask")
    _wait(delete, "return when it is gone")


def _logs(verbs: Verbs) -> None:
    logs = _verb(
        verbs,
        "logs",
        "logs.logs",
        "print what replicas log; with several, each line names its own",
        "Parts of the box are gateway (the API node), nats-server (the queue), uplion and serve (who leads).",
        ("uplion logs smollm2 -f", "follow all replicas, also those that come later"),
        ("uplion logs smollm2 --tail 20 --timestamps", "the last lines"),
        ("uplion logs gateway -f", "the API node"),
    )
    _names(logs, what="an AIModel, one of its replicas, or a part of the box")
    which = logs.add_mutually_exclusive_group()
    which.add_argument("-f", "--follow", action="store_true", help="stay, and print new lines until it is deleted")
    which.add_argument("-p", "--previous", action="store_true", help="of the run before the newest start")
    logs.add_argument(
        "--tail", type=whole, default=1_000, metavar="N", help="the last N lines of each log, %(default)s by default"
    )
    logs.add_argument("--replica", metavar="R", help="of this replica only, also of one that is gone")
    logs.add_argument("--timestamps", action="store_true", help="begin lines with their time, in UTC")


def _events(verbs: Verbs) -> None:
    events = _verb(
        verbs,
        "events",
        "events.events",
        "what happened in the last seven days, newest last",
        "",
        ("uplion events --for smollm2", "to one model"),
        ("uplion events -w -o json", "as they come, an object a line"),
    )
    _namespace(events, "of this namespace only")
    events.add_argument("--for", dest="model", metavar="NAME", help="of this AIModel only")
    events.add_argument("-w", "--watch", action="store_true", help="stay, and print what happens")
    _table_or_json(events)


def _top(verbs: Verbs) -> None:
    top = _verb(
        verbs,
        "top",
        "top.top",
        "load of models, GPUs and host",
        "",
        ("uplion top -w", "and again every two seconds"),
    )
    top.add_argument("-w", "--watch", action="store_true", help="stay, and print them every two seconds")


def _chat(verbs: Verbs) -> None:
    chat = _verb(
        verbs,
        "chat",
        "chat.chat",
        "ask a model; the answer streams",
        """Without PROMPT it reads standard input, or, on a terminal, holds a conversation: ctrl+c stops an answer,
        ctrl+d ends. Figures go to standard error, so that an answer can be piped.""",
        ("uplion chat smollm2 'Name a colour'", ""),
        ("uplion chat smollm2 < question.txt > answer.txt", ""),
    )
    _names(chat)
    chat.add_argument("prompt", nargs="?", metavar="PROMPT", help="the question")
    chat.add_argument("--system", metavar="TEXT", help="what the model is told before the question")
    chat.add_argument("--temperature", type=temperature, metavar="T", help="0 gives the same answer each time")
    chat.add_argument("--max-tokens", type=whole, metavar="N", help="at most N tokens in an answer")


def _rest(verbs: Verbs) -> None:
    doctor = _verb(
        verbs,
        "doctor",
        "doctor.doctor",
        "what works here, what is missing and how to get it",
        "The exit code is 1 when something that is needed is broken.",
        ("uplion doctor -o json", "for a script"),
    )
    _table_or_json(doctor)
    _verb(
        verbs,
        "crd",
        "crd.crd",
        "print the CustomResourceDefinition of AIModel",
        "",
        ("uplion crd | kubectl apply -f -", "make a cluster know AIModels"),
    )


def _verb(
    verbs: Verbs, name: str, command: str, what: str, more: str, *examples: tuple[str, str]
) -> argparse.ArgumentParser:
    text = f"{what[0].upper()}{what[1:]}."
    if more:
        text += "\n\n" + _filled(more)
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=what, description=text, epilog=_examples(*examples))
    verb.set_defaults(command=command)
    return verb


def _filled(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 100)


def _names(
    verb: argparse.ArgumentParser,
    nargs: str | None = None,
    what: str = "",
    where: str = "namespace of NAME, default when left out",
) -> None:
    """NAME with its namespace; `uplion get models -o name` prints names that are taken here."""
    if nargs is None:
        verb.add_argument("name", metavar="NAME", help=what or "name of an AIModel")
    else:
        verb.add_argument("names", nargs=nargs, default=[], metavar="NAME", help=what or "names of AIModels")
    _namespace(verb, where)


def _namespace(verb: argparse.ArgumentParser, what: str) -> None:
    verb.add_argument("-n", "--namespace", metavar="NS", help=what)


def _table_or_json(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "-o", "--output", choices=("table", "json"), default="table", metavar="FORMAT", help="table (default) or json"
    )


def _files(verb: argparse.ArgumentParser, *, required: bool) -> None:
    verb.add_argument(
        "-f",
        "--filename",
        dest="files",
        action="append",
        default=None if required else [],
        required=required,
        metavar="FILE",
        help="YAML or JSON; - reads standard input; may be repeated",
    )


def _wait(verb: argparse.ArgumentParser, what: str) -> None:
    verb.add_argument("--wait", action="store_true", help=what)
    verb.add_argument(
        "--timeout",
        type=duration,
        default=WAIT_S,
        metavar="TIME",
        help="give up after so long, with exit code 1; 5m by default",
    )


def _node_flags(verb: argparse.ArgumentParser) -> None:
    """Flags over settings of the same name; left out they are not there at all."""
    verb.add_argument(
        "--api-host", default=argparse.SUPPRESS, metavar="HOST", help="where the API listens, 127.0.0.1 by default"
    )
    verb.add_argument(
        "--api-port", default=argparse.SUPPRESS, type=port, metavar="PORT", help="its port, 8080 by default"
    )


def _look_flags(console: argparse.ArgumentParser) -> None:
    """Flags over settings of the console alone."""
    for name, what in {"--ascii": "draw in ASCII", "--read-only": "change nothing, until the key W allows it"}.items():
        console.add_argument(name, default=argparse.SUPPRESS, action="store_const", const="true", help=what)
    console.add_argument("--keys", default=argparse.SUPPRESS, choices=KEYS, help="keys as here (default) or as in k9s")


def _examples(*examples: tuple[str, str]) -> str:
    width = max(len(command) for command, _ in examples)
    lines: Sequence[str] = [f"  {command:{width}}  {what}".rstrip() for command, what in examples]
    return "\n".join(("examples:", *lines))
