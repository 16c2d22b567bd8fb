"""Tables: what is written is read back by the libraries that people read it with, and by a scan that goes on."""

from __future__ import annotations

import csv
import json

import pytest
from fleet_runs import jsonl

from inspector.errors import InspectorError
from inspector.fleet.columns import COLUMNS, SCHEMA, TENSOR_COLUMNS, kind_words
from inspector.fleet.row import ScanOptions, scan_one
from inspector.fleet.tables import MODELS, TENSORS, read_table, tensors_path, write_tables

SUFFIXES = [".jsonl", ".csv", ".parquet", ".duckdb"]
NAMES = [c.name for c in COLUMNS]


@pytest.fixture(scope="module")
def rows(files):
    """Rows with every kind of value in them, and with none."""
    options = ScanOptions(tensors=True, gpus=("24GiB",), contexts=(128,))
    targets = [*sorted(files.glob("gguf/*")), *sorted(files.glob("safetensors/*")), files / "nothing"]
    found = [scan_one(str(t), options) for t in targets]
    found[0] |= {"title": "=1+1", "license": "'quoted", "arch": "-x\ny", "name": "@sum", "role": "+1", "repo": "\tx"}
    return found


def write(path, rows):
    values = [[row[name] for name in NAMES] for row in rows]
    tensors = [list(t) for row in rows for t in row.get("tensors", ())]
    write_tables(str(path), [(MODELS, iter(values)), (TENSORS, iter(tensors))])
    return values, tensors


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_was_written_is_read_back_as_it_was(suffix, rows, tmp_path):
    pytest.importorskip({".parquet": "pyarrow", ".duckdb": "duckdb"}.get(suffix, "json"))
    path = tmp_path / f"m{suffix}"
    values, tensors = write(path, rows)
    assert list(read_table(str(path), MODELS)) == values
    assert list(read_table(tensors_path(str(path)), TENSORS)) == tensors
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted({path.name, tensors_path(path.name)})


def test_pyarrow_reads_the_parquet_file_with_its_types_and_version(rows, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    values, tensors = write(tmp_path / "m.parquet", rows)
    table = parquet.read_table(tmp_path / "m.parquet")
    assert table.column_names == NAMES
    assert table.schema.metadata[b"inspector.schema"] == SCHEMA.encode()
    assert [list(row.values()) for row in table.to_pylist()] == values
    assert str(table.schema.field("nbytes").type) == "int64"
    assert str(table.schema.field("codes").type).startswith("list<element: string")
    assert parquet.read_table(tmp_path / "m.tensors.parquet").num_rows == len(tensors)


def test_duckdb_gives_every_file_the_types_that_the_page_promises(rows, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    pytest.importorskip("pyarrow")
    values, _ = write(tmp_path / "m.parquet", rows)
    write(tmp_path / "m.duckdb", rows)
    promised = [(c.name, kind_words(c.kind)) for c in COLUMNS]
    for found in (
        duckdb.sql(f"DESCRIBE SELECT * FROM '{tmp_path / 'm.parquet'}'").fetchall(),
        duckdb.connect(str(tmp_path / "m.duckdb"), read_only=True).sql("DESCRIBE models").fetchall(),
    ):
        assert [(row[0], row[1].replace('"', "")) for row in found] == promised
    assert [list(r) for r in duckdb.sql(f"FROM '{tmp_path / 'm.parquet'}'").fetchall()] == values


def test_a_spreadsheet_finds_no_formula_in_a_csv(rows, tmp_path):
    write(tmp_path / "m.csv", rows)
    with (tmp_path / "m.csv").open(newline="", encoding="utf-8") as file:
        first = next(csv.DictReader(file))
    assert (first["title"], first["license"], first["arch"]) == ("'=1+1", "''quoted", "'-x\ny")
    assert (first["name"], first["role"], first["repo"]) == ("'@sum", "'+1", "'\tx")


def test_a_table_that_cannot_be_written_leaves_the_one_that_was_there(tmp_path, rows):
    (tmp_path / "m.jsonl").write_text("before")

    def broken():
        yield [rows[0][name] for name in NAMES]
        raise OSError(28, "No space left on device")

    with pytest.raises(InspectorError, match="no space left on device"):
        write_tables(str(tmp_path / "m.jsonl"), [(MODELS, broken())])
    assert [p.name for p in tmp_path.iterdir()] == ["m.jsonl"]
    assert (tmp_path / "m.jsonl").read_text() == "before"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_no_table_is_refused_in_one_line(suffix, tmp_path):
    pytest.importorskip({".parquet": "pyarrow", ".duckdb": "duckdb"}.get(suffix, "json"))
    path = tmp_path / f"m{suffix}"
    for data in (b"no table\n1,2\n", b'{"schema": 1}\n', b"\x00" * 100, json.dumps({}).encode()):
        path.write_bytes(data)
        with pytest.raises(InspectorError) as caught:
            list(read_table(str(path), MODELS))
        assert "\n" not in str(caught.value)


def test_columns_have_names_of_their_own_and_words():
    for columns in (COLUMNS, TENSOR_COLUMNS):
        assert len({c.name for c in columns}) == len(columns)
        assert all(c.words for c in columns)


def test_helpers_read_json_lines(tmp_path, rows):
    write(tmp_path / "m.jsonl", rows)
    assert [row["target"] for row in jsonl(tmp_path / "m.jsonl")] == [row["target"] for row in rows]
