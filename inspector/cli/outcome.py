"""How a command ends: text on stdout, errors as one line on stderr, and an exit code. Imports nothing heavy.

0 answered, and fine · 1 answered "no" · 2 could not answer.
"""

from __future__ import annotations

import os
import sys

from inspector.errors import InspectorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

OK, NO, FAILED = 0, 1, 2
_DEFAULT_WIDTH = 100
_BOLD, _RED, _GREEN, _RESET = "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[0m"


def width() -> int:
    """Columns to lay out for: the terminal's, `COLUMNS`, or 100 where nobody looks."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and 0 < int(columns) < 10000:
        return max(int(columns), 40)
    try:
        return max(os.get_terminal_size(sys.stdout.fileno()).columns, 40)
    except (OSError, ValueError, AttributeError):
        return _DEFAULT_WIDTH


def use_color() -> bool:
    """Colour only on a terminal, and not against the user's word (`NO_COLOR`, `--no-color`, TERM=dumb)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return sys.stdout.isatty()


def _paint(line: str) -> str:
    for words, color in (("DOES NOT FIT", _RED), ("does not fit", _RED), (" fits ", _GREEN)):
        if words in line:
            return line.replace(words, f"{color}{words}{_RESET}")
    return line


def write(lines: Iterable[str]) -> None:
    """The answer, on stdout, in one go. A reader that stops reading (`| head`) is no error."""
    text = list(lines)
    if use_color():
        text = [f"{_BOLD}{line}{_RESET}" if i == 0 else _paint(line) for i, line in enumerate(text)]
    try:
        reconfigure = getattr(sys.stdout, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
        sys.stdout.write("\n".join(text) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes stdout once more at exit: give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def write_json(value: object) -> None:
    """The answer as JSON: ASCII, so that nothing in it reaches a terminal unescaped."""
    import json

    from inspector.report.escape import plain

    write([json.dumps(plain(value), indent=2, ensure_ascii=True, allow_nan=False)])


def complain(message: str, *, hint: str | None = None) -> None:
    """One line on stderr, and a hint when there is something to do."""
    from inspector.report.escape import escape

    text = f"error: {escape(message)}\n" + (f"hint: {escape(hint)}\n" if hint else "")
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (BrokenPipeError, UnicodeEncodeError):
        pass


def guarded(run: Callable[[], int]) -> int:
    """Runs a command; a known error becomes one line and exit code 2. Anything else is a bug and shows itself."""
    try:
        return run()
    except InspectorError as error:
        complain(str(error), hint=error.hint)
        return FAILED
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return OK
