"""Tables over many settings or layers: `memory --sweep`, with a bar of each total, and `memory --layers`."""

from __future__ import annotations

from inspector.report.escape import escape
from inspector.report.look import BOLD, COLORS, DIM, Look, Segment, bar
from inspector.report.memory import WORDS, dominant, overtakes, part_sums
from inspector.report.names import model_name
from inspector.report.text import columns, shorten_middle, table, table_in, wrap
from inspector.units import format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, Final

    from inspector.memory.breakdown import LayerRow
    from inspector.memory.estimate import Estimate

_LONGEST_BAR: Final = 40
_VERDICTS: Final = {True: "fits", False: "does not fit", None: ""}
_AXES: Final = {"ctx": "context", "np": "sequences", "kv": "cache"}


def sweep_lines(target: str, axis: str, points: Sequence[tuple[Any, Estimate]], *, look: Look) -> list[str]:
    """A table of parts and totals, which part is the largest at each point, and a bar of the total."""
    engine = points[0][1].engine if points else ""
    first = f"{shorten_middle(model_name(target), look.width - columns(engine) - 3)} · {engine}"
    lines = [look.paint(first, BOLD), "", *_with_bars(_fitting(axis, points, look.width), points, look)]
    if axis == "ctx":
        at = overtakes(points)
        more = f"overtakes the weights at {at:,} tokens" if at else "stays smaller than the weights"
        lines += ["", *("  " + line for line in wrap(f"the KV cache {more}", width=look.width - 2))]
    return lines


def _fitting(axis: str, points: Sequence[tuple[Any, Estimate]], width: int) -> list[str]:
    """The table with as many of its columns as the width holds; what is nothing anywhere is left out."""
    sums = [part_sums(e) for _, e in points]
    parts = [p for p in WORDS if any(s.get(p) for s in sums)]
    mostly = True
    while True:
        lines = _table(axis, points, parts, mostly=mostly)
        if max(map(columns, lines)) <= width or not parts:
            return lines
        if len(parts) > 1 or not mostly:
            parts.remove(min(parts, key=lambda p: _range(s.get(p, 0) for s in sums)))
        else:
            mostly = False


def _range(sizes: Iterable[int]) -> tuple[int, int]:
    """By how much a part changes over the points, and the most that it is: what hardly changes tells least."""
    found = list(sizes)
    return max(found) - min(found), max(found)


def _table(axis: str, points: Sequence[tuple[Any, Estimate]], parts: Sequence[str], *, mostly: bool) -> list[str]:
    judged = any(e.fits is not None for _, e in points)
    rows = [(_AXES[axis], "total", *(WORDS[p] for p in parts), *["mostly"] * mostly, *["verdict"] * judged)]
    for value, e in points:
        sums = part_sums(e)
        name = f"{value:,}" if isinstance(value, int) else escape(str(value))
        sizes = (format_nbytes(sums.get(p, 0)) for p in parts)
        words = (*[WORDS.get(dominant(e)[0], "")] * mostly, *[_VERDICTS[e.fits]] * judged)
        rows.append((name, format_nbytes(e.total_nbytes), *sizes, *words))
    return table(rows, align=">>" + ">" * len(parts) + "<" * (mostly + judged))


def _with_bars(lines: Sequence[str], points: Sequence[tuple[Any, Estimate]], look: Look) -> list[str]:
    """Each row with a bar of its total, where there is room."""
    taken = max(map(columns, lines)) + 2
    wide = min(look.width - taken, _LONGEST_BAR)
    top = max((e.total_nbytes for _, e in points), default=0)
    if wide < 8 or not look.bars:
        return [look.paint(lines[0], DIM), *lines[1:]]
    bars = [bar(look, _segments(e), scale=max(top, 1), width=wide) for _, e in points]
    drawn = (line + " " * (taken - columns(line)) + b for line, b in zip(lines[1:], bars, strict=True))
    return [look.paint(lines[0], DIM), *drawn]


def _segments(e: Estimate) -> list[Segment]:
    return [Segment(nbytes, COLORS.get(what, "")) for what, nbytes in part_sums(e).items()]


def layer_lines(rows: Sequence[LayerRow], *, width: int) -> list[str]:
    """The cache layer by layer, runs of equal layers on one line."""
    runs: list[tuple[LayerRow, int]] = []
    for row in rows:
        if runs and runs[-1][0].replace(index=0) == row.replace(index=0):
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((row, 1))
    cells = [("layers", "kind", "cells", "bytes each", "size", "decided by")]
    for row, n in runs:
        name = str(row.index) if n == 1 else f"{row.index}–{row.index + n - 1}"
        size = "unknown" if row.nbytes is None else f"{row.nbytes:,}"
        words = "" if row.nbytes is None else format_nbytes(row.nbytes)
        count = "" if row.cells is None else f"{row.cells:,}"
        cells.append((name, escape(row.kind), count, size, words, escape(row.decided_by)))
    return ["", *table_in(width, cells, align="<<>>><", spared=("decided by", "size", "cells"))]
