"""Tensors that repeat from layer to layer as one row: `blk.[0-31].ffn_down.weight`."""

from __future__ import annotations

from inspector.record import Record
from inspector.report.escape import escape
from inspector.report.look import Look, with_bars
from inspector.report.text import columns, pad, percent, shorten_middle, table
from inspector.units import format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Final

    from inspector.formats.modelfile import TensorInfo

_MOST_RUNS: Final = 3  # of numbers that are told one by one
_ENOUGH: Final = 28  # columns of a name for which others give way
_MOST_DIGITS: Final = 9
_RIGHT: Final = frozenset({"", "bytes", "share"})
_SPARED: Final = (None, "share", "shape", "type", "")  # columns to leave out where there is no room, in this order


class Fold(Record):
    """Tensors of one shape whose names differ in numbers only, in order. `types`: (name, how many), most first."""

    name: str
    shape: tuple[int, ...]
    n: int
    nbytes: int
    types: tuple[tuple[str, int], ...]


def fold(tensors: Iterable[TensorInfo]) -> list[Fold]:
    """One fold a name and shape, in order of first appearance."""
    groups: dict[tuple[str, tuple[int, ...]], list[tuple[tuple[int, ...], TensorInfo]]] = {}
    for t in tensors:
        pattern, numbers = _pattern(t.name)
        groups.setdefault((pattern, t.shape), []).append((numbers, t))
    return [_fold(pattern, shape, members) for (pattern, shape), members in groups.items()]


def _pattern(name: str) -> tuple[str, tuple[int, ...]]:
    """A name with its numbers between dots taken out, and the numbers."""
    pieces, numbers = name.split("."), []
    for i, piece in enumerate(pieces):
        if piece.isascii() and piece.isdigit() and len(piece) <= _MOST_DIGITS:
            numbers.append(int(piece))
            pieces[i] = "\0"  # no name has it: reports escape it, and so it is no number's place
    return ".".join(pieces), tuple(numbers)


def _fold(pattern: str, shape: tuple[int, ...], members: Sequence[tuple[tuple[int, ...], TensorInfo]]) -> Fold:
    first = members[0][1]
    types: dict[str, int] = {}
    for _, t in members:
        name = t.dtype.name if t.dtype else t.dtype_name or "unknown"
        types[name] = types.get(name, 0) + 1
    name = first.name if len(members) == 1 else _with_ranges(pattern, [numbers for numbers, _ in members])
    most_first = tuple(sorted(types.items(), key=lambda item: -item[1]))
    return Fold(name, shape, len(members), sum(t.nbytes or 0 for _, t in members), most_first)


def _with_ranges(pattern: str, numbers: Sequence[tuple[int, ...]]) -> str:
    slots = [sorted(set(slot)) for slot in zip(*numbers, strict=False)]
    pieces = pattern.split(".")
    places = [i for i, piece in enumerate(pieces) if piece == "\0"]
    for i, slot in zip(places, slots, strict=False):
        pieces[i] = str(slot[0]) if len(slot) == 1 else f"[{ranges(slot)}]"
    return ".".join(pieces)


def ranges(numbers: Sequence[int]) -> str:
    """Sorted numbers as runs: `0-3,8,10-31`; of many runs the ends: `0…46`."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and n == runs[-1][1] + 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    words = [str(a) if a == b else f"{a}-{b}" for a, b in runs]
    return ",".join(words) if len(words) <= _MOST_RUNS else f"{numbers[0]}…{numbers[-1]}"


def fold_lines(folds: Sequence[Fold], *, look: Look, total: int, more: Sequence[Fold] = ()) -> list[str]:
    """A table of folds with their shares of `total` bytes and, where somebody looks, bars; `more` in one row."""
    cells: dict[str, list[str]] = {
        "": [f"{f.n:,} ×" if f.n > 1 else "" for f in folds],
        "shape": [shape_words(f.shape) for f in folds],
        "type": [_types(f) for f in folds],
        "bytes": [format_nbytes(f.nbytes) for f in folds],
        "share": [percent(f.nbytes, total) for f in folds],
    }
    sizes = [f.nbytes for f in folds]
    names = [escape(f.name) for f in folds]
    if more:
        sizes.append(sum(f.nbytes for f in more))
        names.append(f"{sum(f.n for f in more):,} more")
        row = {"bytes": format_nbytes(sizes[-1]), "share": percent(sizes[-1], total)}
        cells = {name: [*values, row.get(name, "")] for name, values in cells.items()}
    return _laid_out(names, cells, sizes, look=look, total=total)


def _laid_out(
    names: Sequence[str], cells: dict[str, list[str]], sizes: Sequence[int], *, look: Look, total: int
) -> list[str]:
    """Bars give way first, then names, then columns, but never what a name is known by."""
    longest = max(columns(n) for n in ("name", *names))
    for spared in _SPARED:
        if spared is not None:
            cells.pop(spared, None)
        rows = list(zip(*cells.values(), strict=True))
        lines = table([tuple(cells), *rows], align="".join(">" if c in _RIGHT else "<" for c in cells), indent="")
        taken = max(map(columns, lines)) + 4
        if look.width - taken >= min(longest, _ENOUGH):
            break
    room = max(min(longest, look.width - taken), 12)
    found = [f"  {pad(shorten_middle(n, room), room)}  {x}" for n, x in zip(("name", *names), lines, strict=True)]
    return with_bars(found, sizes, look=look, total=total)


def shape_words(shape: Sequence[int]) -> str:
    """`4096 × 14336`, outermost first."""
    return " × ".join(map(str, shape)) or "scalar"


def _types(f: Fold) -> str:
    if len(f.types) == 1:
        return escape(f.types[0][0])
    return ", ".join(f"{n:,} {escape(name)}" for name, n in f.types[:3]) + (", …" if len(f.types) > 3 else "")
