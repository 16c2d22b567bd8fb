"""What a type without a record may be taken for, and what it may not."""

from __future__ import annotations

import pytest

from inspector.checkpoint import Checkpoint
from inspector.facts import ModelFacts, read_facts
from inspector.layers import KVCache, LatentCache, UnknownCache
from inspector.memory.engines import transformers, vllm
from inspector.memory.estimate import Workload

PLAIN = {
    "model_type": "nobody", "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 128, "intermediate_size": 128, "max_position_embeddings": 4096,
}  # fmt: skip


def facts_of(**changes: object) -> ModelFacts:
    config = PLAIN | changes
    return read_facts(Checkpoint(target="x", format="config", files=(), documents={"config.json": config}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("compress_ratios", [0, 4, 128, 4]),
        ("attn_type_list", [0, 0, 0, 1]),
        ("block_configs", [{"attention": {"no_op": True}}]),
        ("cla_share_factor", 2),
        ("hybrid_layer_pattern", [0, 1, 1, 0]),
        ("sliding_window_pattern", 6),
        ("num_key_value_heads", [1, 2, 2, 1]),
        ("swa_head_dim", 32),
        ("mamba_d_state", 16),
        ("linear_num_value_heads", 8),
        ("num_kv_shared_layers", 2),
        ("index_topk", 2048),
    ],
)
def test_a_plain_reading_goes_unknown_where_a_key_says_that_it_would_be_wrong(key: str, value: object) -> None:
    facts = facts_of(**{key: value})
    assert facts.generic
    assert all(isinstance(c, UnknownCache) for x in facts.layers for c in x.caches)
    assert any(key in note for note in facts.notes)
    if key != "num_key_value_heads":
        assert any("at most" in note or "would keep 64 elements a token" in note for note in facts.notes)
    for engine in (vllm, transformers):
        found = engine.estimate(facts, Workload(n_ctx=64))
        assert not [x for x in found.lines if x.what == "kv_cache"], engine
        assert any("cache" in u or "unknown" in u for u in found.unknown), engine


@pytest.mark.parametrize(
    ("key", "value"),
    [("compress_ratios", None), ("mamba_d_state", 0), ("cla_share_factor", False), ("attn_type_list", [])],
)
def test_a_key_that_says_nothing_leaves_the_plain_reading(key: str, value: object) -> None:
    assert [x.caches for x in facts_of(**{key: value}).layers] == [(KVCache(2, 16, 16),)] * 4


def test_a_switched_off_window_is_none() -> None:
    """Qwen's configs and their kin carry a window that their classes ignore (Qwen2-VL, olmOCR, MiMo)."""
    window = {"sliding_window": 512, "max_window_layers": 1}
    assert {x.window for x in facts_of(use_sliding_window=False, **window).layers} == {None}
    assert [x.window for x in facts_of(use_sliding_window=True, **window).layers] == [None, 512, 512, 512]
    assert {x.window for x in facts_of(sliding_window=512).layers} == {512}
    flat = facts_of(model_type="qwen2_vl", use_sliding_window=False, **window)
    assert (flat.arch, flat.generic, {x.window for x in flat.layers}) == ("qwen2_vl_text", False, {None})


def test_the_class_is_asked_before_a_type_is_given_up() -> None:
    facts = facts_of(
        architectures=["DeepseekV3ForCausalLM"], kv_lora_rank=32, qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=8
    )
    assert (facts.arch, facts.generic) == ("deepseek_v3", False)
    assert {x.caches for x in facts.layers} == {(LatentCache(32, 8),)}
    assert facts_of(architectures=["NobodyForCausalLM"]).generic
    known = facts_of(model_type="llama", architectures=["MistralForCausalLM"])
    assert known.arch == "llama"
