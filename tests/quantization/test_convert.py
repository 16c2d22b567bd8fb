"""The converter of llama.cpp b11434 itself, run on checkpoints of many architectures, against the prediction."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from inspector.dtypes import DTYPES
from inspector.errors import UnsupportedArchitecture
from inspector.formats.modelfile import TensorInfo
from inspector.quantization.convert import gguf_tensors_from_hf
from inspector.quantization.convert_rules import VERIFIED
from inspector.quantization.mix import predict_mix

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


def rows(name):
    with gzip.open(FIXTURES / name, "rt", encoding="utf-8") as lines:
        return {row["name"]: row for row in map(json.loads, lines)}


ROWS = rows("convert.jsonl.gz")


def infos(tensors):
    return tuple(
        TensorInfo(name, tuple(shape), DTYPES[dtype], 0, DTYPES[dtype].nbytes(shape)) for name, shape, dtype in tensors
    )


def converted(name, **options):
    row = ROWS[name]
    return gguf_tensors_from_hf(row["config"], infos(row["hf"]), **options)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_names_shapes_and_types_are_those_of_the_converter(name):
    result = converted(name)
    expected = {n: (tuple(shape), dtype) for n, shape, dtype in ROWS[name]["gguf"]}
    assert {t.name: (t.shape, t.dtype.name) for t in result.tensors} == expected
    assert result.grade == "derived"
    assert result.arch == ROWS[name]["arch"]


@pytest.mark.parametrize("name", sorted(ROWS))
def test_keys_that_quantisation_reads_are_those_of_the_converter(name):
    arch, keys = ROWS[name]["arch"], ROWS[name]["keys"]
    result = converted(name).keys
    assert result[f"{arch}.block_count"] == keys[f"{arch}.block_count"]
    assert result.get(f"{arch}.expert_count", 0) == keys.get(f"{arch}.expert_count", 0)


def test_an_architecture_is_derived_only_where_the_converter_was_compared():
    assert {row["arch"] for row in ROWS.values()} == VERIFIED


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("llama-3-8b", "llama-3-8b"),
        ("qwen2.5-7b", "qwen2.5-7b"),
        ("gemma-2-9b", "gemma-2-9b"),
        ("phi-3-mini-4k", "phi-3-mini"),
        ("mamba-2.8b", "mamba-2.8b"),
        ("lfm2-1.2b", "lfm2-1.2b"),
        ("command-r7b", "command-r7b"),
    ],
)
def test_a_published_gguf_has_the_same_tensors(ours, theirs):
    made = {
        t.name: t.shape for t in converted(ours).tensors if not t.name.startswith("blk.") or t.name.startswith("blk.0.")
    }
    file = {n: tuple(shape) for n, shape, _ in rows("quantize_models.jsonl.gz")[theirs]["tensors"]}
    # Rotary tables depend on a config key that the file's model may have and the bare config not.
    first = {n: s for n, s in file.items() if (not n.startswith("blk.") or n.startswith("blk.0.")) and "rope_" not in n}
    assert {n: s for n, s in made.items() if n in first} == first


def test_outtype_is_given_to_matrices_only():
    result = converted("x_starcoder2", outtype="BF16")
    assert {t.dtype.name for t in result.tensors} == {"BF16", "F32"}
    assert all(t.dtype.name == "F32" for t in result.tensors if len(t.shape) == 1)


def test_a_converted_checkpoint_can_be_quantised():
    mix = predict_mix(converted("tiny_mixtral"), "Q4_K_M")
    assert mix.refused is None
    assert "blk.0.ffn_down_exps.weight" in {t.name for t in mix.tensors}


def test_a_tensor_without_a_gguf_name_is_noted_and_the_grade_falls():
    row = ROWS["llama-3-8b"]
    odd = TensorInfo("model.layers.0.self_attn.mystery.weight", (8, 8), DTYPES["BF16"], 0, 128)
    result = gguf_tensors_from_hf(row["config"], (*infos(row["hf"]), odd))
    assert result.grade == "modelled"
    assert any("mystery" in note for note in result.notes)


def test_towers_are_left_out_and_counted():
    row = ROWS["llama-3-8b"]
    tower = TensorInfo("vision_tower.layers.0.weight", (8, 8), DTYPES["BF16"], 0, 128)
    result = gguf_tensors_from_hf(row["config"], (*infos(row["hf"]), tower))
    assert any(note.startswith("1 tensor") for note in result.notes)
    assert len(result.tensors) == len(row["gguf"])


def test_an_architecture_that_the_converter_does_not_know_is_an_error():
    with pytest.raises(UnsupportedArchitecture, match="OPTForCausalLM"):
        gguf_tensors_from_hf({"architectures": ["OPTForCausalLM"]}, ())
    with pytest.raises(UnsupportedArchitecture):
        gguf_tensors_from_hf({}, ())


def test_packed_experts_of_gpt_oss_stay_mxfp4():
    row = ROWS["tiny_gpt_oss"]
    plain = [t for t in row["hf"] if not t[0].endswith(("gate_up_proj", "down_proj"))]
    packed = [
        ["model.layers.0.mlp.experts.gate_up_proj_blocks", [8, 640, 10, 16], "U8"],
        ["model.layers.0.mlp.experts.gate_up_proj_scales", [8, 640, 10], "U8"],
        ["model.layers.0.mlp.experts.down_proj_blocks", [8, 320, 10, 16], "U8"],
        ["model.layers.0.mlp.experts.down_proj_scales", [8, 320, 10], "U8"],
    ]
    config = {**row["config"], "quantization_config": {"quant_method": "mxfp4"}}
    made = {t.name: t for t in gguf_tensors_from_hf(config, infos(plain + packed)).tensors}
    for part in ("gate", "up", "down"):
        tensor = made[f"blk.0.ffn_{part}_exps.weight"]
        assert (tensor.shape, tensor.dtype.name) == ((8, 320, 320), "MXFP4")


@pytest.mark.parametrize(
    ("method", "stored"),
    [
        ("fp8", {"weight": ((256, 512), "F8_E4M3"), "weight_scale_inv": ((2, 4), "F32")}),
        ("gptq", {"qweight": ((64, 256), "I32"), "qzeros": ((4, 32), "I32"), "scales": ((4, 256), "F16"),
                  "g_idx": ((512,), "I32")}),
        ("compressed-tensors", {"weight_packed": ((256, 64), "I32"), "weight_scale": ((256, 4), "BF16"),
                                "weight_shape": ((2,), "I64")}),
    ],
)  # fmt: skip
def test_packed_weights_are_unpacked_to_the_shape_they_stand_for(method, stored):
    stem = "model.layers.0.mlp.down_proj."
    tensors = infos([[stem + end, list(shape), dtype] for end, (shape, dtype) in stored.items()])
    config = {
        "architectures": ["LlamaForCausalLM"],
        "num_hidden_layers": 1,
        "quantization_config": {"quant_method": method, "bits": 4, "format": "pack-quantized",
                                "config_groups": {"group_0": {"weights": {"num_bits": 4}, "targets": ["Linear"]}}},
    }  # fmt: skip
    result = gguf_tensors_from_hf(config, tensors)
    assert [(t.name, t.shape, t.dtype.name) for t in result.tensors] == [("blk.0.ffn_down.weight", (256, 512), "F16")]


@pytest.mark.parametrize("method", ["awq", "bitsandbytes", "aqlm"])
def test_packed_weights_that_the_converter_does_not_take_are_said_so(method):
    config = {**ROWS["llama-3-8b"]["config"], "quantization_config": {"quant_method": method}}
    result = gguf_tensors_from_hf(config, infos(ROWS["llama-3-8b"]["hf"]))
    assert result.grade == "modelled"
    assert any(method in note for note in result.notes)


@pytest.mark.parametrize("layers", [0, None, "32", 10**12, -4])
def test_a_layer_count_that_llama_cpp_does_not_take_is_an_error(layers):
    with pytest.raises(UnsupportedArchitecture, match="layers"):
        gguf_tensors_from_hf({**ROWS["llama-3-8b"]["config"], "num_hidden_layers": layers}, ())


def test_a_tensor_of_another_rank_than_the_rule_expects_is_noted():
    row = ROWS["x_deepseekv2"]
    flat = [[n, [4] if n.endswith("kv_b_proj.weight") else s, d] for n, s, d in row["hf"]]
    result = gguf_tensors_from_hf(row["config"], infos(flat))
    assert result.grade == "modelled"
    assert any("kv_b_proj" in note for note in result.notes)
