"""Facts from config.json and from safetensors headers, against transformers' own parameter counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspector.architectures.hf_config import HfConfig
from inspector.architectures.hf_tensors import expected_tensors
from inspector.checkpoint import Checkpoint
from inspector.dtypes import DTYPES
from inspector.facts import ModelFacts, read_facts
from inspector.formats.modelfile import ModelFile, TensorInfo
from inspector.layers import KVCache

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CONFIGS = {p.stem: json.loads(p.read_text()) for p in sorted((FIXTURES / "configs").glob("*.json"))}
PARAMS = {r["name"]: r for r in map(json.loads, (FIXTURES / "params.jsonl").read_text().splitlines())}


def of_config(config: dict) -> ModelFacts:
    return read_facts(Checkpoint("x", "config", (), {"config.json": config}))


def of_tensors(config: dict, shapes: dict[str, tuple[int, ...]], dtype: str = "BF16", **more: str) -> ModelFacts:
    kinds = {name: DTYPES[more.get(name.replace(".", "_"), dtype)] for name in shapes}
    tensors = tuple(TensorInfo(n, s, kinds[n], 0, kinds[n].nbytes(s)) for n, s in shapes.items())
    file = ModelFile("model.safetensors", "safetensors", 1, 0, 0, {}, tensors, {})
    return read_facts(Checkpoint("x", "safetensors", (file,), {"config.json": config}))


@pytest.mark.parametrize("name", [n for n, r in PARAMS.items() if "total_params" in r])
def test_a_config_alone_gives_the_exact_parameters(name: str) -> None:
    facts, row = of_config(CONFIGS[name]), PARAMS[name]
    assert facts.n_params == row["total_params"]
    assert facts.n_params_active == row.get("active_params", row["total_params"])
    assert not facts.generic


def test_a_tower_without_a_rule_leaves_the_total_unknown_and_the_text_part_known() -> None:
    facts = of_config(CONFIGS["gemma-3n-e4b"])
    assert facts.n_params is None
    assert facts.n_params_text == of_config(CONFIGS["gemma-3n-e4b-text"]).n_params
    assert any("no rule" in note for note in facts.notes)


@pytest.mark.parametrize("name", ["llama-3-8b", "qwen3-30b-a3b", "gpt2", "mixtral-8x7b"])
def test_tensors_and_config_agree(name: str) -> None:
    shapes = {t.name: t.shape for t in expected_tensors(HfConfig(CONFIGS[name])) or ()}
    found, row = of_tensors(CONFIGS[name], shapes), PARAMS[name]
    assert (found.n_params, found.origin["n_params"]) == (row["total_params"], "tensor shapes")
    assert found.n_params_active == row.get("active_params", row["total_params"])


def test_a_second_copy_of_a_tied_head_is_reported_and_not_counted() -> None:
    config = CONFIGS["falcon-7b"]
    shapes = {t.name: t.shape for t in expected_tensors(HfConfig(config)) or ()}
    facts = of_tensors(config, {**shapes, "lm_head.weight": (65024, 4544)})
    assert facts.n_params == 6_921_720_704
    assert any("295,469,056" in note for note in facts.notes)


def test_prediction_ahead_layers_and_routing_buffers_are_not_counted() -> None:
    config = {**CONFIGS["tiny_deepseek_v3"], "num_nextn_predict_layers": 1}
    shapes = {t.name: t.shape for t in expected_tensors(HfConfig(config)) or ()}
    plain = of_tensors(config, shapes)
    n = config["num_hidden_layers"]
    extra = {f"model.layers.{n}.mlp.gate.weight": (16, 320), "model.layers.1.mlp.gate.e_score_correction_bias": (16,)}
    facts = of_tensors(config, {**shapes, **extra})
    assert facts.n_params == plain.n_params
    assert facts.n_layers_nextn == 1
    assert any("5,120" in note for note in facts.notes)


def test_position_ids_are_no_parameters() -> None:
    config = {"model_type": "bert"}
    shapes = {"embeddings.word_embeddings.weight": (30522, 768), "embeddings.position_ids": (1, 512)}
    facts = of_tensors(config, shapes, embeddings_position_ids="I64")
    assert facts.n_params == 30522 * 768


def test_facts_speak_the_fields_vocabulary_and_name_their_keys() -> None:
    facts = of_config(CONFIGS["llama-3-8b"])
    assert (facts.n_layers, facts.d_model, facts.d_ff, facts.n_heads, facts.n_kv_heads) == (32, 4096, 14336, 32, 8)
    assert (facts.head_dim_k, facts.vocab_size, facts.n_ctx_train, facts.tied_embeddings) == (128, 128256, 8192, False)
    assert facts.origin["n_kv_heads"] == "num_key_value_heads"
    assert facts.layers[0].caches == (KVCache(8, 128, 128),)


def test_a_tied_embedding_may_be_the_class_default() -> None:
    config = {key: value for key, value in CONFIGS["gemma-2-9b"].items() if key != "tie_word_embeddings"}
    assert of_config(config).tied_embeddings is True


def test_lfm2_has_the_width_that_its_tensors_have() -> None:
    facts = of_config(CONFIGS["lfm2-1.2b"])  # LFM2-1.2B publishes feed_forward.w1.weight as [8192, 2048]
    assert (facts.d_ff, facts.origin["d_ff"]) == (8192, "2/3 of block_ff_dim, rounded up")


def test_dtype_is_the_compute_dtype_wherever_it_stands() -> None:
    assert of_config({**CONFIGS["llama-3-8b"], "torch_dtype": "float16", "dtype": None}).dtype == "float16"
    nested = {"model_type": "gemma3", "dtype": "bfloat16", "text_config": {"model_type": "gemma3_text"}}
    assert of_config(nested).dtype == "bfloat16"


def test_quantisation_is_named() -> None:
    config = {**CONFIGS["llama-3-8b"], "quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}}
    assert of_config(config).quantization == "gptq 4-bit g128"


def test_without_a_config_only_the_parameters_are_known() -> None:
    tensor = TensorInfo("w", (4, 4), DTYPES["F32"], 0, 64)
    file = ModelFile("m.safetensors", "safetensors", 1, 0, 0, {}, (tensor,), {})
    facts = read_facts(Checkpoint("x", "safetensors", (file,), {}))
    assert (facts.n_params, facts.n_layers, facts.generic) == (16, None, True)


def test_an_unknown_model_type_is_generic_and_says_so() -> None:
    facts = of_config({"model_type": "brand_new", "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4})
    assert facts.generic
    assert facts.n_params is None
    assert any("brand_new" in note for note in facts.notes)


@pytest.mark.parametrize(
    "config",
    [{}, {"model_type": 3}, {"num_hidden_layers": -1}, {"model_type": "llama", "num_attention_heads": 0},
     {"model_type": "llama", "hidden_size": "big"}, {"text_config": []},
     {"model_type": "mixtral", "num_local_experts": 0},
     {"model_type": "gpt2", "n_head": None}, {"model_type": "falcon", "num_attention_heads": 0},
     {"model_type": "qwen3", "layer_types": [1, 2]}, {"model_type": "jamba", "attn_layer_period": 0},
     {"model_type": "mamba2", "num_heads": 0}, {"model_type": "kimi_linear", "linear_attn_config": {"head_dim": "x"}}],
)  # fmt: skip
def test_broken_configs_give_facts_or_a_known_error(config: dict) -> None:
    from inspector.errors import InspectorError

    try:
        facts = of_config(config)
    except InspectorError:
        return
    assert facts.n_params is None or facts.n_params >= 0
