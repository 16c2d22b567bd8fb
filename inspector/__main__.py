"""Where `inspector` starts: the plain questions at once, everything else through click."""

from __future__ import annotations

import sys


def main() -> None:
    """The console script. Exits with 0 (fine), 1 (the answer is no) or 2 (no answer)."""
    from inspector.cli.outcome import guarded
    from inspector.cli.plain import plain_command

    argv = sys.argv[1:]
    command = plain_command(argv)
    if command is not None:
        sys.exit(guarded(command))
    from inspector.cli.group import run_command_line

    sys.exit(run_command_line(argv))


if __name__ == "__main__":
    main()
