"""One target as one row: what other commands say of it, and an error in place of what cannot be said."""

from __future__ import annotations

import json
import os
import pickle

import gguf_builder as g
import pytest
from hub_models import small_gguf

import inspector
from inspector.fleet.columns import COLUMNS, TENSOR_COLUMNS
from inspector.fleet.row import ScanOptions, scan_all, scan_one
from inspector.memory.devices.gpus import GPUS

Q8 = "gguf/tiny-llama-q8_0.gguf"
KINDS = {"text": str, "int": int, "real": float, "flag": bool}


def fits(value, kind):
    """Whether a value is what its column holds."""
    if value is None:
        return True
    if kind == "texts":
        return all(type(v) is str for v in value)
    if isinstance(kind, str):
        return type(value) is KINDS[kind]
    return all(list(one) == [n for n, _ in kind] and all(fits(one[n], k) for n, k in kind) for one in value)


def every_target(files):
    yield from sorted(files.glob("gguf/*"))
    yield from sorted(files.glob("safetensors/*"))
    yield from (files / "broken" / "half-a-download", files / "nothing-here", files / "safetensors")


def test_every_row_has_every_column_and_each_value_its_type(files):
    for target in every_target(files):
        row = scan_one(str(target), ScanOptions(engines=("llama.cpp", "vllm"), gpus=("24GiB",)))
        assert list(row) == [c.name for c in COLUMNS]
        assert [c.name for c in COLUMNS if not fits(row[c.name], c.kind)] == [], target
        assert json.loads(json.dumps(row)) == row
        assert row["error_kind"] != "defect", row["error"]


def test_a_row_says_what_the_other_commands_say(files, run_inspector):
    row = scan_one(str(files / Q8), ScanOptions(engines=("llama.cpp",), contexts=(256,)))
    shown = json.loads(run_inspector(["show", files / Q8, "--json"])[1])
    audited = json.loads(run_inspector(["audit", files / Q8, "--json"])[1])
    memory = json.loads(run_inspector(["memory", files / Q8, "-c", "256", "-e", "llama.cpp", "--json"])[1])
    for name in ("arch", "n_params", "n_params_active", "n_layers", "d_model", "vocab_size", "n_ctx_train"):
        assert row[name] == shown["facts"][name]
    for name in ("format", "tensors_nbytes", "missing_nbytes", "quant_claimed", "quant_actual"):
        assert row[name] == shown[name]
    assert (row["nbytes"], row["n_tensors"]) == (shown["files"][0]["nbytes"], shown["files"][0]["n_tensors"])
    assert [{k: d[k] for k in ("dtype", "nbytes")} for d in row["dtypes"]] == [
        {k: d[k] for k in ("dtype", "nbytes")} for d in shown["dtypes"]
    ]
    assert row["verdict"] == audited["verdict"]
    assert row["estimates"][0]["nbytes"] == memory["total_nbytes"]


@pytest.mark.parametrize("name", ["llama-3-8b", "qwen3-30b-a3b", "deepseek-v2-lite"])
def test_the_smallest_gpu_holds_it_and_no_smaller_one_does(name, sparse_model):
    path = str(sparse_model(name))
    row = scan_one(path, ScanOptions(contexts=(4096,), audit=False))
    assert row["smallest_gpu_n_ctx"] == 4096

    def holds(gpu):
        served = inspector.Workload(n_ctx=4096, n_seqs=1, outputs="last")
        return inspector.memory(path, gpu=gpu, engine="llama.cpp", workload=served).fits

    assert holds(row["smallest_gpu"])
    smaller = {
        g.name for g in GPUS.values() if g.vendor == "NVIDIA" and g.as_gpu().capacity < 0.8 * row["smallest_gpu_nbytes"]
    }
    assert smaller
    assert [gpu for gpu in sorted(smaller)[:8] if holds(gpu)] == []


def test_a_model_that_its_engine_refuses_is_read_in_full_and_fits_on_nothing(files):
    row = scan_one(str(files / "safetensors" / "every-dtype.safetensors"))
    assert (row["error"], row["smallest_gpu"]) == (None, None)


