from __future__ import annotations

import json

import pytest

from inspector.checkpoint import Checkpoint
from inspector.dtypes import DTYPES
from inspector.errors import WorkloadError
from inspector.facts import ModelFacts
from inspector.facts.hf import read_facts_hf
from inspector.formats.modelfile import TensorInfo
from inspector.layers import IndexCache, KVCache, LatentCache, Layer, StateCache, UnknownCache
from inspector.memory.engines import vllm
from inspector.memory.engines.vllm.pages import Setup, plan
from inspector.memory.estimate import Gpu, Placement, Workload
from inspector.units import GIB

KINDS = {
    "FullAttentionSpec": "full",
    "MLAAttentionSpec": "full",
    "SlidingWindowSpec": "sliding",
    "ChunkedLocalAttentionSpec": "chunked",
    "MambaSpec": "mamba",
}


def facts_of(config: dict) -> ModelFacts:
    return read_facts_hf(Checkpoint(target="x", format="config", files=(), documents={"config.json": config}))


def by_hand(*layers: tuple, **changes) -> ModelFacts:
    made = tuple(Layer(index=i, kind="full", caches=caches) for i, caches in enumerate(layers))
    base = dict(
        arch="llama", format="safetensors", n_params=None, n_params_active=None, n_layers=len(made), d_model=4096,
        d_ff=14336, n_heads=32, n_kv_heads=8, head_dim_k=128, head_dim_v=128, vocab_size=128256, n_ctx_train=131072,
        layers=made, origin={}, dtype="bfloat16",
    )  # fmt: skip
    return ModelFacts(**{**base, **changes})


def llama(n: int = 32) -> ModelFacts:
    return by_hand(*[(KVCache(8, 128, 128),)] * n)


def rows(root) -> list[dict]:
    return [json.loads(line) for line in (root / "fixtures" / "vllm_kv.jsonl").read_text().splitlines()]


def test_every_row_of_vllms_own_planner_comes_out_byte_for_byte(root):
    seen = rows(root)
    assert len(seen) == 64
    for row in seen:
        facts = facts_of(json.loads((root / "fixtures" / "configs" / f"{row['name']}.json").read_text()))
        extra = {"prefix_caching": row["prefix_caching"], "dtype": "bfloat16"}
        workload = Workload(
            n_ctx=row["max_model_len"],
            n_batch=row["max_num_batched_tokens"],
            kv_dtype_k=row["kv_cache_dtype"],
            options=extra,
        )
        effective = vllm.estimate(facts, workload).effective
        ours = [
            (g["kind"], g["n_layers"], g["block"], g["page"], g["page"] * g["n_blocks"]) for g in effective["groups"]
        ]
        theirs = [
            (KINDS[g["type"]], g["layers"], g["block_size"], g["page_bytes"], g["max_bytes_one_req"])
            for g in row["groups"]
        ]
        assert ours == theirs, row["name"]
        for name in ("bytes_per_block", "blocks_one_req", "bytes_one_req"):
            assert effective[name] == row[name], (row["name"], name)


def test_the_cache_line_is_what_the_requests_claim():
    result = vllm.estimate(llama(), Workload(n_ctx=8192, n_seqs=3))
    (line,) = [x for x in result.lines if x.what == "kv_cache"]
    assert line.nbytes == 3 * 8192 * 131072  # 32 layers × 8 heads × 2 × 128 × 2 bytes a token
    assert line.grade == "derived"
    assert result.total_nbytes == sum(x.nbytes for x in result.lines)


def setup(**changes) -> Setup:
    return Setup(**{"max_model_len": 4096, "in_flight": 4096, **changes})


@pytest.mark.parametrize(
    ("dtype", "token"),
    [
        ("auto", 8 * 256 * 2),
        ("fp8", 8 * 256),
        ("fp8_e5m2", 8 * 256),
        ("fp8_per_token_head", 8 * (256 + 8)),
        ("int8_per_token_head", 8 * (256 + 8)),
        ("int4_per_token_head", 8 * (128 + 8)),
        ("nvfp4", 2 * 8 * (64 + 8)),
    ],
)
def test_a_page_by_cache_precision(dtype: str, token: int):
    p = plan(llama(1), setup(kv_dtype=dtype), Workload())
    assert p.bytes_per_block == 16 * token


@pytest.mark.parametrize(("tp", "heads"), [(1, 8), (2, 4), (8, 1), (16, 1)])
def test_key_value_heads_split_and_then_repeat(tp: int, heads: int):
    assert plan(llama(1), setup(tp=tp), Workload()).bytes_per_block == 16 * heads * 256 * 2


