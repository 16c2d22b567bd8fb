"""Tensors that repeat are one row: no byte is lost, names say which, and sizes are whole at every width."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.cli.group import run_command_line
from inspector.formats.modelfile import TensorInfo
from inspector.report.folding import fold, fold_lines, ranges
from inspector.report.look import Look
from inspector.report.text import columns

SIZE = re.compile(r"\d[\d,.]* (?:KiB|MiB|GiB)\b")


def tensors(*names, shape=(4, 4), dtype="F32"):
    return [TensorInfo(name, shape, None, 0, 64, dtype) for name in names]


@pytest.mark.parametrize(
    ("names", "folded"),
    [
        (["blk.0.a", "blk.1.a", "blk.2.a"], ["blk.[0-2].a"]),
        (["blk.0.a", "output.weight", "blk.2.a"], ["blk.[0,2].a", "output.weight"]),
        (["blk.3.a"], ["blk.3.a"]),
        ([f"l.{i}.e.{j}.w1" for i in (0, 1) for j in range(4)], ["l.[0-1].e.[0-3].w1"]),
        ([f"l.7.e.{j}.w1" for j in range(4)], ["l.7.e.[0-3].w1"]),
        ([f"blk.{i}.ssm" for i in range(12) if i % 4 != 3], ["blk.[0-2,4-6,8-10].ssm"]),
        ([f"blk.{i}.ssm" for i in range(48) if i % 4 != 3], ["blk.[0…46].ssm"]),
        (["h.0", "h.1", "layer1.a", "layer2.a"], ["h.[0-1]", "layer1.a", "layer2.a"]),
    ],
)
def test_names_that_differ_in_numbers_are_one(names, folded):
    assert [f.name for f in fold(tensors(*names))] == folded


def test_tensors_of_other_shapes_stay_apart_and_types_are_counted():
    every = [*tensors("b.0.w", "b.1.w", dtype="Q4_K"), *tensors("b.2.w", dtype="Q6_K"), *tensors("b.3.w", shape=(8, 4))]
    assert [(f.name, f.n, f.shape, f.types) for f in fold(every)] == [
        ("b.[0-2].w", 3, (4, 4), (("Q4_K", 2), ("Q6_K", 1))), ("b.3.w", 1, (8, 4), (("F32", 1),)),
    ]  # fmt: skip


@given(st.lists(st.from_regex(r"\A[ab]\.(?:[0-9]{1,3}|x)\.[cd]\Z"), max_size=30))
def test_no_tensor_and_no_byte_is_lost(names):
    every = tensors(*names)
    folds = fold(every)
    assert sum(f.n for f in folds) == len(every)
    assert sum(f.nbytes for f in folds) == sum(t.nbytes for t in every)


@given(st.sets(st.integers(0, 60), min_size=1))
def test_ranges_hold_the_first_and_the_last(numbers):
    found = re.findall(r"\d+", ranges(sorted(numbers)))
    assert (int(found[0]), int(found[-1])) == (min(numbers), max(numbers))


def test_names_are_escaped():
    lines = fold_lines(fold(tensors("a\x1b[31m.0", "a\x1b[31m.1")), look=Look(80, "blocks"), total=128)
    assert not any("\x1b" in line for line in lines)


@pytest.fixture
def run(capsys, monkeypatch):
    def call(*words, width=100, terminal=True):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("CLICOLOR_FORCE", "1" if terminal else "0")
        assert run_command_line([str(w) for w in words]) == 0
        return capsys.readouterr().out

    return call


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
@pytest.mark.parametrize("name", ["llama-3-8b", "qwen3-next-80b-a3b", "gpt-oss-20b"])
def test_no_line_is_wider_than_the_terminal_and_every_size_is_there(sparse_model, run, name, width):
    for command in ("tensors", "show"):
        wide, narrow = (run(command, sparse_model(name), width=n) for n in (400, width))
        assert [line for line in narrow.splitlines() if columns(line) > width] == []
        sizes = SIZE.findall(wide) if command == "tensors" else SIZE.findall(wide.partition("one sequence")[0])
        assert set(sizes) <= set(SIZE.findall(" ".join(narrow.split())))


def test_a_terminal_gets_folds_and_a_pipe_or_all_each_tensor(sparse_model, run):
    model = sparse_model("llama-3-8b")
    names = [t["name"] for t in json.loads(run("tensors", model, "--json"))["tensors"]]
    assert "blk.[0-31].ffn_down.weight" in run("tensors", model)
    for out in (run("tensors", model, terminal=False), run("tensors", model, "--all"), run("show", model, "--all")):
        assert set(names) <= set(out.split())
        assert "blk.[0-31]" not in out


def test_sorted_by_size_the_largest_fold_is_first(sparse_model, run):
    rows = run("tensors", sparse_model("llama-3-8b"), "--sort", "size").splitlines()
    assert rows[1].split()[0] == "blk.[0-31].ffn_down.weight"


def test_the_first_line_of_show_says_what_it_is(sparse_model, run):
    first = run("show", sparse_model("llama-3-8b")).splitlines()[0]
    assert first == "llama-3-8b · llama · 8.03 B params · Q4_K_M · 4.58 GiB"


def test_the_first_screen_shows_where_most_of_the_bytes_are(sparse_model, run):
    lines = run("show", sparse_model("llama-3-8b")).splitlines()
    assert len(lines) <= 26
    at = next(i for i, line in enumerate(lines) if line.startswith("  name"))
    assert lines[at + 1].split()[:3] == ["blk.[0-31].ffn_down.weight", "32", "×"]
    assert lines[at + 6].split()[:2] == ["162", "more"]
