"""A start-up log as a record, and the bounds within which one is read."""

from __future__ import annotations

from inspector.errors import InspectorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from inspector.logs.records import StartupLog

MAX_LOG: Final = 32 << 20  # bytes; a start-up with every debug line is a few MiB
MAX_LINES: Final = 400_000
MAX_LINE: Final = 4096  # characters of a line that are looked at


def log_lines(text: str) -> list[str]:
    """The lines of a log, cut at `MAX_LINE` characters. Raises InspectorError for more than a log has."""
    if len(text) > MAX_LOG:
        raise InspectorError(f"a log of more than {MAX_LOG >> 20} MiB", hint="cut it after the start-up")
    if text.count("\n") > MAX_LINES:
        raise InspectorError(f"a log of more than {MAX_LINES:,} lines", hint="cut it after the start-up")
    return [line[:MAX_LINE] for line in text.splitlines()]


def read_startup_log(text: str) -> StartupLog:
    """The first start-up that a log of llama.cpp or vLLM holds.

    Sizes in bytes. Raises InspectorError when neither engine's buffer lines are in it.
    """
    from inspector.logs.llamacpp import read_llamacpp
    from inspector.logs.vllm import read_vllm

    lines = log_lines(text)
    for read in (read_llamacpp, read_vllm):
        log = read(lines)
        if log is not None:
            return log
    raise InspectorError(
        "no buffer sizes of llama.cpp or vLLM in this log",
        hint="llama.cpp prints them from '-lv 4' on; vLLM at its default level",
    )
