"""--deep and --hash: what is in the data, and whether it is the data that was published."""

from __future__ import annotations

import hashlib

import gguf
import numpy as np
import pytest
from audit_builder import audit, codes, hub_snapshot, projector_bytes, st_bytes, write
from gguf_builder import Tensor

from inspector.dtypes import DTYPES

FLOATS = {
    "F64": ("<f8", 0x7FF0000000000000, 0x7FF8000000000001),
    "F32": ("<f4", 0x7F800000, 0x7FC00001),
    "F16": ("<f2", 0x7C00, 0x7E01),
    "BF16": ("<u2", 0x7F80, 0x7FC1),
}


def one_tensor(tmp_path, dtype, raw, shape, name="w.weight"):
    write(tmp_path, {"model.safetensors": st_bytes({name: (dtype, shape)}, data=raw)})
    return tmp_path / "model.safetensors"


def deep(path):
    return {(f.code, f.severity) for f in audit(path, deep=True).findings}


@pytest.mark.parametrize("dtype", FLOATS)
def test_nan_and_infinity_are_told_apart_in_every_float(tmp_path, dtype):
    kind, inf, nan = FLOATS[dtype]
    for bits, code in ((inf, "VA002"), (nan, "VA001"), (inf | 1 << (8 * np.dtype(kind).itemsize - 1), "VA002")):
        values = np.ones(64, dtype=kind.replace("f", "u"))
        values[63] = bits
        path = one_tensor(tmp_path, dtype, values.tobytes(), (8, 8))
        report = audit(path, deep=True)
        assert [(f.code, f.severity) for f in report.findings] == [(code, "warning")]
        assert report.findings[0].message.startswith("1 element")
        assert audit(path).findings == ()
    assert deep(one_tensor(tmp_path, dtype, np.ones(64, dtype=kind.replace("f", "u")).tobytes(), (8, 8))) == set()


def test_nan_in_eight_bits(tmp_path):
    raw = bytearray(b"\x30" * 64)
    raw[5] = 0xFF
    assert deep(one_tensor(tmp_path, "F8_E4M3", bytes(raw), (8, 8))) == {("VA001", "warning")}
    raw[5] = 0x7E
    assert deep(one_tensor(tmp_path, "F8_E4M3", bytes(raw), (8, 8))) == set()


def test_integers_have_no_nan(tmp_path):
    assert deep(one_tensor(tmp_path, "I32", b"\xff" * 256, (8, 8))) == set()


def test_a_matrix_of_zeros_is_a_warning_and_a_bias_of_zeros_is_none(tmp_path):
    assert deep(one_tensor(tmp_path, "F32", bytes(256), (8, 8))) == {("VA003", "warning")}
    assert deep(one_tensor(tmp_path, "F32", bytes(256), (64,))) == set()
    assert deep(one_tensor(tmp_path, "F32", bytes(256), (1, 64))) == set()
    assert deep(one_tensor(tmp_path, "F32", bytes(256), (8, 8), "x.bias")) == set()
    assert deep(one_tensor(tmp_path, "F32", bytes(256), (8, 8), "q_proj.lora_B.weight")) == set()
    assert deep(one_tensor(tmp_path, "F32", bytes(255) + b"\1", (8, 8))) == set()


def test_a_mask_may_be_infinite(tmp_path):
    raw = np.full(64, -np.inf, "<f4").tobytes()
    assert deep(one_tensor(tmp_path, "F32", raw, (8, 8), "attn.masked_bias")) == set()


def test_tensors_larger_than_a_piece_are_read_to_their_end(tmp_path):
    values = np.ones(5 << 20, "<f4")
    values[-1] = np.nan
    assert deep(one_tensor(tmp_path, "F32", values.tobytes(), (5, 1 << 20))) == {("VA001", "warning")}


QUANTS = [d.name for d in DTYPES.values() if d.ggml_id is not None and d.block_elems > 1]


def quantised(name, n_rows=3):
    """Bytes that the reference quantises or, where it cannot, noise with sound scales."""
    dtype, kind = DTYPES[name], getattr(gguf.GGMLQuantizationType, name, None)
    values = np.random.default_rng(0).standard_normal((n_rows, dtype.block_elems * 2)).astype(np.float32)
    try:
        return gguf.quants.quantize(values, kind).tobytes()
    except (NotImplementedError, KeyError, AttributeError):
        return bytes(0x11 for _ in range(n_rows * 2 * dtype.block_bytes))


def quant_file(tmp_path, name, raw):
    dtype = DTYPES[name]
    tensor = Tensor("blk.0.ffn_gate.weight", (dtype.block_elems * 2, 3), dtype.ggml_id)
    norm, sound = Tensor("v.norm.weight", (32,)), np.ones(32, "<f4").tobytes()
    write(tmp_path, {"model.gguf": projector_bytes([norm, tensor], data=sound + raw + bytes(-len(raw) % 32))})
    return tmp_path / "model.gguf"


@pytest.mark.parametrize("name", QUANTS)
def test_sound_blocks_have_no_finding(tmp_path, name):
    assert deep(quant_file(tmp_path, name, quantised(name))) == set()


