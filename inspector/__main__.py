"""Where `inspector` starts: the plain case at once, everything else through click."""

from __future__ import annotations

import os
import sys


def _is_plain(argv: list[str]) -> bool:
    """Whether this is `inspector FILE` or `inspector show FILE`, and nothing else."""
    if len(argv) == 2 and argv[0] == "show":
        argv = argv[1:]
    return len(argv) == 1 and not argv[0].startswith("-") and os.path.isfile(argv[0])


def main() -> None:
    """The console script. Exits with 0 (fine), 1 (the answer is no) or 2 (no answer)."""
    argv = sys.argv[1:]
    if _is_plain(argv):
        from inspector.cli.plain import run

        sys.exit(run(argv[-1]))
    from inspector.cli.group import run_command_line

    sys.exit(run_command_line(argv))


if __name__ == "__main__":
    main()
