"""The program: `uplion`, also `python -m console`."""

import sys


def main() -> int:
    """Run one command of `uplion`; its result is the process's exit code."""
    from console.commands.parser import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
