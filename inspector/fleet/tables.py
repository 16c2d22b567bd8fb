"""The files that a scan ends in: CSV and JSON lines by themselves, Parquet and DuckDB by their own libraries.

Each is written beside its place and put there when it is whole, so that nobody reads half a table.
"""

from __future__ import annotations

import csv
import json
import os

from inspector.errors import InspectorError, NotFound
from inspector.fleet.columns import COLUMNS, SCHEMA, TENSOR_COLUMNS, TENSOR_SCHEMA, kind_words
from inspector.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import ModuleType
    from typing import Any, Final

    from inspector.fleet.columns import Column

    Values = Sequence[Any]  # of one row, in the order of the columns
    Write = Callable[[str, "Table", Iterable[Values]], None]
    Read = Callable[[str, "Table"], Iterator[Values]]

GROUP: Final = 2048  # rows of a Parquet row group: what is held at once
_UNSAFE: Final = ("=", "+", "-", "@", "'", "\t", "\r", "\n")  # what a spreadsheet takes for a formula, and our mark
_EXTRA: Final = "pip install 'weights-inspector[fleet]'"


class Table:
    """One table to write: its columns and name; rows come as values in their order."""

    def __init__(self, name: str, columns: tuple[Column, ...], schema: str) -> None:
        self.name, self.columns, self.schema = name, columns, schema

    @property
    def metadata(self) -> dict[str, str]:
        """What a file says of itself, where the format has a place for it."""
        return {"inspector.schema": self.schema, "inspector.version": __version__}

    def named(self, values: Values) -> dict[str, Any]:
        """A row by the names of its columns."""
        return dict(zip((c.name for c in self.columns), values, strict=True))


MODELS: Final = Table("models", COLUMNS, SCHEMA)
TENSORS: Final = Table("tensors", TENSOR_COLUMNS, TENSOR_SCHEMA)


def _library(name: str, package: str, what: str) -> ModuleType:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError:
        raise InspectorError(f"{what} needs {package}", hint=_EXTRA) from None


# --- JSON lines


def _write_jsonl(path: str, table: Table, rows: Iterable[Values]) -> None:
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(table.named(values), separators=(",", ":")) + "\n" for values in rows)


