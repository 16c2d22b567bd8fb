"""Logical parameter counts of packed safetensors, against layers that each scheme's own library wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspector.checkpoint import Checkpoint
from inspector.dtypes import SAFETENSORS_DTYPES
from inspector.formats.modelfile import TensorInfo
from inspector.quantization.packed import LogicalTensor, unpack
from inspector.quantization.packed_config import quantization_config, scheme_label

ROWS = [
    json.loads(line)
    for line in (Path(__file__).resolve().parents[2] / "fixtures" / "quantized.jsonl").read_text().splitlines()
]


def tensor(name: str, dtype: str, *shape: int) -> TensorInfo:
    kind = SAFETENSORS_DTYPES[dtype]
    return TensorInfo(name, shape, kind, 0, kind.nbytes(shape))


def config_of(row: dict) -> dict:
    if row["scheme"].startswith("mlx"):
        return {"quant_method": "mlx", "group_size": 64, "bits": 4}
    return row["quantization_config"] or {}


def unpacked(row: dict, config: dict) -> tuple[LogicalTensor, ...]:
    return unpack([tensor(n, t["dtype"], *t["shape"]) for n, t in row["tensors"].items()], config)


@pytest.mark.parametrize("row", ROWS, ids=[r["scheme"] for r in ROWS])
def test_packed_layers_count_what_they_stand_for(row: dict) -> None:
    found = unpacked(row, config_of(row))
    assert [t.n_elements for t in found if t.scheme != "buffer"] == [row["true_logical"]]
    assert sum(t.nbytes for t in found) == row["bytes"]


@pytest.mark.parametrize("row", ROWS, ids=[r["scheme"] for r in ROWS])
def test_without_a_config_a_count_is_right_or_unknown_and_bytes_stay_exact(row: dict) -> None:
    found = unpacked(row, {})
    counts = [t.n_elements for t in found if t.scheme != "buffer"]
    assert None in counts or sum(filter(None, counts)) == row["true_logical"]
    assert sum(t.nbytes for t in found) == row["bytes"]


@pytest.mark.parametrize(
    ("tensors", "config", "count"),
    [
        # bitsandbytes packed into bf16 storage: two a byte all the same
        ([("m.weight", "BF16", 32768, 1), ("m.weight.absmax", "F32", 2048)], {"quant_method": "bitsandbytes"}, 131072),
        # ModelOpt NVFP4: bytes beside one scale to 16
        ([("m.weight", "U8", 256, 256), ("m.weight_scale", "F8_E4M3", 256, 32), ("m.weight_scale_2", "F32")],
         {"quant_method": "modelopt", "quant_algo": "NVFP4"}, 131072),
        # Quark MXFP4: one scale to 32
        ([("m.weight", "U8", 256, 256), ("m.weight_scale", "U8", 256, 16)], {"quant_method": "quark"}, 131072),
        # HQQ: two 4-bit values a byte
        ([("m.W_q", "U8", 65536, 1), ("m.scale", "F16", 2048, 1), ("m.zero", "F16", 2048, 1)],
         {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4}}}, 131072),
        # HQQ 3-bit: ten values an I32
        ([("m.W_q", "I32", 1000, 1), ("m.scale", "F16", 2048, 1)],
         {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 3}}}, 10000),
        # torchao int4: two a byte, or eight an I32 when tile-packed
        ([("0._weight_qdata", "U8", 256, 256), ("0._weight_scale", "BF16", 256, 16)],
         {"quant_method": "torchao"}, 131072),
        ([("0._weight_qdata", "I32", 256, 64), ("0._weight_scale_and_zero", "BF16", 16, 256, 2)],
         {"quant_method": "torchao"}, 131072),
        # auto-round writes GPTQ's layout; 3-bit rows: 96 words for 1,024 inputs
        ([("m.qweight", "I32", 96, 256), ("m.g_idx", "I32", 1024), ("m.scales", "F16", 8, 256)],
         {"quant_method": "auto-round", "bits": 3}, 262144),
        # DeepSeek's FP4 experts
        ([("m.weight", "I8", 256, 256), ("m.weight_scale_inv", "F8_E8M0", 256, 16)], {"quant_method": "fp8"}, 131072),
    ],
)  # fmt: skip
def test_schemes_that_differ_only_in_storage(tensors: list, config: dict, count: int) -> None:
    found = unpack([tensor(*t) for t in tensors], config)
    assert [t.n_elements for t in found] == [count]


@pytest.mark.parametrize("method", ["aqlm", "vptq", "spqr"])
def test_schemes_without_a_rule_keep_exact_bytes_and_an_unknown_count(method: str) -> None:
    found = unpack(
        [tensor("m.codes", "I8", 64, 64, 2), tensor("m.codebooks", "F16", 2, 256, 1, 8)], {"quant_method": method}
    )
    assert all(t.n_elements is None for t in found)
    assert sum(t.nbytes for t in found) == 64 * 64 * 2 + 2 * 256 * 8 * 2


def test_two_widths_in_one_file_are_told_apart_by_their_targets() -> None:
    groups = {
        "a": {"weights": {"num_bits": 4}, "targets": ["re:.*mlp.*"]},
        "b": {"weights": {"num_bits": 8}, "targets": ["re:.*attn.*"]},
    }
    config = {"quant_method": "compressed-tensors", "config_groups": groups}
    tensors = [tensor("x.mlp.weight_packed", "I32", 4, 8), tensor("x.attn.weight_packed", "I32", 4, 8)]
    assert {t.name: t.n_elements for t in unpack(tensors, config)} == {"x.mlp.weight": 256, "x.attn.weight": 128}


def test_every_stored_tensor_belongs_to_one_row() -> None:
    for row in ROWS:
        stored = [name for t in unpacked(row, config_of(row)) for name in t.stored]
        assert sorted(stored) == sorted(row["tensors"])


@pytest.mark.parametrize(
    ("documents", "label"),
    [
        ({"config.json": {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 64}}},
         "awq 4-bit g64"),
        ({"config.json": {"text_config": {"quantization_config": {"quant_method": "mxfp4"}}}}, "mxfp4"),
        ({"config.json": {}, "hf_quant_config.json": {"quantization": {"quant_algo": "NVFP4", "group_size": 16}}},
         "modelopt nvfp4 g16"),
        ({"config.json": {}, "quantize_config.json": {"bits": 4, "group_size": 128}}, "gptq 4-bit g128"),
        ({"config.json": {"quantization": {"group_size": 64, "bits": 4}}}, "mlx 4-bit g64"),
        ({"config.json": {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}},
         "fp8 block 128x128"),
        ({"config.json": {}}, None),
    ],
)  # fmt: skip
def test_the_quantisation_config_is_found_where_each_tool_keeps_it(documents: dict, label: str | None) -> None:
    assert scheme_label(quantization_config(Checkpoint("x", "config", (), documents))) == label
