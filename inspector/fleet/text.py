"""Words of a file as a table takes them."""

from __future__ import annotations

from inspector.report.escape import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

MOST_TEXT: Final = 1000
_MOST_INT: Final = (1 << 63) - 1  # a larger one is a broken file's, and no table has a column for it


def text(value: object, most: int = MOST_TEXT) -> str | None:
    """A text of a file: nothing unprintable, not without end; None for what is no text."""
    if not isinstance(value, str) or not value:
        return None
    return escape(value if len(value) <= most else value[:most] + "…")


def bounded(value: Any) -> Any:
    """A value, or None for a number that no column holds."""
    if isinstance(value, int) and not -_MOST_INT <= value <= _MOST_INT:
        return None
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [{k: bounded(v) for k, v in one.items()} for one in value]
    return value
