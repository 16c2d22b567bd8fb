"""What a quantised config's weights weigh before there is a file, against what the writers stored and published."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspector.architectures.hf.record import ExpectedTensor
from inspector.checkpoint import Checkpoint
from inspector.errors import FactsError
from inspector.facts import ModelFacts, read_facts
from inspector.memory.engines import textbook, transformers, vllm
from inspector.memory.estimate import Workload
from inspector.quantization.promised import promised_tensors
from inspector.quantization.promised_config import modules, rules_of

ROOT = Path(__file__).resolve().parents[2]
ROWS = [json.loads(line) for line in (ROOT / "fixtures" / "quantized.jsonl").read_text().splitlines()]
RULED = [r for r in ROWS if rules_of(r["quantization_config"] or {}) is not None]


def facts_of(config: dict, index: dict | None = None) -> ModelFacts:
    documents = {"config.json": config, **({"model.safetensors.index.json": index} if index else {})}
    return read_facts(Checkpoint(target="x", format="config", files=(), documents=documents))


def fixture(name: str) -> dict:
    return json.loads((ROOT / "fixtures" / "configs" / f"{name}.json").read_text())


def stored(facts: ModelFacts) -> int:
    return sum(t.nbytes * t.copies for t in facts.promised)


@pytest.mark.parametrize("row", RULED, ids=lambda r: r["scheme"])
def test_a_layer_weighs_what_its_writer_stored(row: dict) -> None:
    shape, role = tuple(row["weight_shape"]), "attention"
    name = "m.weight"
    if row["scheme"] == "mxfp4_gpt_oss":  # nothing but fused experts, input first
        name, shape, role = "m.experts.gate_up_proj", (1, *reversed(shape)), "expert"
    (found,) = promised_tensors([ExpectedTensor(name, shape, role)], row["quantization_config"], "BF16")
    assert found.packing
    # double quantisation prints a scale's mean, whose length varies
    assert abs(found.nbytes - row["bytes"]) <= (4 if row["scheme"].endswith("_dq1") else 0)


# metadata.total_size of published indexes
GPT_OSS_20B = 13_761_264_768
QWEN3_14B_MLX = 8_307_783_680
MLX = {
    "model_type": "qwen3", "hidden_size": 5120, "intermediate_size": 17408, "num_hidden_layers": 40, "head_dim": 128,
    "num_attention_heads": 40, "num_key_value_heads": 8, "vocab_size": 151936, "tie_word_embeddings": False,
    "max_position_embeddings": 40960, "torch_dtype": "bfloat16",
    "quantization": {"group_size": 64, "bits": 4}, "quantization_config": {"group_size": 64, "bits": 4},
}  # fmt: skip


def test_whole_configs_weigh_what_was_published() -> None:
    gpt_oss = fixture("gpt-oss-20b") | {"quantization_config": {"quant_method": "mxfp4"}}
    assert stored(facts_of(gpt_oss)) == GPT_OSS_20B
    assert stored(facts_of(MLX)) == QWEN3_14B_MLX
    assert facts_of(MLX).quantization == "mlx 4-bit g64"


def test_every_engine_knows_the_weights_of_a_packed_config() -> None:
    facts = facts_of(fixture("gpt-oss-20b") | {"quantization_config": {"quant_method": "mxfp4"}})
    for engine in (vllm, transformers, textbook):
        found = engine.estimate(facts, Workload(n_ctx=1024))
        assert [x.nbytes for x in found.lines if x.what == "weights"] == [GPT_OSS_20B], engine


BLOCK = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}
PATTERNS = [  # as fp8, ModelOpt and compressed-tensors write them
    ("model.layers.1.mlp", True), ("mlp.up_proj", True), ("model.layers.1.mlp*", True), ("re:.*up_proj", True),
    ("model.language_model.layers.1.mlp", True), ("language_model.model.layers.1*", True), ("up", False),
    ("model.layers.10", False), ("*.mlp", True), ("*.ml", False), ("re:up_proj", False), ("re:(", False),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "kept"), PATTERNS)
def test_modules_that_a_config_names_are_kept(pattern: str, kept: bool) -> None:
    one = ExpectedTensor("model.layers.1.mlp.up_proj.weight", (256, 512), "mlp")
    (found,) = promised_tensors([one], BLOCK | {"modules_to_not_convert": [pattern]}, "BF16")
    assert (found.nbytes == 2 * 256 * 512) is kept
    assert modules([pattern]).match("model.layers.1.mlp.up_proj") is kept


def test_heads_routers_and_embeddings_are_packed_only_where_a_config_says_so() -> None:
    rows = [
        ExpectedTensor("lm_head.weight", (256, 512), "output"),
        ExpectedTensor("model.layers.0.mlp.gate.weight", (8, 512), "router"),
        ExpectedTensor("model.embed_tokens.weight", (256, 512), "embedding"),
    ]
    assert not any(t.packing for t in promised_tensors(rows, BLOCK, "BF16"))
    mlx = {"quant_method": "mlx", "group_size": 64, "bits": 4, "model.layers.0.mlp.gate": {"group_size": 64, "bits": 8}}
    by_name = {t.role: t for t in promised_tensors(rows, mlx, "BF16")}
    assert by_name["router"].nbytes == 8 * 512 + 2 * 2 * 8 * 8  # 8 bits, and a scale and a bias for 64
    assert all(t.packing for t in by_name.values())
    mixed = {
        "quant_method": "modelopt", "quant_algo": "MIXED_PRECISION",
        "quantized_layers": {"lm_head": {"quant_algo": "W4A16_NVFP4", "group_size": 16}},
    }  # fmt: skip
    assert [t.packing for t in promised_tensors(rows, mixed, "BF16")] == ["nvfp4", "", ""]


def test_a_writer_without_a_rule_leaves_the_bytes_unknown() -> None:
    facts = facts_of(MLX | {"quantization": None, "quantization_config": {"quant_method": "aqlm"}})
    assert facts.n_params == 14_768_307_200
    assert not facts.promised
    assert any("aqlm" in note for note in facts.notes)
    with pytest.raises(FactsError, match="hqq"):
        promised_tensors([], {"quant_method": "hqq"}, "BF16")
    assert any("weights" in u for u in vllm.estimate(facts, Workload(n_ctx=64)).unknown)


def test_an_index_states_what_no_rule_gives() -> None:
    index = {"metadata": {"total_size": 12345}, "weight_map": {}}
    facts = facts_of({"model_type": "nobody", "quantization_config": {"quant_method": "aqlm"}}, index)
    found = vllm.estimate(facts, Workload(n_ctx=64))
    assert [x.nbytes for x in found.lines if x.what == "weights"] == [12345]


def test_experts_are_counted_by_the_layer_however_many_there_are() -> None:
    """Qwen3.5-397B has 92,160 tensors of routed experts, and its own card's 397 billion parameters."""
    config = {
        "model_type": "qwen3_5_moe_text", "hidden_size": 4096, "num_hidden_layers": 60, "num_attention_heads": 32,
        "num_key_value_heads": 2, "head_dim": 256, "vocab_size": 248320, "num_experts": 512, "num_experts_per_tok": 10,
        "moe_intermediate_size": 1024, "shared_expert_intermediate_size": 1024, "tie_word_embeddings": False,
        "linear_num_key_heads": 16, "linear_num_value_heads": 64, "linear_key_head_dim": 128,
        "linear_value_head_dim": 128, "linear_conv_kernel_dim": 4, "dtype": "bfloat16",
    }  # fmt: skip
    facts = facts_of(config)
    assert facts.n_params is not None
    assert facts.n_params // 10**9 == 396
