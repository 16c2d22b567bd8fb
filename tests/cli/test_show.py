"""`inspector show` through a real process, against the upstream readers."""

from __future__ import annotations

import json
import os
import time

import gguf
import pytest
import safetensors
from schemas import check


def show(run_inspector, *args, code=0):
    got, out, err = run_inspector(["show", *args, "--json"])
    assert got == code, err
    return check(json.loads(out))


@pytest.mark.models
def test_smollm2_agrees_with_the_reference_reader_field_by_field(models_dir, run_inspector):
    path = models_dir / "SmolLM2-135M-Instruct.Q4_1.gguf"
    answer, reader = show(run_inspector, path), gguf.GGUFReader(path)

    def field(name):
        return reader.get_field(name).contents()

    facts = answer["facts"]
    assert facts["arch"] == field("general.architecture") == "llama"
    for ours, key in (
        ("n_layers", "block_count"), ("d_model", "embedding_length"), ("d_ff", "feed_forward_length"),
        ("n_heads", "attention.head_count"), ("n_kv_heads", "attention.head_count_kv"),
        ("n_ctx_train", "context_length"),
    ):  # fmt: skip
        assert facts[ours] == field(f"llama.{key}"), ours
        assert facts["origin"][ours] == f"llama.{key}"
    assert facts["vocab_size"] == len(field("tokenizer.ggml.tokens"))
    assert facts["n_params"] == sum(int(t.n_elements) for t in reader.tensors) == 134_515_008
    assert answer["tensors_nbytes"] == sum(int(t.n_bytes) for t in reader.tensors)
    assert answer["files"] == [
        {"name": path.name, "nbytes": os.path.getsize(path), "header_nbytes": int(reader.data_offset),
         "n_tensors": len(reader.tensors)}
    ]  # fmt: skip
    by_type = {}
    for t in reader.tensors:
        entry = by_type.setdefault(t.tensor_type.name, [0, 0, 0])
        for i, n in enumerate((1, t.n_elements, t.n_bytes)):
            entry[i] += int(n)
    assert {d["dtype"]: [d["n_tensors"], d["n_elements"], d["nbytes"]] for d in answer["dtypes"]} == by_type


