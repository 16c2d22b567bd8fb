"""`scan`: the sums of a table on one screen, and as JSON; the rows themselves are in the table."""

from __future__ import annotations

from inspector.report.escape import escape
from inspector.report.text import join, shorten, table
from inspector.units import format_count, format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.report import documents
    from inspector.report.records import ScanGroup, ScanTotals

_MOST_SHOWN = 8


def scan_lines(found: ScanTotals, outputs: Sequence[str], *, width: int) -> list[str]:
    """What was scanned, and where it is written."""
    facts = join(
        [
            f"{found.n_models:,} model{'' if found.n_models == 1 else 's'}",
            format_nbytes(found.nbytes),
            f"{format_count(found.n_params)} params" if found.n_params else "",
            f"{found.n_kept:,} unchanged, not read again" if found.n_kept else "",
        ]
    )
    lines = [facts]
    if found.n_unread:
        reached = f", {found.n_unreached:,} of them not reached" if found.n_unreached else ""
        lines.append(f"  {found.n_unread:,} could not be read in full{reached}: see the column error")
        lines += [shorten(f"    {escape(words)}", width) for words in found.first_errors]
        more = found.n_unread - len(found.first_errors)
        lines += [f"    and {more:,} more"] if more else []
    if found.missing_nbytes:
        lines.append(f"  {format_nbytes(found.missing_nbytes)} are missing that headers promise")
    for title, groups in (
        ("format", found.by_format), ("quant", found.by_quant), ("architecture", found.by_arch),
        ("audit", found.by_verdict),
    ):  # fmt: skip
        lines += [shorten(line, width) for line in _group_lines(title, groups)]
    return [*lines, "", *(f"wrote {escape(path)}" for path in outputs)]


def _group_lines(title: str, groups: Sequence[ScanGroup]) -> list[str]:
    if not groups or all(g.name == "unknown" for g in groups):
        return []
    cells = [(title, "models", "bytes")]
    cells += [(escape(g.name), f"{g.n_models:,}", format_nbytes(g.nbytes)) for g in groups[:_MOST_SHOWN]]
    if len(groups) > _MOST_SHOWN:
        rest = groups[_MOST_SHOWN:]
        cells.append(("others", f"{sum(g.n_models for g in rest):,}", format_nbytes(sum(g.nbytes for g in rest))))
    return ["", *table(cells, align="<>>")]


def scan_json(found: ScanTotals, outputs: Sequence[str]) -> documents.Scan:
    """The schema `inspector.scan-totals/1`."""
    return {"schema": "inspector.scan-totals/1", "outputs": list(outputs), "totals": found}
