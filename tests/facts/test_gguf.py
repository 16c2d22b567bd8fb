"""Facts of GGUF models against llama.cpp's own hyperparameters (fixtures/llamacpp.jsonl.gz), and hostile values."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.checkpoint import Checkpoint
from inspector.errors import FactsError
from inspector.facts import read_facts
from inspector.facts.gguf import read_facts_gguf
from inspector.formats.gguf import read_gguf
from inspector.formats.modelfile import LongArray, ModelFile, TensorInfo
from inspector.layers import (
    CompressedCache,
    CrossCache,
    IndexCache,
    KVCache,
    LatentCache,
    StateCache,
    UnknownCache,
)
from inspector.sources.memory import MemorySource

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
HEADERS = FIXTURES / "llamacpp-headers"


def measured():
    rows = {}
    with gzip.open(FIXTURES / "llamacpp.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if "hparams" in row:
                rows.setdefault(row["model"], row)
    return rows


MEASURED = measured()


def facts_of(name):
    size = json.loads((HEADERS / f"{name}.json").read_text())["full_size"]
    data = gzip.decompress((HEADERS / f"{name}.gguf-header.gz").read_bytes())
    file = read_gguf(MemorySource(data, name=f"{name}.gguf", size=size))
    return read_facts(Checkpoint(name, "gguf", (file,), {}))


def facts_from(metadata, tensors=()):
    infos = tuple(TensorInfo(name, shape, None, 0, 0) for name, shape in tensors)
    return read_facts_gguf(Checkpoint("x", "gguf", (ModelFile("x", "gguf", 3, 0, 0, metadata, infos, {}),), {}))


def keys(arch, **values):
    base = {
        "block_count": 4,
        "context_length": 4096,
        "embedding_length": 512,
        "attention.head_count": 8,
        "attention.head_count_kv": 2,
        "feed_forward_length": 1024,
    }
    base.update({k.replace("__", "."): v for k, v in values.items()})
    pairs = {f"{arch}.{k}": v for k, v in base.items() if v is not None}
    return {"general.architecture": arch, **pairs}


@pytest.mark.parametrize("name", sorted(MEASURED))
def test_every_measured_model_has_the_engines_own_numbers(name):
    facts, truth = facts_of(name), MEASURED[name]["hparams"]
    layers = (*facts.layers, *facts.nextn_layers)
    assert (facts.arch, facts.n_layers, facts.d_model) == (truth["arch"], truth["n_layer"], truth["n_embd"])
    assert (facts.vocab_size, facts.n_ctx_train) == (truth["n_vocab"], truth["n_ctx_train"])
    assert (facts.window or 0) == truth["n_swa"]
    assert [x.n_heads for x in layers] == truth["n_head"]
    assert [x.n_kv_heads for x in layers] == truth["n_head_kv"]
    assert [x.d_ff or 0 for x in layers] == truth["n_ff"]
    assert [int(x.kind in {"recurrent", "hybrid"}) for x in layers] == truth["is_recr"]
    assert any(isinstance(c, LatentCache) for x in layers for c in x.caches) == truth["is_mla"]
    assert sum(t.nbytes for t in facts.tensors) == MEASURED[name]["tensor_bytes"]


@pytest.mark.parametrize("name", sorted(MEASURED))
def test_windows_and_states_of_every_measured_model(name):
    facts, truth = facts_of(name), MEASURED[name]["hparams"]
    for layer in facts.layers:
        for cache in layer.caches:
            if isinstance(cache, KVCache):
                assert (cache.window is not None) == bool(truth["is_swa"][layer.index])
                head = "swa" if cache.window is not None else ""
                wanted = [truth[f"n_embd_head_{x}" + (f"_{head}" if head else "")] for x in "kv"]
                assert [cache.head_dim_k, cache.head_dim_v] == wanted
            if isinstance(cache, StateCache):
                assert cache.conv_channels * (cache.conv_kernel - 1) == truth["n_embd_r"]
                assert cache.state_elems == truth["n_embd_s"]


def test_llama_3_8b_in_the_words_of_its_model_card():
    facts = facts_of("llama-3-8b")
    assert facts.n_params == facts.n_params_active == 8_030_261_248
    assert (facts.n_layers, facts.n_heads, facts.n_kv_heads, facts.head_dim_k) == (32, 32, 8, 128)
    assert (facts.vocab_size, facts.d_ff, facts.tied_embeddings) == (128_256, 14_336, False)
    assert facts.origin["n_kv_heads"] == "llama.attention.head_count_kv"
    assert facts.origin["head_dim_k"] == "llama.embedding_length ÷ llama.attention.head_count"
    assert not facts.generic


def test_mixtral_uses_two_experts_of_eight():
    facts = facts_of("mixtral-8x7b")
    assert (facts.n_params, facts.n_params_active) == (46_702_792_704, 12_879_925_248)
    assert (facts.n_experts, facts.n_experts_used) == (8, 2)
    assert {x.ffn for x in facts.layers} == {"moe"}


def test_leading_dense_blocks_are_no_experts():
    kinds = [x.ffn for x in facts_of("deepseek-v2-lite").layers]
    assert kinds == ["dense"] + ["moe"] * 26


def test_prediction_layers_stand_apart():
    facts = facts_of("glm-4.5-air")
    assert (facts.n_layers, facts.n_layers_nextn, len(facts.layers), len(facts.nextn_layers)) == (46, 1, 46, 1)
    assert facts.nextn_layers[0].caches == ()


def test_gemma_3n_shares_the_caches_of_its_last_layers():
    kinds = [x.kind for x in facts_of("gemma-3n-e4b").layers]
    assert kinds[:5] == ["sliding"] * 4 + ["full"]
    assert set(kinds[20:]) == {"shared"}


def test_an_encoder_keeps_nothing_and_sees_both_ways():
    facts = facts_of("bge-small-like")
    assert not facts.causal
    assert {x.kind for x in facts.layers} == {"none"}
    assert facts.tied_embeddings is None


def test_t5_decoders_also_keep_the_encoders_output():
    layer = facts_from(keys("t5")).layers[0]
    assert [type(c) for c in layer.caches] == [KVCache, CrossCache]


def test_deepseek_4_keeps_a_window_compressed_keys_and_compressors():
    facts = facts_from(
        keys("deepseek4", attention__sliding_window=128, attention__compress_ratios=(0, 4, 128, 4))
        | {"deepseek4.attention.indexer.key_length": 128, "deepseek4.attention.key_length": 64}
    )
    kinds = [[getattr(c, "kind", "raw") for c in x.caches] for x in facts.layers]
    assert kinds == [["raw"], ["raw", "csa", "lid"], ["raw", "hca"], ["raw", "csa", "lid"]]
    assert isinstance(facts.layers[1].caches[1], CompressedCache)


def test_the_indexer_keeps_keys_only_where_the_file_says():
    facts = facts_from(
        keys("glm-dsa", attention__indexer__types=(True, False, True, False), attention__indexer__key_length=128)
        | {"glm-dsa.attention.key_length_mla": 192, "glm-dsa.attention.value_length_mla": 128}
    )
    assert [any(isinstance(c, IndexCache) for c in x.caches) for x in facts.layers] == [True, False, True, False]


def test_the_vocabulary_is_the_tokens_then_the_key_then_the_embedding():
    tokens = {"tokenizer.ggml.tokens": LongArray("str", 321, 0, 0, ())}
    embedding = (("token_embd.weight", (123, 512)),)
    assert facts_from(keys("llama", vocab_size=222) | tokens, embedding).vocab_size == 321
    assert facts_from(keys("llama", vocab_size=222), embedding).vocab_size == 222
    assert facts_from(keys("llama"), embedding).vocab_size == 123
    assert facts_from(keys("llama")).vocab_size is None


def test_a_key_of_another_architecture_does_not_count():
    facts = facts_from({"general.architecture": "llama", "qwen2.block_count": 3, "x.llama.block_count": 5})
    assert (facts.n_layers, facts.layers) == (None, ())
    assert "block_count is missing" in facts.notes[0]


def test_an_unknown_architecture_is_a_plain_reading_and_says_so():
    facts = facts_from(keys("newarch"))
    assert facts.generic
    assert "not an architecture known here" in facts.notes[0]
    assert facts.layers[0].caches == (KVCache(2, 64, 64),)


@pytest.mark.parametrize("key", ["attention__sliding_window", "ssm__state_size", "attention__kv_lora_rank"])
def test_an_unknown_architecture_with_a_special_key_claims_no_cache(key):
    facts = facts_from(keys("newarch", **{key: 128}))
    assert all(isinstance(c, UnknownCache) for x in facts.layers for c in x.caches)
    assert {x.kind for x in facts.layers} == {"unknown"}


@pytest.mark.parametrize(
    ("arch", "lengths", "kind", "says"),
    [
        ("deepseek2", (192, 128), "latent", None),
        ("deepseek2", (0, 128), "full", None),  # llama_hparams::is_mla: both, or plain heads
        ("deepseek2", (), "full", None),
        ("kimi-linear", (192, 128), "latent", None),
        ("kimi-linear", (0, 0), "full", None),  # its graph has both ways
        ("kimi-linear", (), "full", "attention.key_length_mla is missing"),
        ("deepseek32", (0, 0), "full", "attention.key_length_mla is 0"),  # "architecture requires MLA"
        ("hy_v4", (192,), "full", "attention.value_length_mla is missing"),
    ],
)
def test_attention_is_latent_where_both_lengths_are_given(arch, lengths, kind, says):
    given = dict(zip(("attention__key_length_mla", "attention__value_length_mla"), lengths, strict=False))
    facts = facts_from(keys(arch, **given))
    assert facts.layers[-1].kind == kind
    expected = (f"llama.cpp refuses this file: {arch}.{says}",) if says else ()
    assert facts.notes == expected


def test_a_model_of_prediction_layers_alone_keeps_their_caches():
    """llama_model::create_memory: "don't filter when … a model is entirely n_layer_nextn layers and has no trunk"."""
    draft = facts_from(keys("llama", block_count=2, nextn_predict_layers=2))
    assert (draft.n_layers, [x.kind for x in draft.nextn_layers]) == (0, ["full", "full"])
    whole = facts_from(keys("llama", block_count=2, nextn_predict_layers=1))
    assert [x.kind for x in (*whole.layers, *whole.nextn_layers)] == ["full", "none"]


def test_a_missing_window_that_llama_cpp_requires_is_noted():
    facts = facts_from(keys("cohere2"))
    assert facts.notes == ("llama.cpp refuses this file: cohere2.attention.sliding_window is missing",)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("block_count", "32", "block_count is text"),
        ("block_count", -1, "block_count is -1"),
        ("block_count", 1 << 40, "block_count is 1099511627776"),
        ("block_count", 20_000, "no model has so many layers"),
        ("block_count", (4, 4), "block_count is an array"),
        ("nextn_predict_layers", 5, "nextn_predict_layers is 5 of 4"),
        ("attention.head_count", 2.5, "head_count is a float"),
        ("attention.head_count", (8, 8, 8), "head_count has 3 entries for 4 layers"),
        ("attention.head_count_kv", True, "head_count_kv is a bool"),
        ("attention.head_count_kv", (1, 2, "x", 4), "head_count_kv is text"),
        ("attention.key_length", "", "key_length is text"),
        ("attention.causal", 1, "causal is a int, not a truth value"),
        ("expert_used_count", LongArray("u32", 1 << 60, 0, 0, ()), "expert_used_count has"),
        ("context_length", None, None),
    ],
)
def test_hostile_values_are_refused_by_the_name_of_their_key(key, value, says):
    metadata = keys("llama") | {f"llama.{key}": value}
    if says is None:
        assert facts_from(keys("llama", context_length=None)).n_ctx_train is None
        return
    with pytest.raises(FactsError) as caught:
        facts_from(metadata)
    assert says in str(caught.value)
    assert f"llama.{key}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [None, 7, ("llama",), b"llama"])
def test_an_architecture_that_is_no_text_is_an_error(value):
    with pytest.raises(FactsError, match=r"general\.architecture"):
        facts_from({} if value is None else {"general.architecture": value})


VALUES = st.one_of(
    st.integers(-(1 << 70), 1 << 70),
    st.integers(0, 12),
    st.text(max_size=3),
    st.booleans(),
    st.floats(),
    st.lists(st.integers(-2, 9), max_size=5).map(tuple),
)
NAMES = [
    "block_count",
    "nextn_predict_layers",
    "embedding_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "feed_forward_length",
    "expert_count",
    "expert_used_count",
    "attention.kv_lora_rank",
    "attention.key_length_mla",
    "attention.value_length_mla",
    "attention.indexer.key_length",
    "attention.indexer.types",
    "attention.recurrent_layers",
    "full_attention_interval",
    "ssm.state_size",
    "ssm.inner_size",
    "ssm.conv_kernel",
    "ssm.group_count",
    "kda.head_dim",
    "wkv.head_size",
    "shortconv.l_cache",
    "attention.compress_ratios",
    "num_loops",
    "ple.layers",
    "attention.shared_kv_layers",
]
ARCHS = "llama gemma2 gemma4 deepseek2 glm-dsa deepseek4 qwen3next qwen4exp nemotron_h lfm2 kimi-linear rwkv7 nope"


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(ARCHS.split()), st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=14))
def test_any_values_give_facts_or_one_error_soon(arch, values):
    metadata = {"general.architecture": arch, **{f"{arch}.{k}": v for k, v in values.items()}}
    start = time.perf_counter()
    facts = said = None
    try:
        facts = facts_from(metadata)
    except FactsError as error:
        said = str(error)
    assert time.perf_counter() - start < 2
    assert "\n" not in (said or "")
    if facts is not None and facts.n_layers is not None:
        assert len(facts.layers) in {facts.n_layers, facts.n_layers + 1}


@pytest.mark.parametrize(("window", "kept"), [(0, None), (1, 4096), (512, 4096)])
def test_smallthinkers_window_is_4096_wherever_its_key_is_not_0(window, kept):
    facts = facts_from(keys("smallthinker", attention__sliding_window=window, expert_count=4, expert_used_count=2))
    assert {layer.window for layer in facts.layers} - {None} == ({kept} if kept else set())


@pytest.mark.parametrize("n_shared", [1, 2])
def test_as_many_of_the_last_layers_share_a_cache_as_the_key_says(n_shared):
    pattern = (True, False, True, False, True, False)
    facts = facts_from(
        keys(
            "gemma4", block_count=6, attention__sliding_window=512, attention__sliding_window_pattern=pattern,
            attention__shared_kv_layers=n_shared, attention__key_length=64, attention__value_length=64,
            attention__key_length_swa=64, attention__value_length_swa=64,
        )
    )  # fmt: skip
    assert [layer.index for layer in facts.layers if layer.kind == "shared"] == list(range(6 - n_shared, 6))


def test_heads_without_a_size_share_the_width_by_the_first_layers_number():
    """n_embd_head_k is n_embd / n_head(0) (load_hparams, src/llama-model.cpp)."""
    facts = facts_from(keys("llama", attention__head_count=(8, 16, 16, 16)))
    assert {layer.head_dim_k for layer in facts.layers} == {512 // 8}


def test_kimis_delta_layers_keep_a_convolution_of_three_projections():
    """Queries, keys and values each have one (n_embd_r, src/llama-hparams.cpp): 3 × heads × head channels."""
    facts = facts_from(
        keys(
            "kimi-linear", block_count=4, attention__head_count=4, attention__head_count_kv=(0, 0, 0, 4),
            kda__head_dim=128, ssm__conv_kernel=4, attention__kv_lora_rank=512, attention__key_length=576,
            attention__value_length=512, attention__key_length_mla=192, attention__value_length_mla=128,
            rope__dimension_count=64, expert_count=4, expert_used_count=2, leading_dense_block_count=1,
        )
    )  # fmt: skip
    (state,) = {c for layer in facts.layers for c in layer.caches if isinstance(c, StateCache)}
    assert (state.conv_channels, state.conv_kernel, state.state_elems) == (3 * 4 * 128, 4, 4 * 128 * 128)


def test_glm_5_2_indexes_its_first_two_layers_and_then_every_fourth():
    """GLM_5_2_DEFAULT_INDEXER_TYPES, src/models/glm-dsa.cpp: 0, 1, 2, 6, 10 … 74, with a context of a million."""
    facts = facts_from(
        keys(
            "glm-dsa", block_count=78, context_length=1 << 20, attention__kv_lora_rank=512, attention__key_length=576,
            attention__value_length=512, attention__key_length_mla=256, attention__value_length_mla=256,
            attention__indexer__head_count=32, attention__indexer__key_length=128, attention__indexer__top_k=2048,
            rope__dimension_count=64, expert_count=4, expert_used_count=2,
        )
    )  # fmt: skip
    indexed = [x.index for x in facts.layers if any(isinstance(c, IndexCache) for c in x.caches)]
    assert indexed == [0, 1, *range(2, 78, 4)]
