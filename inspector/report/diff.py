"""`diff`: what changed, sort by sort; the same as JSON."""

from __future__ import annotations

from inspector.report.escape import escape
from inspector.report.tensors import value_text
from inspector.report.text import shorten, table, wrap
from inspector.units import format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from inspector.comparison import Change, Diff
    from inspector.report import documents

_TITLES: Final = {"metadata": "metadata", "config": "config.json", "fact": "facts", "tensor": "tensors"}
_MARKS: Final = {"added": "+", "removed": "-", "changed": "~", "renamed": "→", "reshaped": "~", "requantised": "~"}


def diff_json(found: Diff, caches: tuple[int | None, int | None]) -> documents.Diff:
    """The schema `inspector.diff/1`. `caches`: bytes of one sequence's cache on each side."""
    return {
        "schema": "inspector.diff/1",
        "a": found.a,
        "b": found.b,
        "equal": found.is_empty,
        "changes": found.changes,
        "tensors_nbytes": {"a": found.tensors_nbytes_a, "b": found.tensors_nbytes_b},
        "n_params": {"a": found.n_params_a, "b": found.n_params_b},
        "cache_nbytes": {"a": caches[0], "b": caches[1]},
        "notes": found.notes,
    }


def _form(value: Any) -> str:
    if isinstance(value, dict) and "dtype" in value:
        return f"{escape(value['dtype'])} {' × '.join(map(str, value['shape'])) or 'scalar'}"
    return value_text(value, width=48)


def _row(change: Change) -> tuple[str, str, str, str]:
    if change.kind == "renamed":
        return _MARKS[change.kind], escape(str(change.before)), "→", escape(str(change.after))
    before = "" if change.before is None else _form(change.before)
    after = "" if change.after is None else _form(change.after)
    return _MARKS[change.kind], escape(change.name), before, after


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
    return table(rows, align="<><>", indent="    ")


def _delta(a: int | None, b: int | None) -> str:
    if a is None or b is None:
        return "unknown"
    sign = "+" if b >= a else "−"
    return f"{format_nbytes(a)} → {format_nbytes(b)} ({sign}{format_nbytes(abs(b - a))})"


def diff_lines(found: Diff, caches: tuple[int | None, int | None], n_ctx: int, *, width: int, most: int) -> list[str]:
    """Changes sort by sort, at most `most` of each; then bytes gained or lost."""
    lines = [f"{shorten(escape(found.a), width)}", f"{shorten(escape(found.b), width)}", ""]
    if found.is_empty:
        lines.append("  no difference")
    for what, title in _TITLES.items():
        changes = list(found.of(what))
        if not changes:
            continue
        lines.append(f"  {title}: {len(changes):,} changed")
        if what == "tensor":
            lines += _requantised([c for c in changes if c.kind == "requantised"])
            changes = [c for c in changes if c.kind != "requantised"]
        shown = [_row(c) for c in changes[:most]]
        lines += [shorten(x, max(width, 60)) for x in table(shown, align="<<<<", indent="    ")]
        if len(changes) > most:
            lines.append(f"    … and {len(changes) - most:,} more (--all)")
    lines += ["", f"  weights  {_delta(found.tensors_nbytes_a, found.tensors_nbytes_b)}"]
    lines.append(f"  cache    {_delta(*caches)} for {n_ctx:,} tokens in f16")
    for note in found.notes:
        lines += ["  " + x for x in wrap(f"note: {escape(note)}", width=width - 2, indent="      ")]
    return lines
