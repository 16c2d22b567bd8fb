"""What is going on, on one line of stderr: after the first second, on a terminal only, gone when it is over."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager

from inspector.cli.outcome import obeys_escapes
from inspector.report.escape import escape
from inspector.report.text import shorten_middle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final

QUIET_SECONDS: Final = 1.0
_BETWEEN: Final = 0.1
_CLEAR: Final = "\r\x1b[K"


@contextmanager
def progress_line() -> Iterator[Callable[[str], None] | None]:
    """A function that shows its words for the moment (any thread may call it), or None where nobody looks."""
    if not sys.stderr.isatty() or not obeys_escapes():
        yield None
        return
    lock = threading.Lock()
    start = time.monotonic()
    shown = 0.0

    def say(words: str) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - start < QUIET_SECONDS or now - shown < _BETWEEN:
            return
        with lock:
            shown = now
            sys.stderr.write(_CLEAR + shorten_middle(escape(words), 78))
            sys.stderr.flush()

    try:
        yield say
    finally:
        if shown:
            with lock:
                shown = float("inf")  # a thread that is still at it has nobody to tell
                sys.stderr.write(_CLEAR)
                sys.stderr.flush()
