"""Laying out lines: aligned columns, bars, wrapping. Width is an argument, nothing is measured here."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def table(rows: Iterable[Sequence[str]], *, align: str, indent: str = "  ", gap: str = "  ") -> list[str]:
    """Rows as aligned lines; `align` holds one of < and > for each column."""
    cells = [tuple(row) for row in rows]
    widths = [max((len(row[i]) for row in cells), default=0) for i in range(len(align))]
    lines = []
    for row in cells:
        parts = [c.rjust(w) if a == ">" else c.ljust(w) for c, w, a in zip(row, widths, align, strict=True)]
        lines.append((indent + gap.join(parts)).rstrip())
    return lines


def shorten(text: str, width: int) -> str:
    """At most `width` characters, the end marked by an ellipsis."""
    return text if len(text) <= width else text[: max(width - 1, 1)] + "…"


def shorten_middle(text: str, width: int) -> str:
    """At most `width` characters, keeping both ends: names tell themselves apart at the end."""
    if len(text) <= width:
        return text
    keep = max(width - 1, 2)
    return text[: keep - keep // 2] + "…" + text[-(keep // 2) :]


def wrap(text: str, *, width: int, indent: str = "") -> list[str]:
    """Words broken into lines of at most `width`, each but the first indented."""
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = indent + word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line] if line else lines


def bar(share: float, width: int) -> str:
    """A bar of `share` (0 to 1) of `width` characters."""
    return "█" * max(0, min(width, round(share * width)))


def percent(part: int, whole: int) -> str:
    """A share in percent, one decimal; nothing of nothing is a dash."""
    return f"{part * 100 / whole:.1f}%" if whole else "–"


def join(items: Iterable[str], sep: str = " · ") -> str:
    """The non-empty items in a row."""
    return sep.join(item for item in items if item)
