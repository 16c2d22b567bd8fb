"""A whole scan: roots to items, items to rows, rows to files; what an earlier one has read is not read again."""

from __future__ import annotations

import os
import sqlite3
from itertools import islice

from inspector.errors import InspectorError
from inspector.fleet.columns import COLUMNS
from inspector.fleet.engines import engine_on
from inspector.fleet.items import items
from inspector.fleet.journal import SUFFIX, Journal, pack_tensors
from inspector.fleet.options import ScanOptions
from inspector.fleet.run import Run
from inspector.fleet.tables import MODELS, TENSORS, format_of, read_table, tensors_path, write_tables, write_text
from inspector.fleet.totals import totals
from inspector.record import Record
from inspector.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from inspector.fleet.engines import Engine
    from inspector.fleet.journal import Item
    from inspector.fleet.options import Row
    from inspector.fleet.tables import Table
    from inspector.report.records import ScanTotals

    Tell = Callable[[str, int, int], None]


class Outputs(Record):
    """Where a scan goes. `table`: .parquet, .duckdb, .csv or .jsonl; `page`: HTML; `sbom`: CycloneDX. "" for none."""

    table: str = ""
    page: str = ""
    sbom: str = ""

    @property
    def first(self) -> str:
        """The one that the journal lies beside."""
        return self.table or self.page or self.sbom


def _silent(_what: str, _done: int, _total: int) -> None:
    """Told to nobody."""


def scan(
    roots: Iterable[str],
    outputs: Outputs,
    options: ScanOptions | None = None,
    *,
    on: str = "processes",
    n_workers: int | None = None,
    resume: bool = False,
    most: int | None = None,
    tell: Tell = _silent,
) -> ScanTotals:
    """Scans every model below all roots into files, each whole or not there at all.

    `on`: processes, dask, or the address of a Dask scheduler; `resume`: what an earlier scan into the same table has
    read and what has not changed since is taken over; `most`: so many models at most. `tell` is told "found", "read"
    or "written", how many, and of how many (0: not known). An interrupt writes what has been read before it goes on.
    Raises InspectorError; with what was read written, where the engine fails on the way, and kept for `resume` where
    the disk is full.
    """
    options = options or ScanOptions()
    _check(outputs, resume=resume)
    engine = engine_on(on, n_workers)
    try:
        return _scan(roots, outputs, options, engine=engine, resume=resume, most=most, tell=tell)
    except sqlite3.Error as error:
        path = outputs.first + SUFFIX
        hint = "when there is room again, --resume goes on from there" if os.path.exists(path) else None
        raise InspectorError(f"{path}: {error}", hint=hint) from None


def _scan(
    roots: Iterable[str], outputs: Outputs, options: ScanOptions, *, engine: Engine, resume: bool, most: int | None,
    tell: Tell,
) -> ScanTotals:  # fmt: skip
    """The scan itself. Raises sqlite3.Error where what was read cannot be kept."""
    try:
        journal = Journal(outputs.first + SUFFIX, resume=resume)
        n, n_kept = _list(
            journal, islice(items(roots, timeout=options.timeout), most), outputs, options, resume=resume, tell=tell
        )
        stopped: BaseException | None = None
        try:
            Run(journal, engine, options, lambda done: tell("read", n_kept + done, n)).run()
        except (KeyboardInterrupt, InspectorError) as error:
            stopped = error
    finally:
        engine.stop()
    if stopped is not None:
        journal.keep_unreached()
    if stopped is None or journal.has_rows():
        found = _write(journal, outputs, options, n_kept, complete=stopped is None, tell=tell)
    journal.close(remove=True)
    if stopped is not None:
        raise stopped
    return found


def _check(outputs: Outputs, *, resume: bool) -> None:
    """What can be refused before anything is read."""
    if not outputs.first:
        hint = "-o models.parquet, --report page.html or --cyclonedx out.json"
        raise InspectorError("a scan needs somewhere to go", hint=hint)
    if resume and not outputs.table:
        raise InspectorError("--resume goes on with a table", hint="name it with -o")
    if outputs.table:
        format_of(outputs.table)
    _check_places([path for path in (outputs.table, outputs.page, outputs.sbom) if path])
    if outputs.sbom:
        from inspector.fleet.sbom import check_library

        check_library()


def _check_places(paths: list[str]) -> None:
    """That every output can be put in its place: hours later it would be too late."""
    for path in paths:
        folder = os.path.dirname(os.path.abspath(path))
        if os.path.isdir(path):
            raise InspectorError(f"{path}: a folder, not a file")
        if not os.path.isdir(folder):
            raise InspectorError(f"{path}: no such folder to write to")
        if not os.access(folder, os.W_OK):
            raise InspectorError(f"{path}: its folder cannot be written to")
    if len({os.path.realpath(path) for path in paths}) < len(paths):
        raise InspectorError("two outputs have one name")


def _list(
    journal: Journal, found: Iterable[Item], outputs: Outputs, options: ScanOptions, *, resume: bool, tell: Tell
) -> tuple[int, int]:
    """Everything there is to read, into the journal: how many models, and how many of them need no reading."""
    try:
        if resume:
            journal.shelve_rows(_earlier(outputs.table, tensors=options.tensors))
        n = journal.add_items(found, lambda so_far: tell("found", so_far, 0))
        return n, journal.take_over(options.asked, tensors=options.tensors) if resume else 0
    except BaseException:
        journal.close(remove=not resume)
        raise


def _earlier(path: str, *, tensors: bool) -> Iterator[tuple[Row, bytes | None]]:
    """The rows of an earlier scan's table, each with its tensors, which stand in the same order."""
    if not os.path.exists(path):
        return
    place = tensors_path(path)
    below = iter(read_table(place, TENSORS)) if tensors and os.path.exists(place) else None
    ahead = next(below, None) if below else None
    for values in read_table(path, MODELS):
        row = MODELS.named(values)
        own = []
        while below and ahead is not None and ahead[0] == row["target"]:
            own.append(ahead)
            ahead = next(below, None)
        yield row, pack_tensors(own) if below else None


def _write(
    journal: Journal, outputs: Outputs, options: ScanOptions, n_kept: int, *, complete: bool, tell: Tell
) -> ScanTotals:
    """Every file that was asked for, and the sums."""
    found = totals(journal.rows(), n_kept=n_kept, complete=complete)
    tell("written", 0, found.n_models)
    names = [c.name for c in COLUMNS]
    if outputs.table:
        tables: list[tuple[Table, Iterable[Any]]] = [
            (MODELS, ([row[name] for name in names] for row in journal.rows()))
        ]
        tables += [(TENSORS, journal.tensor_rows())] if options.tensors else []
        write_tables(outputs.table, tables)
    if outputs.page:
        from inspector.report.scan_html import page

        write_text(outputs.page, page(found, journal.rows(), version=__version__))
    if outputs.sbom:
        from inspector.fleet.sbom import sbom

        write_text(outputs.sbom, sbom(journal.rows()))
    return found