@pytest.mark.models
def test_minilm_agrees_with_safe_open(models_dir, run_inspector):
    folder = models_dir / "all-MiniLM-L6-v2"
    answer = show(run_inspector, folder)
    with safetensors.safe_open(folder / "model.safetensors", "numpy") as file:
        tensors = [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118 - safe_open is no mapping
    assert sum(d["n_tensors"] for d in answer["dtypes"]) == len(tensors) == answer["files"][0]["n_tensors"]
    assert answer["tensors_nbytes"] == sum(t.nbytes for t in tensors)
    # position ids are numbers of rows, not parameters
    assert answer["facts"]["n_params"] == sum(t.size for t in tensors if t.dtype.kind == "f") == 22_713_216
    config = json.loads((folder / "config.json").read_text())
    for ours, theirs in (("n_layers", "num_hidden_layers"), ("d_model", "hidden_size"), ("vocab_size", "vocab_size"),
                         ("d_ff", "intermediate_size"), ("n_heads", "num_attention_heads")):  # fmt: skip
        assert answer["facts"][ours] == config[theirs]


@pytest.mark.models
def test_the_first_screen_is_a_screen(models_dir, run_inspector):
    code, out, err = run_inspector([models_dir / "SmolLM2-135M-Instruct.Q4_1.gguf"])
    assert (code, err) == (0, "")
    assert len(out.splitlines()) <= 26
    assert "134,515,008" in out


def test_every_fixture_is_shown_and_holds_to_the_schema(files, root, run_inspector):
    targets = [*sorted((files / "gguf").glob("*.gguf")), *sorted((files / "safetensors").iterdir())]
    targets += sorted((root / "fixtures" / "configs").glob("*.json"))[::6]
    assert len(targets) > 20
    failed = []
    for target in targets:
        code, out, err = run_inspector(["show", target, "--json"])
        if code == 0:
            check(json.loads(out))
        else:
            failed.append((target.name, err.splitlines()[0]))
    assert failed == []


def test_a_header_of_forty_gigabytes_takes_no_time(sparse_model, run_inspector):
    path = sparse_model("llama-2-70b")
    assert path.stat().st_size > 38 << 30
    start = time.monotonic()
    answer = show(run_inspector, path)
    assert time.monotonic() - start < 5  # a cold start on a busy machine; reading 40 GB takes minutes
    assert answer["facts"]["n_params"] == 68_976_648_192


def cut(source, target, nbytes):
    target.write_bytes(source.read_bytes()[:nbytes])
    return target


@pytest.mark.parametrize("command", ["show", "memory", "tensors", "meta"])
@pytest.mark.parametrize("kind", ["gguf", "safetensors"])
def test_a_file_cut_short_is_answered_from_its_header_and_exits_2(command, kind, files, tmp_path, run_inspector):
    if kind == "gguf":
        whole = files / "gguf" / "tiny-llama-q8_0.gguf"
        target = part = cut(whole, tmp_path / "part.gguf", whole.stat().st_size - 1000)
    else:
        for name in ("config.json",):
            (tmp_path / name).write_bytes((files / "safetensors" / "llama-untied" / name).read_bytes())
        whole = files / "safetensors" / "llama-untied" / "model.safetensors"
        part, target = cut(whole, tmp_path / "model.safetensors", whole.stat().st_size - 1000), tmp_path
    code, out, err = run_inspector([command, target])
    assert code == 2
    assert out.strip()
    assert err.startswith(f"error: {part.name} is cut short: 1,000 bytes are missing")
    assert run_inspector([command, whole if kind == "gguf" else whole.parent])[0] == 0


def test_missing_bytes_are_in_the_json(files, tmp_path, run_inspector):
    whole = files / "gguf" / "tiny-llama-q8_0.gguf"
    part = cut(whole, tmp_path / "part.gguf", whole.stat().st_size - 1000)
    assert show(run_inspector, part, code=2)["missing_nbytes"] == 1000


def test_missing_shards_are_named(files, tmp_path, run_inspector):
    whole = files / "safetensors" / "llama-sharded"
    gone = "model-00003-of-00003.safetensors"
    for file in whole.iterdir():
        if file.name != gone:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    code, out, err = run_inspector(["show", tmp_path, "--json"])
    answer = check(json.loads(out))
    assert code == 2
    assert answer["missing"] == [gone]
    assert f"1 of the model's files are missing: {gone}" in err
    assert run_inspector(["show", whole])[0] == 0


def test_a_pointer_in_place_of_a_shard_is_named_once(files, run_inspector):
    code, out, err = run_inspector(["show", files / "broken" / "half-a-download"])
    assert (code, out) == (2, "")
    assert err.count("model-00002-of-00003.safetensors") == 1
    assert "Git LFS pointer" in err
    assert "hint: git lfs pull" in err


@pytest.mark.parametrize(
    ("name", "content"),
    [("empty.gguf", b""), ("text.gguf", b"hello"), ("html.safetensors", b"<!doctype html><html>not found</html>"),
     ("lfs.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12\n"),
     ("header.gguf", b"GGUF\x03\0\0\0" + b"\xff" * 16), ("length.safetensors", b"\xff" * 8 + b"{}")],
)  # fmt: skip
def test_what_is_no_model_is_one_line_and_exit_code_2(name, content, tmp_path, run_inspector):
    path = tmp_path / name
    path.write_bytes(content)
    for command in ("show", "memory", "tensors", "meta"):
        code, out, err = run_inspector([command, path])
        assert (code, out) == (2, "")
        lines = err.splitlines()
        assert lines[0].startswith("error: ")
        assert name in lines[0]
        assert len(lines) <= 2
        assert "Traceback" not in err


def test_a_missing_file_is_said_to_be_missing(tmp_path, run_inspector):
    code, out, err = run_inspector(["show", tmp_path / "nothing.gguf"])
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert "nothing.gguf" in err
