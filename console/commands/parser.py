"""The command line: names, flags and help; what a command does is loaded when it is asked for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

OK, FAILED, USAGE = 0, 1, 2


def run(argv: Sequence[str]) -> int:
    """Parse and run one command; prints errors as one line each, and returns the exit code."""
    options = parser().parse_args(argv)
    module, _, function = options.command.rpartition(".")
    return int(getattr(import_module(f"console.commands.{module}"), function)(options))


def parser() -> argparse.ArgumentParser:
    """All commands with their help."""
    top = argparse.ArgumentParser(prog="uplion", description="Serve AI models from one terminal.")
    top.set_defaults(command="console.console")
    commands = top.add_subparsers(title="commands", metavar="COMMAND")
    serve = commands.add_parser("serve", help="lead this box without a console")
    serve.add_argument("--lock-fd", type=int, help=argparse.SUPPRESS)
    serve.add_argument("--handover-fd", type=int, help=argparse.SUPPRESS)
    serve.set_defaults(command="serve.serve")
    apply = commands.add_parser("apply", help="create or change AIModels from a file")
    apply.add_argument("-f", "--filename", required=True, metavar="FILE", help="YAML or JSON; - reads standard input")
    apply.set_defaults(command="models.apply")
    get = commands.add_parser("get", help="list AIModels")
    get.add_argument("kind", choices=["models"])
    get.add_argument("name", nargs="?")
    get.set_defaults(command="models.get")
    return top
