"""Laying out lines: aligned columns, bars, wrapping. Width is an argument, nothing is measured here."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Final


# What our own lines hold beyond Latin; each takes one column. With anything else in it a text is measured by wcwidth.
_NARROW: Final = frozenset("–—…→←−█▉▊▋▌▍▎▏░▓✔✘≤≥≈“”‘’")
_ESCAPE: Final = "\x1b["  # what a file says has no such byte: reports escape it


def _is_narrow(text: str) -> bool:
    """Whether each character surely takes one column: Latin, and what we print ourselves."""
    return text.isascii() or all(c < "\u0300" or c in _NARROW for c in text)


def columns(text: str) -> int:
    """How many columns of a terminal a text takes: two for 漢 and most emoji, none for a combining accent."""
    if _ESCAPE in text:  # of ours: colour takes no columns
        text = "".join(piece if i == 0 else piece.partition("m")[2] for i, piece in enumerate(text.split(_ESCAPE)))
    if _is_narrow(text):
        return len(text)
    from wcwidth import wcswidth

    n: int = wcswidth(text)
    return n if n >= 0 else len(text)  # control characters have no width; reports escape them


def pad(text: str, width: int, align: str = "<") -> str:
    """The text filled up with spaces to `width` columns, on the right for "<", on the left for ">"."""
    space = " " * (width - columns(text))
    return space + text if align == ">" else text + space


def table(rows: Iterable[Sequence[str]], *, align: str, indent: str = "  ", gap: str = "  ") -> list[str]:
    """Rows as aligned lines; `align` holds one of < and > for each column."""
    cells = [tuple(row) for row in rows]
    widths = [max((columns(row[i]) for row in cells), default=0) for i in range(len(align))]
    lines = []
    for row in cells:
        parts = [pad(c, w, a) for c, w, a in zip(row, widths, align, strict=True)]
        lines.append((indent + gap.join(parts)).rstrip())
    return lines


def table_in(width: int, rows: Sequence[Sequence[str]], *, align: str, spared: Sequence[str]) -> list[str]:
    """The table in `width` columns: where it is wider, without those that are headed `spared`, one after another."""
    kept = list(range(len(align)))
    for name in (None, *spared):
        kept = [i for i in kept if rows[0][i] != name]
        lines = table([tuple(row[i] for i in kept) for row in rows], align="".join(align[i] for i in kept))
        if max(map(columns, lines)) <= width:
            break
    return lines


def _head(text: str, width: int) -> str:
    """As much of a text's beginning as `width` columns hold; no more than four characters a column."""
    if _is_narrow(text):
        return text[:width]
    from wcwidth import wcwidth

    taken = 0
    for i, char in enumerate(text[: 4 * width]):
        taken += max(wcwidth(char), 0)
        if taken > width:
            return text[:i]
    return text[: 4 * width]


def shorten(text: str, width: int) -> str:
    """At most `width` columns, the end marked by an ellipsis."""
    return text if columns(text) <= width else _head(text, max(width - 1, 1)) + "…"


def shorten_middle(text: str, width: int) -> str:
    """At most `width` columns, keeping both ends: names tell themselves apart at the end."""
    if columns(text) <= width:
        return text
    keep = max(width - 1, 2)
    return _head(text, keep - keep // 2) + "…" + _head(text[::-1], keep // 2)[::-1]


_UNITS: Final = frozenset({"B", "KiB", "MiB", "GiB", "TiB", "%"})


def _words(text: str) -> Iterable[str]:
    """The words of a text, a figure and its unit as one."""
    before = ""
    for word in text.split():
        if word.rstrip("),;:.") in _UNITS and before[-1:].isdigit():
            before += " " + word
            continue
        if before:
            yield before
        before = word
    if before:
        yield before


def wrap(text: str, *, width: int, indent: str = "") -> list[str]:
    """Words broken into lines of at most `width` columns, each but the first indented."""
    lines, line = [], ""
    for word in _words(text):
        if line and columns(line) + 1 + columns(word) > width:
            lines.append(line)
            line = indent + word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line] if line else lines


def flow(items: Iterable[str], *, width: int, sep: str = " · ") -> list[str]:
    """Items in a row, on as many lines of `width` columns as they need; one that is too long alone is wrapped."""
    lines: list[str] = []
    for item in items:
        if lines and columns(lines[-1]) + len(sep) + columns(item) <= width:
            lines[-1] += sep + item
        elif columns(item) <= width:
            lines.append(item)
        else:
            lines += wrap(item, width=width)
    return lines


def bar(share: float, width: int) -> str:
    """A bar of `share` (0 to 1) of `width` characters."""
    return "█" * max(0, min(width, round(share * width)))


def percent(part: int, whole: int) -> str:
    """A share in percent, one decimal; nothing of nothing is a dash."""
    return f"{part * 100 / whole:.1f}%" if whole else "–"


def join(items: Iterable[str], sep: str = " · ") -> str:
    """The non-empty items in a row."""
    return sep.join(item for item in items if item)