def test_bytes_a_token_are_two_vectors_a_layer_in_half_precision(files):
    row = scan_one(str(files / Q8))
    facts = inspector.read_facts(inspector.inspect(str(files / Q8)))
    assert row["kv_nbytes_token"] == 2 * 2 * facts.n_kv_heads * facts.head_dim_k * facts.n_layers == 128
    assert row["caches"] == [{"n_ctx": 512, "nbytes": 512 * row["kv_nbytes_token"]}]  # it was trained for no more


def test_two_quants_of_a_model_have_one_shape_key_and_another_model_has_another(tmp_path):
    for name, kind in (("a-F32.gguf", 0), ("a-F16.gguf", 1)):
        (tmp_path / name).write_bytes(small_gguf(tensor_type=kind))
    (tmp_path / "b.gguf").write_bytes(g.build([("general.architecture", g.STR, "llama")], [g.Tensor("x", (64, 64))]))
    (tmp_path / "c.gguf").write_bytes(g.build([("general.architecture", g.STR, "llama")], [g.Tensor("x", (64, 32))]))
    f32, f16, other, narrower = (
        scan_one(str(tmp_path / n))["shape_key"] for n in ("a-F32.gguf", "a-F16.gguf", "b.gguf", "c.gguf")
    )
    assert f32 == f16 != other != narrower


def test_what_is_broken_is_a_row_with_its_error_and_its_findings(tmp_path, files):
    data = (files / Q8).read_bytes()
    (tmp_path / "cut.gguf").write_bytes(data[:-1000])
    (tmp_path / "header.gguf").write_bytes(data[:40])
    (tmp_path / "page.gguf").write_bytes(b"<!DOCTYPE html><html></html>")
    cut, header, page = (scan_one(str(tmp_path / f"{n}.gguf")) for n in ("cut", "header", "page"))
    assert (cut["error_kind"], cut["error"], cut["missing_nbytes"]) == ("format", "cut short", 1000)
    assert cut["n_params"] == scan_one(str(files / Q8))["n_params"]
    assert {header["error_kind"], page["error_kind"]} == {"format"}
    assert [row["verdict"] for row in (cut, header, page)] == ["fail"] * 3
    gone = scan_one(str(tmp_path / "gone.gguf"))
    assert (gone["error_kind"], gone["verdict"]) == ("source", None)


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "\x1b[31mred", "a\u202eb", "x" * 5000])
def test_names_that_a_file_gives_are_harmless_and_short(name, tmp_path):
    (tmp_path / "m.gguf").write_bytes(small_gguf(name=name))
    title = scan_one(str(tmp_path / "m.gguf"))["title"]
    assert title.isprintable()
    assert len(title) <= 1001


def test_numbers_that_no_column_holds_are_not_known(tmp_path):
    tensors = [g.Tensor(f"t{i}", (2**31, 2**31), 0, offset=0) for i in range(8)]
    (tmp_path / "m.gguf").write_bytes(g.build([("general.architecture", g.STR, "llama")], tensors, data=b""))
    row = scan_one(str(tmp_path / "m.gguf"))
    assert all(fits(row[c.name], c.kind) for c in COLUMNS)
    assert all(abs(v) < 2**63 for v in row.values() if type(v) is int)


def test_tensors_come_with_the_row_when_asked_for(files):
    rows = scan_one(str(files / Q8), ScanOptions(tensors=True))["tensors"]
    checkpoint = inspector.inspect(str(files / Q8))
    assert [r[2] for r in rows] == [t.name for t in checkpoint.tensors]
    assert sum(r[6] for r in rows) == checkpoint.tensors_nbytes
    assert {len(r) for r in rows} == {len(TENSOR_COLUMNS)}


def test_a_folder_of_several_models_is_a_row_each_that_opens_alone(tmp_path, files):
    for name in ("one-Q8_0.gguf", "two-Q8_0.gguf"):
        (tmp_path / name).write_bytes((files / Q8).read_bytes())
    rows = scan_all(str(tmp_path))
    assert [r["target"] for r in rows] == [str(tmp_path / n) for n in ("one-Q8_0.gguf", "two-Q8_0.gguf")]
    assert all(os.path.exists(r["target"]) and r["verdict"] for r in rows)


def test_function_and_options_travel_between_processes():
    options = ScanOptions(contexts=(8192,))
    assert pickle.loads(pickle.dumps((scan_one, options))) == (scan_one, options)