def test_latents_are_the_same_on_every_rank_and_have_layouts_of_their_own():
    facts = by_hand((LatentCache(512, 64),), arch="deepseek_v3")
    for tp in (1, 8):
        assert plan(facts, setup(tp=tp), Workload()).bytes_per_block == 64 * 576 * 2
    assert plan(facts, setup(kv_dtype="fp8_ds_mla"), Workload()).bytes_per_block == 64 * 656
    assert plan(facts, setup(kv_dtype="nvfp4_ds_mla"), Workload()).bytes_per_block == 64 * 352


def test_sparse_attention_keeps_132_bytes_a_token_for_its_indexer():
    facts = by_hand((LatentCache(512, 64), IndexCache(128)), arch="deepseek_v32")
    assert plan(facts, setup(), Workload()).bytes_per_block == 64 * (1152 + 132)
    assert plan(facts, setup(kv_dtype="fp8"), Workload()).bytes_per_block == 64 * (656 + 132)


def test_mixed_head_sizes_of_full_attention_make_one_group():
    p = plan(by_hand((KVCache(4, 128, 128),), (KVCache(4, 256, 256),)), setup(), Workload())
    assert len(p.groups) == 1
    assert p.bytes_per_block == 16 * (4 * 256 + 4 * 512) * 2


def test_gemma_3_27b_makes_seven_groups_of_ten():
    slide, full = (KVCache(16, 128, 128, window=1024),), (KVCache(16, 128, 128),)
    facts = by_hand(*[full if (i + 1) % 6 == 0 else slide for i in range(62)])
    p = plan(facts, setup(max_model_len=32768, in_flight=16384), Workload())
    assert [g.n_layers for g in p.groups] == [9, 9, 9, 9, 8, 8, 10]
    assert p.bytes_one_req / 2**20 == 10727.5  # vLLM's own planner


def test_without_the_hybrid_manager_windows_count_as_full():
    facts = by_hand((KVCache(8, 128, 128, window=128),), (KVCache(8, 128, 128),))
    p = plan(facts, setup(hybrid_manager=False), Workload())
    assert p.bytes_one_req == 2 * 4096 * 4096


def test_a_chunked_layer_keeps_its_chunk_and_what_is_in_flight():
    facts = by_hand((KVCache(8, 128, 128, window=8192, chunked=True),))
    assert plan(facts, setup(max_model_len=1 << 20), Workload()).blocks_one_req == (8192 + 4096) // 16


