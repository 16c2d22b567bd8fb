"""`tensors` and `meta`: what the file says, line by line."""

from __future__ import annotations

from inspector.architectures.roles import layer_of, role_of
from inspector.formats.modelfile import LongArray
from inspector.report.escape import escape
from inspector.report.folding import fold, fold_lines, shape_words
from inspector.report.text import columns, pad, percent, shorten, shorten_middle, table, wrap
from inspector.units import format_count, format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from inspector.formats.modelfile import TensorInfo
    from inspector.report import documents
    from inspector.report.look import Look

_LEAST_VALUE = 20  # columns of a value beside its key
_LEAST_NAME = 16  # columns of a tensor's name beside its figures
_SORTS: Mapping[str, Callable[[TensorInfo], Any]] = {
    "size": lambda t: (-(t.nbytes or 0), t.name),
    "name": lambda t: _natural(t.name),
    "offset": lambda t: t.offset,
}
_GROUPS: Mapping[str, Callable[[TensorInfo], str]] = {
    "dtype": lambda t: t.dtype.name if t.dtype else t.dtype_name or "unknown",
    "layer": lambda t: "–" if (i := layer_of(t.name)) is None else str(i),
    "role": lambda t: role_of(t.name),
}


def _natural(name: str) -> list[tuple[int, int, str]]:
    """blk.2 before blk.10."""
    return [(0, int(p), "") if p.isascii() and p.isdigit() and len(p) < 10 else (1, 0, p) for p in name.split(".")]


def dtype_name(tensor: TensorInfo) -> str:
    """The element type's name, known or not."""
    return tensor.dtype.name if tensor.dtype else tensor.dtype_name or "unknown"


def sort_tensors(tensors: Iterable[TensorInfo], order: str | None) -> list[TensorInfo]:
    """By size (largest first), name (numbers as numbers) or offset; file order without a word."""
    return sorted(tensors, key=_SORTS[order]) if order else list(tensors)


def tensor_json(tensor: TensorInfo) -> documents.Tensor:
    """One tensor as JSON and CSV carry it."""
    return {
        "name": tensor.name, "shape": tensor.shape, "dtype": dtype_name(tensor),
        "n_elements": tensor.n_elements, "nbytes": tensor.nbytes, "offset": tensor.offset,
    }  # fmt: skip


def folded_lines(tensors: Sequence[TensorInfo], *, order: str | None, look: Look) -> list[str]:
    """A table of tensors, those that repeat from layer to layer as one row, with a total."""
    folds = fold(tensors)
    if order == "size":
        folds.sort(key=lambda f: -f.nbytes)
    total = sum(t.nbytes or 0 for t in tensors)
    lines = fold_lines(folds, look=look, total=total) if folds else []
    each = " · each of them: --all" if len(folds) < len(tensors) else ""
    return [*lines, "", *_sum_lines(tensors, each, look.width)]


def _sum_lines(tensors: Sequence[TensorInfo], more: str, width: int) -> list[str]:
    total = sum(t.nbytes or 0 for t in tensors)
    words = f"{len(tensors):,} tensors, {total:,} B ({format_nbytes(total)}){more}"
    return ["  " + line for line in wrap(words, width=width - 2)]


def tensor_lines(tensors: Sequence[TensorInfo], *, width: int) -> list[str]:
    """A table of every tensor with a total."""
    rows = [("name", "shape", "type", "elements", "bytes", "offset")]
    for t in tensors:
        shape = shape_words(t.shape)
        size = "?" if t.nbytes is None else f"{t.nbytes:,}"
        rows.append((escape(t.name), shape, escape(dtype_name(t)), f"{t.n_elements:,}", size, f"{t.offset:,}"))
    taken = sum(max(columns(r[i]) for r in rows) for i in range(1, 6)) + 12
    room = width - taken if width - taken >= _LEAST_NAME else width - 2  # then each has lines of its own
    cells = [(shorten_middle(r[0], room), *r[1:]) for r in rows]
    return [*table(cells, align="<<<>>>"), "", *_sum_lines(tensors, "", width)]


def group_json(tensors: Sequence[TensorInfo], by: str) -> list[Any]:
    """Sums over tensors that share a dtype, layer or role, in order of first appearance."""
    groups: dict[str, list[int]] = {}
    for t in tensors:
        entry = groups.setdefault(_GROUPS[by](t), [0, 0, 0])
        entry[0] += 1
        entry[1] += t.n_elements
        entry[2] += t.nbytes or 0
    return [{by: k, "n_tensors": n, "n_elements": e, "nbytes": b} for k, (n, e, b) in groups.items()]


def group_lines(groups: Sequence[Mapping[str, Any]], by: str) -> list[str]:
    """The sums as a table with shares."""
    total = sum(g["nbytes"] for g in groups)
    rows = [(by, "tensors", "elements", "bytes", "", "share")]
    rows += [
        (escape(str(g[by])), f"{g['n_tensors']:,}", format_count(g["n_elements"]), f"{g['nbytes']:,}",
         format_nbytes(g["nbytes"]), percent(g["nbytes"], total))
        for g in groups
    ]  # fmt: skip
    return table(rows, align="<>>>>>")


def value_text(value: Any, *, full: bool = False, width: int = 100) -> str:
    """A metadata value on one line: long texts and arrays are summed up unless `full`."""
    if isinstance(value, LongArray):
        head = ", ".join(value_text(v, width=24) for v in value.head)
        return f"[{value.length:,} × {value.elem}] {head}, …" if value.length > len(value.head) else f"[{head}]"
    if isinstance(value, str):
        return escape(value) if full else shorten(escape(value), width)
    if isinstance(value, tuple | list):
        text = "[" + ", ".join(value_text(v, full=full, width=40) for v in value) + "]"
        return text if full else shorten(text, width)
    if isinstance(value, dict) or hasattr(value, "items"):
        text = (
            "{" + ", ".join(f"{escape(str(k))}: {value_text(v, full=full, width=40)}" for k, v in value.items()) + "}"
        )
        return text if full else shorten(text, width)
    return escape(str(value))


def meta_lines(
    metadata: Mapping[str, Any], types: Mapping[str, str], *, full: bool = False, width: int = 100
) -> list[str]:
    """Keys, their stored types and values."""
    keys = [(escape(k), escape(types.get(k, ""))) for k in metadata]
    name_width = min(max((columns(k) for k, _ in keys), default=0), 48)
    type_width = max((columns(t) for _, t in keys), default=0)
    beside = width - name_width - type_width - 6 >= _LEAST_VALUE
    room = width - name_width - type_width - 6 if beside else max(width - type_width - 8, _LEAST_VALUE)
    lines = []
    for (key, type_), value in zip(keys, metadata.values(), strict=True):
        text = value_text(value, full=full, width=room)
        text = text if full else shorten(text, room)
        if beside:
            lines.append(f"  {pad(key, name_width)}  {pad(type_, type_width)}  {text}".rstrip())
        else:
            lines += [f"  {shorten_middle(key, width - 2)}", f"      {pad(type_, type_width)}  {text}".rstrip()]
    return lines
