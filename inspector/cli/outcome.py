"""How a command ends: text on stdout, errors as one line on stderr, and an exit code. Imports nothing heavy.

0 answered, and fine · 1 answered "no" · 2 could not answer.
"""

from __future__ import annotations

import errno
import os
import sys

from inspector.errors import InspectorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Final, TextIO

    from inspector.report.look import Look

OK, NO, FAILED = 0, 1, 2
_DEFAULT_WIDTH = 100
_LONGEST_MESSAGE = 1000
# Signs of ours that an encoding may lack (cp1252 has no bars, cp437 no dashes, ASCII none); a column each where one
# says as much.
_SIGNS: Final[dict[str, str]] = {
    "×": "x", "·": "|", "–": "-", "—": "-", "−": "-", "→": ">", "←": "<", "≈": "~", "≤": "<=", "≥": ">=", "±": "~",
    "÷": "/", "³": "3", "“": '"', "”": '"', "‘": "'", "’": "'", "…": "~", "✔": "+", "✓": "+", "✘": "x", "✗": "x",
    "█": "#", "▉": "#", "▊": "#", "▋": "#", "▌": "#", "▍": "=", "▎": "-", "▏": "-", "▓": "#", "▒": ":", "░": ".",
    "─": "-", "│": "|", "├": "|", "└": "`", "┌": ".", "┐": ".", "┘": "'", "┤": "|", "●": "*", "•": "*",
    "▁": "_", "▂": "_", "▃": "-", "▄": "-", "▅": "=", "▆": "=", "▇": "#",
}  # fmt: skip
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
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not on_terminal():
        return False
    return not sys.stdout.isatty() or obeys_escapes()


def on_terminal() -> bool:
    """Whether somebody looks: stdout is a terminal, or goes to one in the end (CLICOLOR_FORCE=1 … | less -R)."""
    if os.environ.get("CLICOLOR_FORCE", "0") not in {"", "0"}:
        return sys.stdout is not None
    return sys.stdout is not None and sys.stdout.isatty()


def look() -> Look:
    """How to lay out for this stdout: bars and colour where somebody looks, ASCII where it knows no blocks."""
    from inspector.report.look import BLOCKS, Look

    if not on_terminal():
        return Look(width())
    try:
        BLOCKS.encode(getattr(sys.stdout, "encoding", None) or "ascii")
        bars = "blocks"
    except (UnicodeError, LookupError):
        bars = "ascii"
    return Look(width(), bars, use_color())


def obeys_escapes() -> bool:
    """Whether the terminal reads escape sequences: consoles of Windows must be asked to, and old ones decline."""
    if os.name != "nt":
        return True
    import ctypes

    kernel: Any = ctypes.WinDLL("kernel32") if hasattr(ctypes, "WinDLL") else None
    for number in (-11, -12):  # STD_OUTPUT_HANDLE, STD_ERROR_HANDLE
        handle, mode = kernel.GetStdHandle(number), ctypes.c_uint32()
        if kernel.GetConsoleMode(handle, ctypes.byref(mode)) and kernel.SetConsoleMode(handle, mode.value | 4):
            return True  # 4: ENABLE_VIRTUAL_TERMINAL_PROCESSING
    return False


def _paint(line: str) -> str:
    for words, color in (("does not fit", _RED), (" fits ", _GREEN)):
        if words in line:
            return line.replace(words, f"{color}{words}{_RESET}")
    return line


