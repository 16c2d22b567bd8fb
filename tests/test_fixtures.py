"""The committed files, as the upstream readers and the tables that they were written from see them."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import gguf
import pytest
import safetensors

from inspector.formats import read
from inspector.formats.gguf import read_array, read_strings
from inspector.formats.modelfile import LongArray
from inspector.sources.local import LocalSource

ROOT = Path(__file__).resolve().parent.parent
GGUF = ROOT / "fixtures" / "files" / "gguf"
SAFETENSORS = ROOT / "fixtures" / "files" / "safetensors"
# The upstream reader does not know type 42, takes Q8_1's blocks for 40 bytes, and loses arrays of arrays.
BEYOND_UPSTREAM = {"beyond-upstream.gguf", "nested-arrays.gguf"}
READABLE = sorted(p.name for p in GGUF.glob("*.gguf") if p.name not in BEYOND_UPSTREAM)
TENSOR_FILES = sorted(str(p.relative_to(SAFETENSORS)) for p in SAFETENSORS.rglob("*.safetensors"))


def load_script(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def maker():
    return load_script("make_fixtures")


def whole(source: LocalSource, value, byte_order: str):
    """An array as a list, whether it was kept or counted."""
    if isinstance(value, LongArray):
        reader = read_strings if value.elem == "str" else read_array
        return list(reader(source, value, byte_order=byte_order))
    return list(value) if isinstance(value, tuple) else value


def assert_gguf_as_upstream_reads_it(path: Path) -> None:
    upstream = gguf.GGUFReader(path)
    fields = {k: f for k, f in upstream.fields.items() if not k.startswith("GGUF.")}
    with LocalSource(str(path)) as source:
        ours = read(source)
        assert list(ours.metadata) == list(fields)
        for key, field in fields.items():
            assert whole(source, ours.metadata[key], ours.byte_order) == field.contents(), key
    assert ours.version == upstream.fields["GGUF.version"].contents()
    assert ours.alignment == upstream.alignment
    assert ours.header_bytes == upstream.data_offset or not upstream.tensors
    assert [
        (t.name, t.shape, t.dtype.ggml_id, t.offset, t.nbytes, t.n_elements) for t in ours.tensors
    ] == [
        (t.name, tuple(map(int, reversed(t.shape))), int(t.tensor_type), t.data_offset, t.n_bytes, t.n_elements)
        for t in upstream.tensors
    ]  # fmt: skip


def assert_safetensors_as_upstream_reads_it(path: Path) -> None:
    with LocalSource(str(path)) as source:
        ours = read(source)
    with safetensors.safe_open(path, framework="np") as upstream:
        assert sorted(t.name for t in ours.tensors) == sorted(upstream.keys())
        assert dict(ours.metadata) == (upstream.metadata() or {})
        for tensor in ours.tensors:
            view = upstream.get_slice(tensor.name)
            assert (list(tensor.shape), tensor.dtype.name) == (view.get_shape(), view.get_dtype())
    # the upstream deserializer hands out each tensor's bytes: ours must be the same stretch of the file
    data = path.read_bytes()
    for name, view in safetensors.deserialize(data):
        tensor = next(t for t in ours.tensors if t.name == name)
        assert data[tensor.offset : tensor.offset + tensor.nbytes] == view["data"]


def test_the_script_writes_the_committed_files_byte_for_byte():
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "make_fixtures.py", "files", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_files_are_small_enough_to_commit(files):
    assert sum(p.stat().st_size for p in files.rglob("*") if p.is_file()) < 2 * 10**6


@pytest.mark.parametrize("name", READABLE)
def test_a_gguf_reads_as_the_upstream_reader_reads_it(name):
    assert_gguf_as_upstream_reads_it(GGUF / name)


@pytest.mark.parametrize("name", TENSOR_FILES)
def test_a_safetensors_file_reads_as_safe_open_reads_it(name):
    assert_safetensors_as_upstream_reads_it(SAFETENSORS / name)


@pytest.mark.models
def test_smollm2_reads_as_the_upstream_reader_reads_it(models_dir):
    assert_gguf_as_upstream_reads_it(models_dir / "SmolLM2-135M-Instruct.Q4_1.gguf")


@pytest.mark.models
def test_minilm_reads_as_safe_open_reads_it(models_dir):
    assert_safetensors_as_upstream_reads_it(models_dir / "all-MiniLM-L6-v2" / "model.safetensors")


@pytest.mark.parametrize(("name", "order"), [("every-value.gguf", "little"), ("every-value-be.gguf", "big")])
def test_metadata_of_every_type_comes_back_as_it_was_written(maker, name, order):
    with LocalSource(str(GGUF / name)) as source:
        ours = read(source)
        assert ours.byte_order == order
        for key, (kind, value) in maker.EVERY_VALUE.items():
            assert ours.metadata_types[key] == kind
            assert whole(source, ours.metadata[key], order) == value, key
    assert len(ours.metadata) == len(maker.EVERY_VALUE) + 1  # general.architecture


def test_arrays_of_arrays_come_back_as_they_were_written(maker):
    def as_lists(value):
        return [as_lists(v) for v in value] if isinstance(value, tuple) else value

    with LocalSource(str(GGUF / "nested-arrays.gguf")) as source:
        ours = read(source)
    assert {k: as_lists(ours.metadata[k]) for k in maker.NESTED} == {k: v for k, (_, v) in maker.NESTED.items()}


def test_types_that_the_upstream_reader_gets_wrong_have_the_sizes_of_ggml():
    with LocalSource(str(GGUF / "beyond-upstream.gguf")) as source:
        q2_0, q8_1, last = read(source).tensors
    assert (q2_0.dtype.name, q2_0.shape, q2_0.nbytes) == ("Q2_0", (3, 256), 3 * 4 * 18)
    assert q8_1.offset == q2_0.offset + 224  # 216 bytes, padded to 32
    assert (q8_1.dtype.name, q8_1.nbytes) == ("Q8_1", 3 * 36)
    assert last.offset == q8_1.offset + 128


def test_every_type_of_the_upstream_enumeration_is_in_the_files(maker):
    assert {t.name for t in gguf.GGMLQuantizationType} <= set(maker.GGML_TYPES) | set(maker.NEWER_TYPES)


def test_a_sparse_recipe_has_a_full_header_and_a_hole(maker, tmp_path):
    path = tmp_path / "llama.gguf"
    size = maker.make_sparse("llama-3-8b-q4_k_m", str(path))
    with LocalSource(str(path)) as source:
        ours = read(source)
    tokens, merges = ours.metadata["tokenizer.ggml.tokens"], ours.metadata["tokenizer.ggml.merges"]
    assert (tokens.length, merges.length) == (128_256, 280_147)
    assert ours.tensors_nbytes == 4_912_898_048  # what llama-quantize b11434 writes for this model at Q4_K_M
    assert sum(t.n_elements for t in ours.tensors) == 8_030_261_248
    assert ours.size == size == ours.data_end
    assert 7_000_000 < ours.header_bytes < 9_000_000
    assert os.stat(path).st_blocks * 512 < 16_000_000


def test_the_recipe_s_types_are_those_that_llama_quantize_chooses(maker):
    recipe = json.loads((ROOT / "fixtures" / "recipes" / "llama-3-8b-q4_k_m.json").read_text())
    tensors = maker.recipe_tensors(recipe)
    raised = {i for i in range(32) if tensors[f"blk.{i}.attn_v.weight"][0] == "Q6_K"}
    # use_more_bits in llama-quant.cpp: the first and last eighth, and every third layer between
    assert raised == {i for i in range(32) if i < 4 or i >= 28 or (i - 4) % 3 == 2}
    assert raised == {i for i in range(32) if tensors[f"blk.{i}.ffn_down.weight"][0] == "Q6_K"}
    assert tensors["output.weight"][0] == "Q6_K"
    assert len(tensors) == 291
