"""Laying out lines: aligned columns, bars, wrapping. Width is an argument, nothing is measured here."""

from __future__ import annotations

from inspector.record import Record

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


class TableLine(str):
    """A line of a table that knows its row and its table, so that a narrow terminal can have it in several lines."""

    __slots__ = ("row", "table")
    row: tuple[str, ...]
    table: Table

    def __new__(cls, text: str, row: tuple[str, ...], table: Table) -> TableLine:  # noqa: PYI034 - no sub-classes
        """The line as it stands where there is room."""
        line = super().__new__(cls, text)
        line.row, line.table = row, table
        return line


class Table(Record):
    """What all lines of a table share: column widths, how they are aligned, and the heads, where it has any."""

    widths: tuple[int, ...]
    align: str
    head: tuple[str, ...]
    indent: str
    gap: str

    @property
    def width(self) -> int:
        """Columns that its widest line may take."""
        return len(self.indent) + sum(self.widths) + len(self.gap) * (len(self.widths) - 1)

    def line(self, row: tuple[str, ...]) -> TableLine:
        """A row as one line."""
        parts = [pad(c, w, a) for c, w, a in zip(row, self.widths, self.align, strict=True)]
        return TableLine((self.indent + self.gap.join(parts)).rstrip(), row, self)

    def folded(self, row: tuple[str, ...], width: int) -> list[str]:
        """A row in `width` columns: its last text wrapped, or its first cell alone and the others named below it."""
        before = self.width - self.widths[-1]
        if self.align[-1] == "<" and width - before >= _LEAST_TEXT:
            cells = self.line((*row[:-1], "")).ljust(before)
            first, *more = wrap(row[-1], width=width - before) or [""]
            return [(cells + first).rstrip(), *(" " * before + line for line in more)]
        if row == self.head:
            return []
        names = self.head or ("",) * len(row)
        said = [f"{name} {cell}".strip() for name, cell in zip(names[1:], row[1:], strict=True) if cell]
        title = shorten_middle(row[0], width - len(self.indent))
        return [
            self.indent + title,
            *(self.indent + "    " + x for x in flow(said, width=width - len(self.indent) - 4)),
        ]


_LEAST_TEXT: Final = 24  # columns that a text is wrapped in beside others


def table(
    rows: Iterable[Sequence[str]], *, align: str, indent: str = "  ", gap: str = "  ", head: bool = True
) -> list[str]:
    """Rows as aligned lines; `align` holds one of < and > for each column. `head`: the first names the columns."""
    cells = [tuple(row) for row in rows]
    widths = tuple([max((columns(row[i]) for row in cells), default=0) for i in range(len(align))])
    made = Table(widths, align, cells[0] if head and cells else (), indent, gap)
    return [made.line(row) for row in cells]


def folded(lines: Iterable[str], width: int) -> list[str]:
    """Lines with tables that are wider than `width` columns laid out anew, so that no cell of them is cut."""
    found: list[str] = []
    for line in lines:
        wide = isinstance(line, TableLine) and line.table.width > width
        found += line.table.folded(line.row, width) if wide and isinstance(line, TableLine) else [line]
    return found


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


def _pieces(words: Iterable[str], width: int) -> Iterable[str]:
    """The words, those that no line holds cut into pieces: hashes, paths."""
    for word in words:
        rest = word
        while columns(rest) > width:
            piece = _head(rest, width)
            if not piece:
                break
            yield piece
            rest = rest[len(piece) :]
        if rest:
            yield rest


def wrap(text: str, *, width: int, indent: str = "", cut: bool = False) -> list[str]:
    """Words broken into lines of at most `width` columns, each but the first indented.

    A word that no line holds stands alone, or is cut into pieces (`cut`).
    """
    lines, line = [], ""
    for word in _pieces(_words(text), max(width - columns(indent), 8)) if cut else _words(text):
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