def _read_jsonl(path: str, table: Table) -> Iterator[Values]:
    with open(path, encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            yield [row[c.name] for c in table.columns]


# --- CSV: lists as JSON in their cells


def _cell(value: Any, column: Column) -> str:
    if value is None:
        return ""
    if not isinstance(column.kind, str) or column.kind == "texts":
        return json.dumps(value, separators=(",", ":"))
    if isinstance(value, bool):
        return "true" if value else "false"
    shown = str(value)
    return f"'{shown}" if isinstance(value, str) and shown.startswith(_UNSAFE) else shown


def _value(cell: str, column: Column) -> Any:
    if cell == "":
        return None
    if not isinstance(column.kind, str) or column.kind == "texts":
        return json.loads(cell)
    if column.kind == "text":
        return cell.removeprefix("'")
    return cell == "true" if column.kind == "flag" else {"int": int, "real": float}[column.kind](cell)


def _write_csv(path: str, table: Table, rows: Iterable[Values]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([c.name for c in table.columns])
        for values in rows:
            writer.writerow([_cell(v, c) for v, c in zip(values, table.columns, strict=True)])


def _read_csv(path: str, table: Table) -> Iterator[Values]:
    csv.field_size_limit(1 << 26)
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        names = next(reader, [])
        at = [names.index(c.name) for c in table.columns]
        for cells in reader:
            yield [_value(cells[i], c) for i, c in zip(at, table.columns, strict=True)]


# --- Parquet


def _arrow_type(pa: Any, kind: Any) -> Any:
    if isinstance(kind, str):
        plain = {"text": pa.string, "int": pa.int64, "real": pa.float64, "flag": pa.bool_}
        return pa.list_(pa.string()) if kind == "texts" else plain[kind]()
    return pa.list_(pa.struct([(name, _arrow_type(pa, of)) for name, of in kind]))


def _write_parquet(path: str, table: Table, rows: Iterable[Values]) -> None:
    pa, parquet = _library("pyarrow", "pyarrow", "Parquet"), _library("pyarrow.parquet", "pyarrow", "Parquet")
    schema = pa.schema([(c.name, _arrow_type(pa, c.kind)) for c in table.columns], metadata=table.metadata)
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for group in _groups(rows):
            arrays = [pa.array(column, f.type) for column, f in zip(zip(*group, strict=True), schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _groups(rows: Iterable[Values]) -> Iterator[list[Values]]:
    from itertools import islice

    each = iter(rows)
    while group := list(islice(each, GROUP)):
        yield group


def _read_parquet(path: str, table: Table) -> Iterator[Values]:
    parquet = _library("pyarrow.parquet", "pyarrow", "Parquet")
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=GROUP, columns=[c.name for c in table.columns]):
            columns = [batch.column(c.name).to_pylist() for c in table.columns]
            yield from map(list, zip(*columns, strict=True))


# --- DuckDB


def _write_duckdb(path: str, table: Table, rows: Iterable[Values]) -> None:
    """By way of JSON lines, which DuckDB reads in its own threads: a row at a time takes a hundred times longer."""
    duckdb = _library("duckdb", "duckdb", "a DuckDB file")
    lines = f"{path}.jsonl"
    try:
        _write_jsonl(lines, table, rows)
        kinds = ", ".join(f"'{c.name}': '{kind_words(c.kind)}'" for c in table.columns)
        columns = ", ".join(f'"{c.name}" {kind_words(c.kind)}' for c in table.columns)
        with duckdb.connect(path) as db:
            db.execute(f'CREATE OR REPLACE TABLE "{table.name}" ({columns})')
            if os.path.getsize(lines):
                db.execute(
                    f'INSERT INTO "{table.name}" SELECT * FROM read_json(?, format = \'newline_delimited\','  # noqa: S608
                    f" maximum_object_size = {1 << 26}, columns = {{{kinds}}})", [lines]
                )  # fmt: skip
            db.execute(f"COMMENT ON TABLE \"{table.name}\" IS '{table.schema}'")
    finally:
        if os.path.exists(lines):
            os.remove(lines)


def _read_duckdb(path: str, table: Table) -> Iterator[Values]:
    duckdb = _library("duckdb", "duckdb", "a DuckDB file")
    with duckdb.connect(path, read_only=True) as db:
        columns = ", ".join(f'"{c.name}"' for c in table.columns)
        found = db.execute(f'SELECT {columns} FROM "{table.name}"')  # noqa: S608 - our own names
        while rows := found.fetchmany(GROUP):
            yield from map(list, rows)


# --- by the name of the file

_FORMATS: Final[dict[str, tuple[Write, Read, tuple[str, ...]]]] = {
    ".jsonl": (_write_jsonl, _read_jsonl, ()),
    ".csv": (_write_csv, _read_csv, ()),
    ".parquet": (_write_parquet, _read_parquet, ("pyarrow", "pyarrow.parquet")),
    ".duckdb": (_write_duckdb, _read_duckdb, ("duckdb",)),
}


def format_of(path: str) -> str:
    """The suffix that says how a table is stored. Raises InspectorError for another, or without its library."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in _FORMATS:
        raise InspectorError(f"{path}: not a kind of table", hint="name it .parquet, .duckdb, .csv or .jsonl")
    for name in _FORMATS[suffix][2]:
        _library(name, name.partition(".")[0], suffix)
    return suffix


def tensors_path(path: str) -> str:
    """Where the table of tensors goes: beside the models, or into the same DuckDB file."""
    stem, suffix = os.path.splitext(path)
    return path if suffix.lower() == ".duckdb" else f"{stem}.tensors{suffix}"


def write_tables(path: str, tables: Iterable[tuple[Table, Iterable[Values]]]) -> None:
    """All tables of a scan, each put in its place when it is whole. Raises InspectorError where that cannot be."""
    write = _FORMATS[format_of(path)][0]
    whole: dict[str, str] = {}
    try:
        for table, rows in tables:
            place = path if table is MODELS else tensors_path(path)
            if place not in whole:
                whole[place] = f"{place}.part"
                _remove(whole[place])
            write(whole[place], table, rows)
        for place, part in whole.items():
            os.replace(part, place)
    except OSError as error:
        raise InspectorError(f"{path}: {(error.strerror or 'cannot be written').lower()}") from None
    except Exception as error:  # a library's own words, whatever its class
        raise InspectorError(f"{path}: {type(error).__name__}: {' '.join(str(error).split())[:200]}") from None
    finally:
        for part in whole.values():
            _remove(part)


def write_text(path: str, text: str) -> None:
    """A page or document, put in its place when it is whole. Raises InspectorError where that cannot be."""
    part = f"{path}.part"
    try:
        with open(part, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.replace(part, path)
    except OSError as error:
        raise InspectorError(f"{path}: {(error.strerror or 'cannot be written').lower()}") from None
    finally:
        _remove(part)


def _remove(path: str) -> None:
    if os.path.exists(path):
        os.remove(path)


def read_table(path: str, table: Table) -> Iterator[Values]:
    """The rows of a table that a scan wrote. Raises NotFound, and InspectorError for what is no such table."""
    if not os.path.exists(path):
        raise NotFound(f"{path}: no such file")
    try:
        yield from _FORMATS[format_of(path)][1](path, table)
    except InspectorError:
        raise
    except Exception as error:
        words = " ".join(str(error).split())[:120]
        raise InspectorError(f"{path}: not a table of {table.schema} ({words})", hint="scan without --resume") from None