def _silence(stream: TextIO) -> None:
    """Give a stream that failed somewhere to go: Python flushes once more at exit, and would complain again."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError, AttributeError):
        return  # no file behind it: nothing is flushed either


def write(lines: Iterable[str], *, painted: bool = False) -> None:
    """The answer, on stdout, in one go; `painted`: it has its colours. A reader that stops (`| head`) is no error.

    Raises InspectorError where there is no stdout, or it takes no more (a full disk).
    """
    text = list(lines)
    if on_terminal():
        from inspector.report.text import folded

        text = folded(text, width())
    if not painted and use_color():
        text = [f"{_BOLD}{line}{_RESET}" if i == 0 else _paint(line) for i, line in enumerate(text)]
    if sys.stdout is None:  # >&-
        raise InspectorError("standard output is closed")
    try:
        sys.stdout.write("\n".join(text) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        _silence(sys.stdout)
    except OSError as error:
        if not _is_closed_pipe(error):
            raise _not_written(error) from None
        _silence(sys.stdout)


def write_bytes(data: bytes) -> None:
    """A document, on stdout, as it is. Raises InspectorError as `write` does."""
    if sys.stdout is None:
        raise InspectorError("standard output is closed")
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        if not _is_closed_pipe(error):
            raise _not_written(error) from None
        _silence(sys.stdout)


def _is_closed_pipe(error: OSError) -> bool:
    """Whether nobody reads any more; the C library of Windows says EINVAL where others say EPIPE."""
    return isinstance(error, BrokenPipeError) or (os.name == "nt" and error.errno == errno.EINVAL)


def _not_written(error: OSError) -> InspectorError:
    _silence(sys.stdout)
    return InspectorError(f"standard output: {(error.strerror or 'cannot be written').lower()}")


def write_json(value: object) -> None:
    """The answer as JSON: ASCII, so that nothing in it reaches a terminal unescaped."""
    import json

    from inspector.jsonable import jsonable
    from inspector.report.forms import written

    write([json.dumps(jsonable(value, written), indent=2, ensure_ascii=True, allow_nan=False)], painted=True)


def complain(message: str, *, hint: str | None = None) -> None:
    """One line on stderr, and a hint when there is something to do."""
    from inspector.report.escape import escape

    if sys.stderr is None:  # 2>&-
        return
    if len(message) > _LONGEST_MESSAGE:  # an argument of a thousand letters need not be told in full
        message = message[:_LONGEST_MESSAGE] + "…"
    _say(f"error: {escape(message)}\n" + (f"hint: {escape(hint)}\n" if hint else ""))


def remark(message: str) -> None:
    """One line on stderr about what was typed; the answer stands."""
    if sys.stderr is not None:
        _say(f"note: {message}\n")


def remark_shop_size(text: str) -> None:
    """That a size was read as shops mean it."""
    remark(f"{text}: G and GB are read as GiB (1024³ bytes), as cards and memory are sold")


def _say(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        _silence(sys.stderr)


def _sign(error: UnicodeError) -> tuple[str, int]:
    """The ASCII that stands for a sign of ours; what is not ours is spelled out."""
    assert isinstance(error, UnicodeEncodeError)
    lost = error.object[error.start : error.end]
    words = (_SIGNS.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lost)
    return "".join(words), error.end


def spell_out_signs() -> None:
    """Nothing that is printed can fail for want of a sign: consoles of cp1252 or LC_ALL=C are given ASCII for ours."""
    import codecs

    codecs.register_error("inspector.signs", _sign)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            ascii_only = _is_plain_locale() and stream.isatty()
            reconfigure(encoding="ascii" if ascii_only else None, errors="inspector.signs")


def _is_plain_locale() -> bool:
    """Whether the user's locale is C, whose terminals may know ASCII only: Python writes UTF-8 there (PEP 538, 540)."""
    if os.environ.get("PYTHONUTF8") or os.environ.get("PYTHONIOENCODING"):
        return False
    ctype = os.environ.get("LC_CTYPE", "")
    names = [os.environ.get("LC_ALL", ""), "" if ctype == "C.UTF-8" else ctype, os.environ.get("LANG", "")]
    return next(filter(None, names), "") in {"C", "POSIX"}  # Python itself sets C.UTF-8 in place of C


def guarded(run: Callable[[], int]) -> int:
    """Runs a command; a known error becomes one line and exit code 2. Anything else is a bug and shows itself."""
    spell_out_signs()
    try:
        return run()
    except InspectorError as error:
        complain(str(error), hint=error.hint)
        return FAILED
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        if _is_closed_pipe(error) and error.filename is None:
            _silence(sys.stdout)
            return OK
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        complain(str(_not_written(error)))  # click's own help, on a full disk
        return FAILED
