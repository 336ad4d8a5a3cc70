"""Run as a script: `tied.py PARENT ARGV...` becomes ARGV, which the kernel kills when the thread that started it ends.

The usual hook for this runs Python between fork and exec, which can deadlock in a program with threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, argv: list[str]) -> None:
    """Replace this process by `argv`; returns only if the parent died before the kernel could be told."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == parent:
        try:
            os.execvp(argv[0], argv)
        except OSError as error:
            sys.exit(f"cannot start: {argv[0]}: {error.strerror}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
