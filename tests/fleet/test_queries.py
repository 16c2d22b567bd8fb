"""The ten questions of docs/fleet.md: each runs as it stands on a scan, and finds what was put there."""

from __future__ import annotations

import os
import re
import shutil

import pytest
from hub_models import small_gguf

from inspector.fleet.row import ScanOptions
from inspector.fleet.scan import Outputs, scan

QUERY = re.compile(r"^### (\d+)\. ([^\n]+)\n.*?^```sql\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def queries(root):
    return {int(n): sql for n, _, sql in QUERY.findall((root / "docs" / "fleet.md").read_text(encoding="utf-8"))}


@pytest.fixture(scope="module")
def scanned(files, tmp_path_factory):
    """A folder with a scan of last week and one of today: some new, gone and changed; a liar, a pickle, a wreck."""
    pytest.importorskip("pyarrow")
    folder = tmp_path_factory.mktemp("questions")
    models = folder / "models"
    shutil.copytree(files / "safetensors" / "llama-tied", models / "plain")
    (models / "plain" / "pytorch_model.bin").write_bytes(b"\\x80\\x02.")
    (models / "two").mkdir()
    q8 = (files / "gguf" / "tiny-llama-q8_0.gguf").read_bytes()
    for name, kind in (("m-F32.gguf", 0), ("m-F16.gguf", 1)):
        (models / "two" / name).write_bytes(small_gguf(tensor_type=kind, name="Two of a kind", license="other"))
    (models / "cut.gguf").write_bytes(q8)
    (models / "liar-Q4_K_M.gguf").write_bytes(q8)
    (models / "old.gguf").write_bytes(q8)
    options = ScanOptions(contexts=(128,), gpus=("24GiB", "1MiB"))

    def run(name):
        scan([str(models)], Outputs(str(folder / name)), options, n_workers=1)

    run("last-week.parquet")
    (models / "old.gguf").unlink()
    (models / "new.gguf").write_bytes(q8)
    (models / "cut.gguf").write_bytes(q8[:-5000])
    run("models.parquet")
    return folder, models


@pytest.fixture
def ask(scanned, root, monkeypatch):
    duckdb = pytest.importorskip("duckdb")
    folder, models = scanned
    monkeypatch.chdir(folder)

    def run(number):
        found = duckdb.sql(queries(root)[number])
        rows = [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
        short = {"target": lambda t: os.path.relpath(t, models), "example": lambda t: os.path.relpath(t, models)}
        return [{k: short.get(k, lambda v: v)(v) for k, v in row.items()} for row in rows]

    return run


def test_there_are_ten(root):
    assert sorted(queries(root)) == list(range(1, 11))


def test_what_breaks_the_policy(ask):
    rows = {row["target"]: row for row in ask(1)}
    assert rows["plain"]["n_pickles"] == 1
    assert rows["cut.gguf"]["verdict"] == "fail"
    assert rows["two/m-F32.gguf"]["license"] == "other"
    assert "new.gguf" not in rows


def test_what_fits_a_24_gb_card(ask):
    rows = ask(2)
    assert {"new.gguf", "plain"} <= {row["target"] for row in rows}
    assert [row["n_params"] for row in rows] == sorted((row["n_params"] for row in rows), reverse=True)


def test_which_are_one_model_in_several_quants(ask):
    rows = {row["title"]: row for row in ask(3)}
    assert rows["Tiny Llama"]["n"] == 3  # the liar, the new one, and the one that is cut short
    assert sorted(q.partition(",")[0] for q in rows["Two of a kind"]["quants"]) == ["F16", "F32"]


def test_what_changed_since_last_week(ask):
    assert {(row["target"], row["what"]) for row in ask(4)} == {
        ("new.gguf", "new"), ("old.gguf", "gone"), ("cut.gguf", "changed"),
    }  # fmt: skip
    (changed,) = [row for row in ask(4) if row["what"] == "changed"]
    assert (changed["was"], changed["is_now"], changed["grown"]) == ("pass", "fail", -5000)


def test_which_are_not_the_quant_that_they_say(ask):
    assert [(row["target"], row["quant_claimed"]) for row in ask(5)] == [("liar-Q4_K_M.gguf", "Q4_K_M")]


def test_what_must_be_downloaded_again(ask):
    assert [(row["target"], row["missing_nbytes"]) for row in ask(6)] == [("cut.gguf", 5000)]


def test_where_the_bytes_are(ask):
    (row,) = ask(7)
    assert (row["arch"], row["n"]) == ("llama", 6)


def test_what_a_long_context_costs(ask):
    rows = ask(8)
    assert rows[0]["nbytes"] == max(row["nbytes"] for row in rows)
    assert {"liar-Q4_K_M.gguf", "new.gguf"} <= {row["target"] for row in rows if row["n_ctx"] == 512}


def test_which_findings_there_are_most_of(ask):
    rows = ask(9)
    assert [row["models"] for row in rows] == sorted((row["models"] for row in rows), reverse=True)
    assert any(row["example"] == "cut.gguf" for row in rows)


def test_which_run_where(ask):
    rows = ask(10)
    assert len(rows) == 2 * 6
    assert {row["gpu"]: row["fits"] for row in rows if row["target"] == "new.gguf"} == {"24GiB": True, "1MiB": False}
