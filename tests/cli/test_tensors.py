"""`inspector tensors` through a real process, against the upstream readers."""

from __future__ import annotations

import csv
import io
import json

import gguf
import pytest
import safetensors
from schemas import check


def tensors(run_inspector, *args):
    code, out, err = run_inspector(["tensors", *args, "--json"])
    assert code == 0, err
    return check(json.loads(out))


@pytest.mark.parametrize("name", ["tiny-llama-q8_0.gguf", "tiny-moe-q8_0.gguf", "mmproj-tiny-f16.gguf"])
def test_every_tensor_is_as_the_reference_reader_has_it(name, files, run_inspector):
    path = files / "gguf" / name
    reader = gguf.GGUFReader(path)
    answer = tensors(run_inspector, path)
    theirs = [
        {"name": t.name, "shape": [int(d) for d in t.shape][::-1], "dtype": t.tensor_type.name,
         "n_elements": int(t.n_elements), "nbytes": int(t.n_bytes),
         "offset": int(t.data_offset) - int(reader.data_offset)}
        for t in reader.tensors
    ]  # fmt: skip
    ours = answer["tensors"]
    base = ours[0]["offset"] - theirs[0]["offset"]  # from the start of the file, or of its data
    assert [t | {"offset": t["offset"] - base} for t in ours] == theirs
    assert answer["nbytes"] == sum(t["nbytes"] for t in theirs)


def test_every_tensor_is_as_safe_open_has_it(files, run_inspector):
    folder = files / "safetensors" / "llama-untied"
    ours = {t["name"]: t for t in tensors(run_inspector, folder)["tensors"]}
    with safetensors.safe_open(folder / "model.safetensors", "numpy") as file:
        names = list(file.keys())
        assert set(ours) == set(names)
        for name in names:
            piece = file.get_slice(name)
            assert (ours[name]["shape"], ours[name]["dtype"]) == (list(piece.get_shape()), piece.get_dtype())


def test_csv_is_the_json(files, run_inspector):
    path = files / "gguf" / "tiny-moe-q8_0.gguf"
    rows = list(csv.DictReader(io.StringIO(run_inspector(["tensors", path, "--csv"])[1])))
    ours = tensors(run_inspector, path)["tensors"]
    assert [(r["name"], r["shape"], int(r["nbytes"]), int(r["offset"])) for r in rows] == [
        (t["name"], "x".join(map(str, t["shape"])), t["nbytes"], t["offset"]) for t in ours
    ]


def test_a_pattern_picks_and_an_order_sorts(files, run_inspector):
    path = files / "gguf" / "tiny-llama-q8_0.gguf"
    every = tensors(run_inspector, path)["tensors"]
    picked = tensors(run_inspector, path, "--match", "blk.0.*")["tensors"]
    assert picked == [t for t in every if t["name"].startswith("blk.0.")]
    assert 0 < len(picked) < len(every)
    by_size = [t["nbytes"] for t in tensors(run_inspector, path, "--sort", "size")["tensors"]]
    assert by_size == sorted(by_size, reverse=True)
    by_offset = [t["offset"] for t in tensors(run_inspector, path, "--sort", "offset")["tensors"]]
    assert by_offset == sorted(by_offset)
    assert tensors(run_inspector, path, "--match", "nothing")["tensors"] == []


def test_names_sort_as_numbers(sparse_model, run_inspector):
    names = [t["name"] for t in tensors(run_inspector, sparse_model("llama-3.2-1b"), "--sort", "name")["tensors"]]
    assert names.index("blk.2.attn_k.weight") < names.index("blk.10.attn_k.weight")


@pytest.mark.parametrize("by", ["dtype", "layer", "role"])
def test_groups_add_up_to_the_whole(by, files, run_inspector):
    path = files / "gguf" / "tiny-moe-q8_0.gguf"
    every = tensors(run_inspector, path)
    groups = tensors(run_inspector, path, "--by", by)["groups"]
    assert sum(g["nbytes"] for g in groups) == every["nbytes"]
    assert sum(g["n_tensors"] for g in groups) == len(every["tensors"])
    assert sum(g["n_elements"] for g in groups) == sum(t["n_elements"] for t in every["tensors"])
    code, out, _ = run_inspector(["tensors", path, "--by", by, "--csv"])
    assert code == 0
    assert len(out.splitlines()) == len(groups) + 1


def test_the_table_ends_with_the_sum(files, run_inspector):
    path = files / "gguf" / "tiny-llama-q8_0.gguf"
    total = tensors(run_inspector, path)
    code, out, _ = run_inspector(["tensors", path])
    assert code == 0
    last = out.splitlines()[-1]
    assert f"{len(total['tensors']):,} tensors, {total['nbytes']:,} B" in last
