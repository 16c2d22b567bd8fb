"""Whole repositories (and folders): one line for each model of several, one for each component of a pipeline."""

from __future__ import annotations

from inspector.report.escape import escape
from inspector.report.text import flow, join, shorten, shorten_middle, table, table_in, wrap
from inspector.units import format_count, format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

    from inspector.report import documents
    from inspector.report.records import ComponentRow, ModelRow


_FITS = {True: "fits", False: "does not fit", None: "unknown"}


def _cells(row: ModelRow, gpus: Sequence[str], *, memory: bool) -> tuple[str, ...]:
    cells = [
        escape(row.quant or row.name),
        str(len(row.files)),
        f"{row.nbytes:,}",
        format_nbytes(row.nbytes),
        f"{row.bits_per_weight:.2f}" if row.bits_per_weight else "–",
    ]
    if memory:
        cells += ["–" if n is None else format_nbytes(n) for n in (row.kv_nbytes, row.total_nbytes)]
        cells += ["–" if row.total_nbytes is None else _FITS[(row.fits or {}).get(gpu)] for gpu in gpus]
    return tuple(cells)


def _names_needed(rows: Sequence[ModelRow]) -> bool:
    labels = [row.quant for row in rows]
    return len(set(labels)) < len(labels)


def repo_lines(
    target: str,
    rows: Sequence[ModelRow],
    *,
    gpus: Sequence[str] = (),
    memory: bool = False,
    about: str = "",
    notes: Sequence[str] = (),
    named: bool = False,
    cards: Mapping[str, str] | None = None,
    width: int = 100,
) -> list[str]:
    """A table of several models: quant, files, exact bytes, bits per weight; cache, total and verdicts for `memory`.

    `named`: by their names, though their quants tell them apart. `cards`: what GPUs are called, of which `gpus` are as
    they were typed.
    """
    head = ["quant", "files", "bytes", "size", "bits/weight"]
    if memory:
        head += ["KV cache", "total", *map(escape, gpus)]
    if named or _names_needed(rows):
        rows = [row.replace(quant=shorten_middle(row.name, 48)) for row in rows]
    cells = [tuple(head), *(_cells(row, gpus, memory=memory) for row in rows)]
    first = join([f"{len(rows)} models", about])
    cells[0] = tuple((cards or {}).get(name, name) for name in cells[0])
    lines = [shorten_middle(escape(target), width), *("  " + x for x in flow(first.split(" · "), width=width - 2)), ""]
    lines += table_in(width, cells, align="<" + ">" * (len(head) - 1), spared=_SPARED)
    every = [*notes, *(f"{row.name}: {row.error}" for row in rows if row.error)]
    if every:
        lines.append("")
    for note in every[:12]:
        lines += ["  " + line for line in wrap("note: " + escape(note), width=width - 2, indent="      ")]
    return lines


# columns to leave out where there is no room, in this order
_SPARED: Final = ("files", "bytes", "bits/weight", "KV cache", "size")


def repo_json(
    target: str, rows: Sequence[ModelRow], *, revision: str | None, notes: Sequence[str] = ()
) -> documents.Repo:
    """The schema `inspector.repo/1`."""
    return {
        "schema": "inspector.repo/1",
        "target": target,
        "revision": revision,
        "models": [row.replace(fits=row.fits or {}) for row in rows],
        "notes": notes,
    }


def sizes_lines(target: str, models: Sequence[tuple[str, int, str]], *, width: int = 100) -> list[str]:
    """What a listing says of files that may not be read: names, bytes and the quants that names claim."""
    cells = [("file", "quant", "bytes", "")]
    cells += [(escape(name), escape(quant), f"{n:,}", format_nbytes(n)) for name, n, quant in models]
    total = sum(n for _, n, _ in models)
    if len(models) > 1:
        cells.append(("sum", "", f"{total:,}", format_nbytes(total)))
    lines = [shorten_middle(escape(target), width), "  from the public listing; headers need access", ""]
    return [shorten(line, max(width, 60)) for line in [*lines, *table(cells, align="<<>>")]]


def component_lines(rows: Sequence[ComponentRow], *, width: int = 100) -> list[str]:
    """Each component's parameters and bytes, and their sum."""
    cells = [("component", "files", "tensors", "parameters", "bytes", "")]
    cells += [
        (
            escape(row.name or "(top folder)"), str(len(row.files)), f"{row.n_tensors:,}",
            format_count(row.n_params) if row.n_params is not None else "unknown",
            f"{row.nbytes:,}", format_nbytes(row.nbytes),
        )
        for row in rows
    ]  # fmt: skip
    params = [row.n_params for row in rows]
    known = [n for n in params if n is not None]
    nbytes = sum(row.nbytes for row in rows)
    cells.append(
        (
            "sum", str(sum(len(row.files) for row in rows)), f"{sum(row.n_tensors for row in rows):,}",
            format_count(sum(known)) if len(known) == len(params) else "unknown", f"{nbytes:,}", format_nbytes(nbytes),
        )
    )  # fmt: skip
    return ["", *(shorten(line, width) for line in table(cells, align="<>>>>>"))]