def test_kda_states_are_float32_beside_128_token_latent_blocks():
    state = StateCache("kda", 12288, 4, 32 * 128 * 128)
    facts = by_hand((state,), (state,), (LatentCache(512, 64),), arch="kimi_linear")
    p = plan(facts, setup(), Workload())
    raw = 3 * 12288 * 2 + 32 * 128 * 128 * 4
    block = 128 * -(-raw // (128 * 1152))
    assert {g.page for g in p.groups} == {block * 1152}
    assert {g.block for g in p.groups} == {block}


def test_the_state_dtype_can_be_asked_for():
    facts = by_hand((StateCache("mamba2", 1000, 4, 5000),))
    alone = setup(prefix_caching=False)
    assert plan(facts, alone, Workload()).bytes_one_req == 3000 * 2 + 5000 * 2
    assert plan(facts, alone.replace(ssm_dtype="float32"), Workload()).bytes_one_req == 3000 * 2 + 5000 * 4
    assert plan(facts.replace(arch="nemotron_h"), alone, Workload()).bytes_one_req == 3000 * 2 + 5000 * 4
    assert plan(facts, setup(), Workload()).blocks_one_req == 2  # prefix caching keeps one more


def test_models_without_attention_do_not_cache_prefixes_by_default():
    state = StateCache("mamba1", 5120, 4, 5120 * 16)
    page = 3 * 5120 * 2 + 5120 * 16 * 2
    alone = vllm.estimate(by_hand((state,), (state,), arch="mamba"), Workload(n_ctx=1 << 20))
    (line,) = [x for x in alone.lines if x.what == "recurrent_state"]
    assert line.nbytes == 2 * page
    asked = vllm.estimate(by_hand((state,), (state,), arch="mamba"), Workload(n_ctx=1 << 20), prefix_caching=True)
    assert asked.effective["bytes_one_req"] == 2 * 2 * page


def test_jamba_gives_its_attention_blocks_the_size_of_a_mamba_page():
    state, attention = (StateCache("mamba1", 8192, 4, 8192 * 16),), (KVCache(8, 128, 128),)
    facts = by_hand(*[attention if i % 8 == 4 else state for i in range(32)], arch="jamba")
    effective = vllm.estimate(facts, Workload(n_ctx=8192, n_batch=2048)).effective
    raw = 3 * 8192 * 2 + 8192 * 16 * 2
    assert effective["block_size"] == 16 * -(-raw // (16 * 4096)) == 80
    assert [(g["kind"], g["n_layers"]) for g in effective["groups"]] == [("mamba", 4)] * 7 + [("full", 4)]
    assert effective["blocks_one_req"] == 7 * 2 + -(-8192 // 80)


def test_mamba_groups_are_padded_to_the_ranks():
    facts = by_hand((StateCache("mamba2", 1024 + 2 * 128, 4, 1024 * 128),), keys={"n_groups": 1, "state_size": 128})
    one_of_two = plan(facts, setup(tp=2, prefix_caching=False), Workload())
    assert one_of_two.bytes_one_req == 3 * (1024 + 2 * 2 * 128) // 2 * 2 + 1024 * 128 // 2 * 2


@pytest.mark.parametrize(
    ("quant", "expected"),
    [
        ({"quant_method": "compressed-tensors", "kv_cache_scheme": {"num_bits": 8, "type": "float"}}, "fp8"),
        ({"quant_method": "modelopt", "quantization": {"kv_cache_quant_algo": "FP8"}}, "fp8"),
        ({"quant_method": "modelopt", "kv_cache_quant_algo": "NVFP4"}, "nvfp4"),
        ({"quant_method": "compressed-tensors", "kv_cache_scheme": {"num_bits": 3, "type": "int"}}, "auto"),
        ({"quant_method": "gptq", "bits": 4}, "auto"),
        ({"kv_cache_scheme": 7}, "auto"),
        ("nonsense", "auto"),
    ],
)
def test_auto_follows_the_checkpoint(quant, expected: str):
    facts = llama(1).replace(keys={"quantization_config": quant})
    assert vllm.checkpoint_kv_dtype(facts) == expected


def test_more_of_anything_never_costs_less():
    def cost(**changes) -> int:
        return vllm.estimate(llama(2), Workload(**changes)).total_nbytes

    contexts = [cost(n_ctx=n) for n in (1, 15, 16, 17, 4096, 100_000)]
    assert contexts == sorted(contexts)
    # sequences that nobody named are the server's 256 when logits are sampled, and one when the cache is sized
    assert cost(n_ctx=100, n_seqs=2) > cost(n_ctx=100, n_seqs=1)
    assert cost(n_ctx=4096, kv_dtype_k="fp8") < cost(n_ctx=4096) < cost(n_ctx=4096, kv_dtype_k="f32")


def weighty(*named: tuple[str, tuple[int, ...]], **changes) -> ModelFacts:
    tensors, offset = [], 0
    for name, shape in named:
        size = DTYPES["BF16"].nbytes(shape)
        tensors.append(TensorInfo(name, shape, DTYPES["BF16"], offset, size))
        offset += size
    return llama(1).replace(tensors=tuple(tensors), **changes)


def weights(facts: ModelFacts, **placement) -> list:
    result = vllm.estimate(facts, Workload(n_ctx=64), placement=Placement(**placement))
    return [x for x in result.lines if x.what == "weights"]


def test_weights_are_the_files_unless_something_is_different():
    facts = weighty(("model.layers.0.self_attn.q_proj.weight", (64, 64)), ("lm_head.weight", (128, 64)))
    (line,) = weights(facts)
    assert (line.nbytes, line.grade) == (64 * 64 * 2 + 128 * 64 * 2, "exact")


def test_odd_vocabularies_are_padded_and_tied_heads_and_mtp_layers_left_out():
    odd = weighty(("model.embed_tokens.weight", (100, 64)))
    assert weights(odd)[0].nbytes == 128 * 64 * 2
    assert weights(odd)[0].grade == "derived"
    tied = weighty(
        ("model.embed_tokens.weight", (128, 64)), ("lm_head.weight", (128, 64)), tied_embeddings=True
    )  # fmt: skip
    assert weights(tied)[0].nbytes == 128 * 64 * 2
    ahead = weighty(("model.layers.0.mlp.up_proj.weight", (64, 64)), ("model.layers.1.mlp.up_proj.weight", (64, 64)))
    assert weights(ahead)[0].nbytes == 64 * 64 * 2


def test_ranks_split_matrices_and_repeat_norms_and_routers():
    facts = weighty(
        ("model.layers.0.self_attn.q_proj.weight", (4096, 64)),
        ("model.layers.0.self_attn.k_proj.weight", (1024, 64)),
        ("model.layers.0.input_layernorm.weight", (64,)),
        ("model.layers.0.mlp.gate.weight", (8, 64)),
        ("model.layers.0.mlp.gate_proj.weight", (64, 64)),
    )
    ranks = weights(facts, tensor_parallel=16)
    assert len(ranks) == 16
    # 8 key-value heads over 16 ranks: every rank holds one whole head
    assert ranks[0].nbytes == 2 * (4096 * 64 // 16 + 1024 * 64 // 8 + 64 + 8 * 64 + 64 * 64 // 16)


def test_needs_and_takes_are_two_figures():
    gpu = Gpu("card", 24 * GIB)
    facts = weighty(("model.layers.0.mlp.up_proj.weight", (1 << 16, 1 << 14)))
    result = vllm.estimate(facts, Workload(n_ctx=4096), placement=Placement(gpus=(gpu,)))
    assert result.fits is True
    assert result.effective["takes"] == {"card": -(-24 * GIB * 92 // 100)}
    assert result.total_nbytes < result.effective["takes"]["card"]
    assert any("takes 22.08 GiB (0.92 of every GPU)" in n for n in result.notes)


def test_the_longest_context_fits_and_one_more_block_does_not():
    gpus = (Gpu("card", 8 * GIB),)
    facts = weighty(("model.layers.0.mlp.up_proj.weight", (1 << 14, 1 << 14)), n_ctx_train=1 << 22)
    place = Placement(gpus=gpus)
    longest = vllm.max_model_len(facts, Workload(), place)
    assert longest
    assert vllm.estimate(facts, Workload(n_ctx=longest), placement=place).fits
    assert not vllm.estimate(facts, Workload(n_ctx=longest + 16), placement=place).fits
    assert vllm.concurrency(facts, Workload(n_ctx=longest), place) == 1
    assert vllm.concurrency(facts, Workload(n_ctx=longest // 64 * 16), place) in {4, 5}


def test_nothing_is_claimed_of_layers_nobody_knows():
    facts = by_hand((KVCache(8, 128, 128),), (UnknownCache("warp_attention"),))
    result = vllm.estimate(facts, Workload(n_ctx=1024), placement=Placement(gpus=(Gpu("card", 80 * GIB),)))
    assert any("warp_attention" in x for x in result.unknown)
    assert any("2,048 elements" in x for x in result.notes)
    assert result.fits is None
    assert vllm.concurrency(facts, Workload(n_ctx=1024), Placement(gpus=(Gpu("card", 80 * GIB),))) is None


def test_weights_that_were_not_read_are_unknown_not_zero():
    result = vllm.estimate(llama(), Workload(n_ctx=1024))
    assert any("weights" in x for x in result.unknown)
    assert not [x for x in result.lines if x.what == "weights"]


def test_options_of_the_document_change_the_figure_and_say_so():
    def cache(**changes):
        result = vllm.estimate(llama(), Workload(n_ctx=32768, n_batch=2048, **changes))
        return next(x for x in result.lines if x.what == "kv_cache"), result

    whole, _ = cache()
    pruned, said = cache(options={"kv_keep": (4, 1020)})
    assert pruned.nbytes == 1024 * 131072
    assert any("first 4" in n for n in said.notes)
    slid, said = cache(options={"window": 1024})
    assert slid.nbytes < whole.nbytes
    assert any("window" in n for n in said.notes)
    half, _ = cache(kv_dtype_k="fp8", kv_dtype_v="fp8")
    assert half.nbytes * 2 == whole.nbytes
    assert "fp8" in half.how


@pytest.mark.parametrize(
    ("workload", "placement"),
    [
        (Workload(kv_dtype_k="fp8", kv_dtype_v="f16"), Placement()),
        (Workload(options={"block_size": -1}), Placement()),
        (Workload(options={"gpu_memory_utilization": 1.5}), Placement()),
        (Workload(kv_dtype_k="q99"), Placement()),
        (Workload(), Placement(tensor_parallel=3)),
        (Workload(), Placement(tensor_parallel=4, gpus=(Gpu("a", GIB), Gpu("b", GIB)))),
        (Workload(options={"window": 0}), Placement()),
    ],
)
def test_what_vllm_would_refuse_is_refused(workload: Workload, placement: Placement):
    with pytest.raises(WorkloadError):
        vllm.estimate(llama(), workload, placement=placement)


def test_host_memory_takes_the_cache_where_it_is_offloaded():
    card = Placement(gpus=(Gpu("card", 80 * GIB),), kv_offload=False)
    result = vllm.estimate(llama(), Workload(n_ctx=1024), placement=card)
    assert [x.device for x in result.lines if x.what == "kv_cache"] == ["host"]


def test_settings_may_be_given_by_name_and_strange_ones_are_refused():
    named = vllm.estimate(llama(), Workload(n_ctx=1024), block_size=32, enforce_eager=True)
    extra = vllm.estimate(llama(), Workload(n_ctx=1024, options={"block_size": 32, "enforce_eager": True}))
    assert named.lines == extra.lines
    assert named.effective["block_size"] == 32
    with pytest.raises(WorkloadError):
        vllm.estimate(llama(), Workload(n_ctx=1024), blocksize=32)
    with pytest.raises(WorkloadError):
        vllm.estimate(llama(), Workload(n_ctx=1024), gpu_memory_utilization="most")


def test_encoders_have_no_cache():
    facts = by_hand((), (), arch="bert", causal=False)
    result = vllm.estimate(facts, Workload(n_ctx=512))
    assert not [x for x in result.lines if x.what == "kv_cache"]
    assert result.effective["bytes_one_req"] == 0


def test_packed_weights_are_not_guessed_from_the_number_of_parameters():
    plain = llama().replace(n_params=8_030_261_248)
    (line,) = [x for x in vllm.estimate(plain, Workload()).lines if x.what == "weights"]
    assert (line.nbytes, line.grade) == (16_060_522_496, "modelled")
    packed = vllm.estimate(plain.replace(quantization="mxfp4"), Workload())
    assert any("weights" in x for x in packed.unknown)


def test_absorbed_projections_of_deepseek_v3_come_on_top():
    keys = {"kv_lora_rank": 512, "qk_nope_head_dim": 128, "v_head_dim": 128}
    facts = by_hand(*[(LatentCache(512, 64),)] * 61, arch="deepseek_v3", n_heads=128, keys=keys)
    one = TensorInfo("model.layers.0.mlp.up_proj.weight", (8, 8), DTYPES["BF16"], 0, 128)
    (line,) = weights(facts.replace(tensors=(one,)))
    assert line.nbytes == 128 + 61 * 128 * 512 * 256 * 2


def test_eager_mode_has_no_graphs():
    graphs = [x for x in vllm.estimate(llama(), Workload()).lines if x.label == "cuda_graphs"]
    assert len(graphs) == 1
    eager = vllm.estimate(llama(), Workload(options={"enforce_eager": True}))
    assert not [x for x in eager.lines if x.label == "cuda_graphs"]


LLAMA = {
    "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 128,
    "intermediate_size": 128, "max_position_embeddings": 1024, "num_key_value_heads": 2, "tie_word_embeddings": True,
}  # fmt: skip
ENCODER = {**LLAMA, "model_type": "roberta"}


@pytest.mark.parametrize(
    ("config", "dtype", "note"),
    [  # vllm 0.33.0 config/model.py _resolve_auto_dtype, asked with a GPU's supported dtypes
        ({**LLAMA, "torch_dtype": "float32"}, "bfloat16", "float32 weights run as bfloat16"),
        (LLAMA, "bfloat16", "the model names no dtype: bfloat16, vLLM's default"),
        ({**LLAMA, "dtype": "float16"}, "float16", ""),
        ({**ENCODER, "dtype": "float32"}, "float16", "float32 weights run as float16"),
        (ENCODER, "float16", "the model names no dtype: float16, vLLM's default"),
        ({**LLAMA, "model_type": "gemma2", "architectures": ["RewardModel"]}, "bfloat16", "bfloat16, vLLM's default"),
    ],
)
def test_vllm_halves_float32_and_has_a_default(config: dict, dtype: str, note: str) -> None:
    found = vllm.estimate(facts_of(config), Workload(n_ctx=64))
    assert found.effective["dtype"] == dtype
    weights = next(x for x in found.lines if x.what == "weights")
    assert weights.nbytes == 2 * facts_of(config).n_params
    assert any(note in n for n in found.notes) if note else not any("dtype" in n for n in found.notes)
