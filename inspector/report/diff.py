"""`diff`: what changed, sort by sort; the same as JSON."""

from __future__ import annotations

from inspector.comparison.values import HOW
from inspector.report.escape import escape
from inspector.report.tensors import value_text
from inspector.report.text import columns, shorten, shorten_middle, table, wrap
from inspector.units import format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from inspector.comparison import Change, Diff
    from inspector.report import documents

_TITLES: Final = {
    "metadata": "metadata", "config": "config.json", "fact": "facts", "tensor": "tensors", "values": "values",
}  # fmt: skip
_MARKS: Final = {"added": "+", "removed": "-", "changed": "~", "renamed": "→", "reshaped": "~", "requantised": "~"}


def diff_json(found: Diff, caches: tuple[int | None, int | None]) -> documents.Diff:
    """The schema `inspector.diff/1`. `caches`: bytes of one sequence's cache on each side."""
    return {
        "schema": "inspector.diff/1",
        "a": found.a,
        "b": found.b,
        "equal": _equal(found),
        "changes": found.changes,
        "tensors_nbytes": {"a": found.tensors_nbytes_a, "b": found.tensors_nbytes_b},
        "n_params": {"a": found.n_params_a, "b": found.n_params_b},
        "cache_nbytes": {"a": caches[0], "b": caches[1]},
        "values": {"equal": found.values_equal, "by": found.values_by or None},
        "notes": found.notes,
    }


def _equal(found: Diff) -> bool | None:
    """Whether the two are the same; None where all that was compared is, and values were not compared."""
    return False if not found.is_empty else found.values_equal


def _form(value: Any, width: int) -> str:
    if value is None:
        return ""
    if isinstance(value, dict) and "dtype" in value:
        return f"{escape(value['dtype'])} {' × '.join(map(str, value['shape'])) or 'scalar'}"
    return value_text(value, width=width)


def _forms(before: Any, after: Any, width: int) -> tuple[str, str]:
    """Two values as text; where they begin alike beyond what is shown, from shortly before they differ."""
    texts = _form(before, width), _form(after, width)
    if texts[0] != texts[1] or before is None or after is None:
        return texts
    whole = [value_text(x, full=True, width=width) for x in (before, after)]
    same = next((i for i, (x, y) in enumerate(zip(*whole, strict=False)) if x != y), min(map(len, whole)))
    start = max(same - width // 3, 0)
    first, second = (shorten(("…" if start else "") + text[start:], width) for text in whole)
    return first, second


def _change_lines(changes: list[Change], width: int) -> list[str]:
    """A line a change where all of it fits; else the name, and under it what stood there before and after."""
    rows = [_row(c, width - 9) for c in changes]
    fitting: dict[tuple[str, ...], str] = {}
    for n in (3, 4):
        alike = [row for row in rows if len(row) == n]
        fitting |= zip(alike, _fitting(alike, width), strict=True)
    lines: list[str] = []
    for change, row in zip(changes, rows, strict=True):
        if line := fitting.get(row):
            lines.append(line)
            continue
        signs = "+" if change.before is None else "-+"
        lines.append(f"    {row[0]}  {shorten_middle(row[1], width - 7)}")
        values = [text for text in row[2:] if text != "→"]
        lines += [f"       {sign} {shorten(text, width - 9)}" for sign, text in zip(signs, values, strict=False)]
    return lines


def _row(change: Change, room: int) -> tuple[str, ...]:
    """Mark, name, and one value or two."""
    mark, name = _MARKS[change.kind], escape(change.name)
    if change.kind == "renamed":
        return mark, escape(str(change.before)), "→", escape(str(change.after))
    values = _forms(change.before, change.after, room)
    return mark, name, *(values if change.before is not None and change.after is not None else (max(values),))


def _fitting(rows: list[tuple[str, ...]], width: int) -> list[str]:
    """The rows as a table of the columns that the narrow ones need; "" for each that does not fit its width."""
    narrow = [r for r in rows if len(r) == 3 or all(columns(x) <= width // 3 for x in r[2:])]
    narrow = [r for r in narrow if 4 + sum(columns(x) + 2 for x in r) <= width + 2]
    lines = (
        dict(zip(narrow, table(narrow, align="<" * len(rows[0]), indent="    ", head=False), strict=True))
        if narrow
        else {}
    )
    return [line if columns(line := lines.get(r, "")) <= width else "" for r in rows]


def _requantised(changes: list[Change]) -> list[str]:
    """Tensors that only changed their type, summed by pair of types."""
    pairs: dict[tuple[str, str], list[int]] = {}
    for c in changes:
        entry = pairs.setdefault((c.before["dtype"], c.after["dtype"]), [0, 0, 0])
        for i, n in enumerate((1, c.before["nbytes"] or 0, c.after["nbytes"] or 0)):
            entry[i] += n
    rows = [
        ("~", f"{n:,} tensors", f"{escape(a)} → {escape(b)}", f"{format_nbytes(x)} → {format_nbytes(y)}")
        for (a, b), (n, x, y) in sorted(pairs.items())
    ]
    return table(rows, align="<><>", indent="    ", head=False)


def _values(found: Diff) -> str:
    if found.values_equal is None:
        return "not compared (--hash: whole files; --values: tensor by tensor)"
    return ("equal" if found.values_equal else "differ") + (f", by {HOW[found.values_by]}" if found.values_by else "")


def _delta(a: int | None, b: int | None) -> str:
    if a is None or b is None:
        return "unknown"
    sign = "+" if b >= a else "−"
    return f"{format_nbytes(a)} → {format_nbytes(b)} ({sign}{format_nbytes(abs(b - a))})"


def diff_lines(found: Diff, caches: tuple[int | None, int | None], n_ctx: int, *, width: int, most: int) -> list[str]:
    """Changes sort by sort, at most `most` of each; then bytes gained or lost."""
    lines = [f"{shorten(escape(found.a), width)}", f"{shorten(escape(found.b), width)}", ""]
    if found.is_empty:
        lines.append("  no difference" if found.values_equal else "  no difference in what headers and configs say")
    for what, title in _TITLES.items():
        changes = list(found.of(what))
        if not changes:
            continue
        lines.append(f"  {title}: {len(changes):,} changed")
        if what == "tensor":
            lines += _requantised([c for c in changes if c.kind == "requantised"])
            changes = [c for c in changes if c.kind != "requantised"]
        lines += _change_lines(changes[:most], width)
        if len(changes) > most:
            lines.append(f"    … and {len(changes) - most:,} more (--all)")
    sums = (
        f"weights  {_delta(found.tensors_nbytes_a, found.tensors_nbytes_b)}",
        f"cache    {_delta(*caches)} for {n_ctx:,} tokens in f16",
        f"values   {_values(found)}",
    )
    lines.append("")
    for text in sums:
        name, said = text[:9], text[9:]
        first, *more = wrap(said, width=width - 11)
        lines += [f"  {name}{first}", *(" " * 11 + x for x in more)]
    for note in found.notes:
        lines += ["  " + x for x in wrap(f"note: {escape(note)}", width=width - 2, indent="      ")]
    return lines