DEQUANTISED = [n for n in QUANTS if getattr(gguf.GGMLQuantizationType, n, None) in gguf.quants._type_traits]


@pytest.mark.parametrize("name", DEQUANTISED)
def test_blocks_that_the_reference_dequantises_to_nan_or_infinity_are_found(tmp_path, name):
    """Every two bytes of a block in turn are set to ones: found when, and only when, the reference's values suffer."""
    dtype, kind = DTYPES[name], gguf.GGMLQuantizationType[name]
    raw = quantised(name)
    for at in range(0, dtype.block_bytes - 1, 2):
        changed = bytearray(raw)
        changed[at : at + 2] = b"\xff\xff"
        with np.errstate(all="ignore"):
            values = gguf.quants.dequantize(np.frombuffer(bytes(changed), np.uint8).reshape(3, -1), kind)
        expected = {("VA004", "warning")} if not np.isfinite(values).all() else set()
        assert deep(quant_file(tmp_path, name, bytes(changed))) == expected, at


def test_blocks_of_zeros_are_a_warning(tmp_path):
    raw = bytes(3 * 2 * DTYPES["Q4_K"].block_bytes)
    assert deep(quant_file(tmp_path, "Q4_K", raw)) == {("VA003", "warning")}


def test_a_file_cut_short_is_read_as_far_as_it_goes(tmp_path):
    path = one_tensor(tmp_path, "F32", np.ones(64, "<f4").tobytes(), (8, 8))
    path.write_bytes(path.read_bytes()[:-10])
    assert deep(path) == {("ST009", "error")}


def test_progress_is_told(tmp_path):
    said = []
    audit(one_tensor(tmp_path, "F32", bytes(256), (8, 8)), deep=True, progress=said.append)
    assert said
    assert all("model.safetensors" in words for words in said)


# --- hashes ----------------------------------------------------------------------------------------------------------

ST = st_bytes({"a": ("F32", (2, 2))})
SHA = hashlib.sha256(ST).hexdigest()


def hashed(path):
    return {(f.code, f.severity) for f in audit(path, hashes=True).findings}


def test_a_blob_is_held_against_its_name_only_when_asked(tmp_path):
    assert hashed(hub_snapshot(tmp_path / "good", {"model.safetensors": ST})) == set()
    bad = hub_snapshot(tmp_path / "bad", {"model.safetensors": ST}, hashes={"model.safetensors": "0" * 64})
    assert hashed(bad) == {("HS001", "warning")}
    assert codes(bad) == set()


def test_a_small_blob_is_held_against_its_git_name(tmp_path):
    raw = b'{"a": 1}'
    git = hashlib.sha1(b"blob %d\0" % len(raw) + raw, usedforsecurity=False).hexdigest()
    files = {"model.safetensors": ST, "config.json": raw}
    assert hashed(hub_snapshot(tmp_path / "good", files, hashes={"config.json": git})) == set()
    assert hashed(hub_snapshot(tmp_path / "bad", files, hashes={"config.json": "1" * 40})) == {("HS001", "warning")}


LINES = [
    "{0}  model.safetensors\n",
    "{0} *model.safetensors\n",
    "SHA256 (model.safetensors) = {0}\n",
    "{0}  ./model.safetensors\r\n",
]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("name", ["SHA256SUMS", "sha256sums.txt"])
def test_a_list_of_hashes_is_checked(tmp_path, line, name):
    write(tmp_path, {"model.safetensors": ST, name: line.format(SHA)})
    assert hashed(tmp_path) == set()
    write(tmp_path, {name: line.format("f" * 64)})
    assert hashed(tmp_path) == {("HS001", "warning")}


def test_a_hash_file_of_its_own_is_checked(tmp_path):
    write(tmp_path, {"model.safetensors": ST, "model.safetensors.sha256": SHA})
    assert hashed(tmp_path) == set()
    write(tmp_path, {"model.safetensors.sha256": "0" * 64})
    assert hashed(tmp_path) == {("HS001", "warning")}


def test_a_list_that_names_files_elsewhere_opens_none(tmp_path):
    write(tmp_path / "m", {"model.safetensors": ST, "SHA256SUMS": f"{SHA}  model.safetensors\n{'0' * 64}  ../x\n"})
    write(tmp_path, {"x": "y"})
    assert hashed(tmp_path / "m") == {("HS002", "warning")}


def test_notes_of_a_download_are_checked(tmp_path):
    note = ".cache/huggingface/download/model.safetensors.metadata"
    write(tmp_path, {"model.safetensors": ST, note: f"{'a' * 40}\n{SHA}\n1700000000.0\n"})
    assert hashed(tmp_path) == set()
    write(tmp_path, {note: f"{'a' * 40}\n{'b' * 64}\n1700000000.0\n"})
    assert hashed(tmp_path) == {("HS001", "warning")}


def test_nothing_to_compare_is_said(tmp_path):
    write(tmp_path, {"model.safetensors": ST})
    assert hashed(tmp_path) == {("HS003", "info")}
