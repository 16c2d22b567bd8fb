"""What scripts/track.py and scripts/remeasure.py say of releases: pure parts, over small trees and rows."""

from __future__ import annotations

import argparse
import importlib
import json

import pytest

CODE = "size_t pad_row(int n) {\n    if (n) { return 1; }\n    return 2;\n}\nint other(int n) {\n    return n;\n}\n"


@pytest.fixture(scope="module")
def track():
    return importlib.import_module("track")


@pytest.fixture(scope="module")
def remeasure():
    return importlib.import_module("remeasure")


def test_a_functions_text_ends_with_its_braces(track):
    assert track.body(CODE, "pad_row") == CODE.partition("\nint other")[0]
    assert track.body(CODE, "nobody") == ""
    assert track.body("def f_one(x):\n    return x\n\n\ny = 1\n", "f_one").strip() == "def f_one(x):\n    return x"


def trees(tmp_path, after):
    for name, text in (("old", CODE), ("new", after)):
        folder = tmp_path / name / "src"
        folder.mkdir(parents=True)
        if text:
            (folder / "llama-one.cpp").write_text(text)
    return tmp_path / "old", tmp_path / "new"


@pytest.mark.parametrize(
    ("after", "gone", "changed"),
    [
        (CODE, 0, 0),
        (CODE.replace("return 2", "return 3"), 0, 2),
        (CODE.replace("return n", "return -n"), 0, 1),
        (CODE.replace("pad_row", "pad_rows"), 1, 1),
        ("", 1, 0),
    ],
    ids=["as it was", "the function", "another function", "renamed", "no file"],
)
def test_what_is_cited_stands_changed_or_is_gone(track, tmp_path, after, gone, changed):
    old, new = trees(tmp_path, after)
    cited = [track.Citation("src/llama-one.cpp", word, "here.py:1") for word in ("", "pad_row")]
    found = track.verdicts(old, new, cited)
    assert (len(found[0]), len(found[1])) == (gone, changed)


def test_our_docstrings_cite_files_and_the_words_beside_them(track, tmp_path):
    source = tmp_path / "src"
    source.mkdir()
    (source / "llama-kv-cache.cpp").write_text("// nothing that we name\n")
    found = track.citations(tmp_path, "llamacpp")
    assert {c.path for c in found} == {"src/llama-kv-cache.cpp"}
    assert all(c.where.startswith("inspector/") for c in found)


def test_a_figure_that_moved_is_its_lines_and_a_release_that_gives_none_is_told_apart(track):
    oracle = next(o for o in track.oracles.ORACLES if o.fixture == "llamacpp.jsonl.gz")
    before = {"model": "m", "kv_bytes": 110, "compute_bytes": 50}
    found = list(track.figures(oracle, before, {"model": "m", "kv_bytes": 100}))
    assert [(m.line, m.before, m.now) for m in found] == [("caches", 110, 100), ("compute", 50, None)]
    refused = track.figures(oracle, before, {**before, "error": "no"})
    assert [(m.line, m.now) for m in refused] == [("caches", None), ("compute", None)]
    lines = track.table(found)
    assert "| caches | 1 |  | 0 | 10% | +10% | m |" in lines[2]
    assert "| compute | 1 | 1 | 0 |  |  |  |" in lines[3]


def test_what_a_row_says_beside_its_figures_is_counted_where_it_differs(track):
    oracle = next(o for o in track.oracles.ORACLES if o.group == "convert")
    before = {"name": "m", "keys": {"a": 1, "b": [2]}}
    moved = list(track.figures(oracle, before, {"name": "m", "keys": {"a": 1, "b": [3]}}))
    assert [(m.line, m.model, m.before, m.now) for m in moved] == [("tensors and keys", "m", 0, 1)]
    assert "| convert | tensors and keys | 1 |  | 0 | 1 values | +1 values | m |" in track.table(moved)[2]


def test_rows_that_a_release_cannot_be_asked_for_are_said(track, tmp_path):
    oracle = next(o for o in track.oracles.ORACLES if o.fixture == "vllm_kv.jsonl")
    (tmp_path / "vllm").mkdir()
    tools = track.Tools(track.engines.Release("llamacpp", "1.0.0", tmp_path), tmp_path, vllm=tmp_path)
    found, unasked = track.all_figures(tools, {oracle.fixture}, "0.0.0")
    assert found == []
    assert [said.partition(": could not be asked: ")[0] for said in unasked] == [oracle.fixture]
    assert track.Report("0.0.0", found, {}, [], [], unasked).code == 1


def test_a_release_that_does_not_build_is_said(track, tmp_path):
    given = {"source": tmp_path, "build": tmp_path / "build", "cache": tmp_path, "clang": "no-such-clang", "cuda": None}
    for only, whats in (
        (["llamacpp.jsonl.gz"], ["the release"]),
        (["llamacpp.jsonl.gz", "cuda.jsonl.gz"], ["CUDA's host code", "the release"]),
    ):
        options = argparse.Namespace(**given | {"only": only, "cuda": tmp_path if len(only) > 1 else None})
        found, unasked = track.rows_of("llamacpp", "1.0.0", options)  # an empty folder is no source of llama.cpp
        assert found == []
        assert [said.partition(" was not built")[0] for said in unasked] == whats


def test_every_fixture_that_is_tracked_is_an_oracle(track):
    known = {oracle.fixture for oracle in track.oracles.ORACLES}
    assert {name for names in track.ROWS.values() for name in names} <= known


def test_two_rows_part_where_a_value_or_a_length_does(remeasure):
    before, now = {"a": [1, {"b": 2}], "c": 3}, {"a": [1, {"b": 4}], "d": 5}
    assert list(remeasure.differences(before, now)) == [("a[1].b", 2, 4), ("c", 3, None), ("d", None, 5)]
    assert list(remeasure.differences([1], [1, 2])) == [("", [1], [1, 2])]
    assert list(remeasure.differences(before, json.loads(json.dumps(before)))) == []


def test_every_oracle_has_rows_with_names_of_their_own(remeasure):
    for oracle in remeasure.oracles.ORACLES:
        rows = oracle.rows()
        assert rows
        assert all(oracle.name(row) for row in rows[:50])


def test_a_row_is_found_by_its_number_or_by_words_of_its_name(remeasure):
    oracle = next(o for o in remeasure.oracles.ORACLES if o.fixture == "cuda.jsonl.gz")
    rows = [{"model": "a", "case": "full"}, {"model": "b", "case": "half"}]
    assert remeasure.chosen(oracle, rows, None) == [0, 1]
    assert remeasure.chosen(oracle, rows, "1") == [1]
    assert remeasure.chosen(oracle, rows, "half b") == [1]
    assert remeasure.chosen(oracle, rows, "2") == []
