"""The program: `uplion`, also `python -m console`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from types import SimpleNamespace
from typing import Any

INTERRUPTED, CUT_OFF = 130, 141
"""Exit codes: what a shell makes of SIGINT and SIGPIPE."""
WITHOUT_ARGUMENTS = {"command": "console.console", "once": False}
"""What the parser makes of them; loading it would be a tenth of the time to the console's first frame."""


def main() -> int:
    """Run one command of `uplion`; its result is the process's exit code."""
    return run(sys.argv[1:])


def run(argv: Sequence[str]) -> int:
    """Parse and run one command; errors are a line each on standard error."""
    try:
        options = _parse(argv) if argv else SimpleNamespace(**WITHOUT_ARGUMENTS)
        _open_streams()
        module, _, function = options.command.rpartition(".")
        code = int(getattr(import_module(f"console.commands.{module}"), function)(options))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CUT_OFF
    except Exception as error:
        from console.commands.report import report

        return report(error)
    return code


def _open_streams() -> None:
    """Whoever closed standard output wants none: what is printed goes nowhere, and no character ends a command."""
    sys.stdin, sys.stdout, sys.stderr = (
        stream or os.fdopen(os.open(os.devnull, os.O_RDWR), mode)
        for stream, mode in ((sys.stdin, "r"), (sys.stdout, "w"), (sys.stderr, "w"))
    )
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]


def _parse(argv: Sequence[str]) -> Any:
    """The options of a command; ends the process where there is no such one."""
    from console.commands.parser import parser

    return parser().parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
