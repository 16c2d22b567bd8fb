"""`list`: a table a store, what is the same under two names, what could be freed; the same as JSON."""

from __future__ import annotations

from inspector.report.escape import escape
from inspector.report.text import columns, join, shorten, shorten_middle, table, wrap
from inspector.units import format_count, format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final

    from inspector.report import documents
    from inspector.report.documents import KeptTotals
    from inspector.report.records import KeptRow, SameContent

WORDS: Final = {
    "folder": "",
    "ollama": "Ollama",
    "docker": "Docker Model Runner",
    "oci": "OCI image",
    "hub cache": "the Hub's cache",
    "llama.cpp cache": "llama.cpp's cache",
    "lm studio": "LM Studio",
    "blobs": "blobs",
    "remote": "",
}
_HEAD: Final = ("model", "quant", "size", "params", "context", "KV cache")
_LEAST: Final = 18  # columns of a name


def _cells(row: KeptRow) -> tuple[str, ...]:
    what = row.role if row.role != "model" else row.quant or "–"
    return (
        escape(row.name),
        escape(what),
        format_nbytes(row.nbytes),
        format_count(row.n_params) if row.n_params is not None else "–",
        f"{row.n_ctx:,}" if row.n_ctx else "–",
        format_nbytes(row.kv_nbytes) if row.kv_nbytes is not None else "–",
    )


def _fitted(cells: list[tuple[str, ...]], width: int) -> list[tuple[str, ...]]:
    """Names shortened in their middle and quants at their end, so that the rest of the line has its place."""
    rest = sum(max(columns(row[i]) for row in cells) + 2 for i in range(2, len(_HEAD))) + 2
    quants = min(max(columns(row[1]) for row in cells), 11)
    names = max(width - rest - quants - 2, _LEAST)
    return [(shorten_middle(row[0], names), shorten(row[1], quants), *row[2:]) for row in cells]


def _table(rows: Sequence[KeptRow], width: int) -> list[str]:
    cells = _fitted([_HEAD, *map(_cells, rows)], width)
    lines = table(cells, align="<<" + ">" * (len(_HEAD) - 2))
    answer = [lines[0]]
    for row, line in zip(rows, lines[1:], strict=True):
        answer.append(line)
        if row.error:
            words = wrap(f"broken: {escape(row.error)}", width=width - 6, indent="  ")
            answer += [f"      {part}" for part in words[:3]]
    return answer


def _left_lines(left: Sequence[KeptRow], root: str, width: int) -> list[str]:
    lines = []
    words = (("unused", "blob that nothing names", "blobs that nothing names"),
             ("unfinished", "unfinished download", "unfinished downloads"))  # fmt: skip
    for role, one, many in words:
        found = [row for row in left if row.root == root and row.role == role]
        if found:
            nbytes = format_nbytes(sum(row.nbytes for row in found))
            more = ", …" if len(found) > 1 else ""
            what = f"{len(found):,} {many if more else one}"
            lines.append(shorten(f"  {what}: {nbytes} ({escape(found[0].name)}{more})", width))
    return lines


def _same_lines(same: Sequence[SameContent], rows: Sequence[KeptRow], width: int) -> list[str]:
    shown = [row.name for row in rows]
    names = {
        row.target: row.target if shown.count(row.name) > 1
        else row.name + (f" ({WORDS[row.store]})" if WORDS[row.store] else "")
        for row in rows if any(row.target in group.targets for group in same)
    }  # fmt: skip
    lines: list[str] = []
    for sure, title in ((True, "the same contents:"), (False, "perhaps the same (equal sizes; --hash tells):")):
        found = [group for group in same if group.sure == sure]
        lines += ["", f"  {title}"] if found else []
        for group in found[:20]:
            words = " = ".join(escape(names[t]) for t in group.targets[:6])
            more = f" and {len(group.targets) - 6} more" if len(group.targets) > 6 else ""
            size = format_nbytes(group.nbytes)
            lines += ["  " + x for x in wrap(f"  {size}  {words}{more}", width=width - 4, indent="    ")]
        if len(found) > 20:
            lines.append(f"  and {len(found) - 20} more")
    return lines


def _sum_line(totals: KeptTotals) -> str:
    sums = (
        (totals["duplicate_nbytes"], "twice"),
        (totals["unused_nbytes"], "unused"),
        (totals["unfinished_nbytes"], "unfinished"),
    )
    parts = [f"{format_nbytes(n)} {words}" for n, words in sums if n]
    broken = f"{totals['n_broken']:,} broken" if totals["n_broken"] else ""
    freed = f"could be freed: {format_nbytes(totals['freed_nbytes'])} ({', '.join(parts)})" if parts else ""
    n = totals["n_models"]
    return join([f"{n:,} model{'' if n == 1 else 's'}", format_nbytes(totals["nbytes"]), broken, freed])


def kept_lines(
    roots: Sequence[Any], rows: Sequence[KeptRow], left: Sequence[KeptRow], same: Sequence[SameContent],
    totals: KeptTotals, *, width: int = 100,
) -> list[str]:  # fmt: skip
    """A table for each root, groups of the same contents, and the sums."""
    lines: list[str] = []
    for root in roots:
        own = [row for row in rows if row.root == root.path]
        over = _left_lines(left, root.path, width)
        kinds = {WORDS[row.store] for row in own}
        store = WORDS[root.store] or (kinds.pop() if len(kinds) == 1 else "")
        lines += [shorten_middle(join([store, escape(root.path)]), width)]
        lines += _table(own, width) if own else ["  no models"] if not over else []
        lines += [*over, ""]
    if not roots:
        return ["no stores of models on this machine", "  name a folder: inspector list FOLDER"]
    lines.append(_sum_line(totals))
    return [*lines, *_same_lines(same, rows, width)]


def kept_json(
    roots: Sequence[Any], rows: Sequence[KeptRow], left: Sequence[KeptRow], same: Sequence[SameContent],
    totals: KeptTotals,
) -> documents.Kept:  # fmt: skip
    """The schema `inspector.list/1`."""
    return {
        "schema": "inspector.list/1",
        "roots": [{"store": root.store, "path": root.path} for root in roots],
        "models": rows,
        "left_over": left,
        "same": same,
        "totals": totals,
        "notes": [],
    }
