"""Where `inspector` starts: the plain questions at once, everything else through click."""

from __future__ import annotations

import sys


def main() -> None:
    """The console script. Exits with 0 (fine), 1 (the answer is no) or 2 (no answer); 130 when interrupted."""
    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # while modules were being loaded
        code = 130
    sys.exit(code)


def run(argv: list[str]) -> int:
    """One command; its exit code."""
    from inspector.cli.outcome import guarded
    from inspector.cli.plain import plain_command

    command = plain_command(argv)
    if command is not None:
        return guarded(command)
    from inspector.cli.group import run_command_line

    return run_command_line(argv)


if __name__ == "__main__":
    main()
