from __future__ import annotations

import gzip
import json

import pytest

from inspector.checkpoint import Checkpoint, open_checkpoint
from inspector.dtypes import DTYPES
from inspector.errors import WorkloadError
from inspector.facts import ModelFacts, read_facts
from inspector.facts.hf import read_facts_hf
from inspector.formats.modelfile import TensorInfo
from inspector.layers import (
    CompressedCache,
    CrossCache,
    IndexCache,
    KVCache,
    LatentCache,
    Layer,
    StateCache,
    UnknownCache,
)
from inspector.memory.engines import transformers
from inspector.memory.engines.transformers import attention_of, estimate
from inspector.memory.engines.transformers.shape import kind_of
from inspector.memory.estimate import Gpu, Placement, Workload
from inspector.units import GIB

ATTENTION = {"stub_fused": "flash", "sdpa": "sdpa", "eager": "eager", None: "eager"}


def facts_of(config: dict) -> ModelFacts:
    return read_facts_hf(Checkpoint(target="x", format="config", files=(), documents={"config.json": config}))


@pytest.fixture(scope="module")
def measured(root):
    with gzip.open(root / "fixtures" / "transformers.jsonl.gz", "rt") as lines:
        return [row for row in map(json.loads, lines) if "error" not in row]


@pytest.fixture(scope="module")
def config(root):
    seen: dict[str, ModelFacts] = {}

    def read(name: str) -> ModelFacts:
        if name not in seen:
            seen[name] = facts_of(json.loads((root / "fixtures" / "configs" / f"{name}.json").read_text()))
        return seen[name]

    return read


def caches(result) -> tuple[int, int]:
    """(logical bytes, bytes of storage) of all cache lines."""
    lines = [x for x in result.lines if x.what in {"kv_cache", "recurrent_state"}]
    return sum(x.nbytes for x in lines), sum(x.peak_nbytes or x.nbytes for x in lines)


def compute(result) -> int | None:
    return next((x.nbytes for x in result.lines if x.what == "compute"), None)


def test_every_measured_dynamic_cache_comes_out_byte_for_byte(measured, config):
    rows = [row for row in measured if row["kind"] == "cache_real"]
    assert len(rows) == 150
    for row in rows:
        asked = Workload(n_ctx=row["prefill"], n_seqs=row["batch"], options={"dtype": row["dtype"]})
        result = estimate(config(row["name"]), asked)
        ours = caches(result)
        assert ours == (row["cache_bytes_logical"], row["cache_bytes_storage"]), (row["name"], row["prefill"])
        grades = {x.grade for x in result.lines if x.what in {"kv_cache", "recurrent_state"}}
        assert grades == {"derived"}


def test_the_next_decode_step_leaves_the_logical_bytes(measured, config):
    for row in measured:
        if row["kind"] != "cache_real" or "after_1_decode_storage" not in row:
            continue
        n = row["prefill"] + 1
        asked = Workload(n_ctx=n, n_seqs=row["batch"], options={"dtype": row["dtype"], "n_prefill": 0})
        ours = caches(estimate(config(row["name"]), asked))
        assert ours[0] == row["after_1_decode_logical"], (row["name"], n)


def test_every_measured_static_cache_comes_out_byte_for_byte(measured, config):
    rows = [row for row in measured if row["kind"] == "cache_static"]
    assert len(rows) == 12
    for row in rows:
        asked = Workload(n_ctx=row["max_cache_len"], n_seqs=row["batch"], options={"dtype": row["dtype"]})
        ours = caches(estimate(config(row["name"]), asked, cache="static"))
        assert ours == (row["cache_bytes_logical"], row["cache_bytes_storage"]), row["name"]


def in_torch_math(row: dict) -> bool:
    """Rows whose sdpa was torch's unfused fallback: on the meta device without a kernel, or K and V of two sizes."""
    fallback = any("bmm" in x["op"] and x["dtype"] == "float32" for x in row["top"])
    return row["attn"] == "sdpa" and (fallback or row["name"] == "tiny_deepseek_v3")


def test_activation_peaks_stay_within_half_a_percent_of_what_torch_holds(measured, config):
    errors, ranges = [], set()
    for row in measured:
        if row["kind"] not in {"act_real_meta", "act_cpu"} or in_torch_math(row):
            continue
        options = {"dtype": row["dtype"], "attn": ATTENTION[row["attn"]], "outputs_asked": True}
        outputs = "last" if row["logits_to_keep"] else "all"
        asked = Workload(n_ctx=row["prefill"], n_seqs=row["batch"], outputs=outputs, options=options)
        line = next(x for x in estimate(config(row["name"]), asked).lines if x.what == "compute")
        ours = line.nbytes
        if line.low is not None:
            assert line.low <= row["peak_minus_cache"] <= ours, row
            ranges.add(row["model_type"])
            continue
        errors.append(abs(ours / row["peak_minus_cache"] - 1))
        assert errors[-1] < 0.005, (row["name"], row["attn"], row["batch"], row["prefill"], row["dtype"], ours)
    # recurrent layers run a chunked scan in plain torch when no kernel is installed
    assert ranges == {"qwen3_next", "mamba2", "falcon_h1"}
    assert len(errors) == 235
    assert sum(e < 1e-4 for e in errors) >= 200


@pytest.fixture(scope="module")
def ours_measured(root):
    with gzip.open(root / "fixtures" / "measured_transformers.json.gz", "rt") as f:
        return json.load(f)


def test_further_architectures_hold_what_we_measured_on_the_meta_device(ours_measured):
    """Seventy-odd model types in shapes of our own, or their classes': scripts/measure_transformers.py."""
    facts = {name: facts_of(config) for name, config in ours_measured["configs"].items()}
    seen, ranges = set(), set()
    for row in ours_measured["rows"]:
        model = facts[row["name"]]
        options = {"dtype": "bfloat16", "attn": ATTENTION[row["attn"]], "outputs_asked": True}
        outputs = "last" if row["logits_to_keep"] else "all"
        result = estimate(
            model, Workload(n_ctx=row["prefill"], n_seqs=row["batch"], outputs=outputs, options=options)
        )  # fmt: skip
        assert caches(result) == (row["cache_bytes_logical"], row["cache_bytes_storage"]), row["name"]
        line = next(x for x in result.lines if x.what == "compute")
        ours, measured = line.nbytes, row["peak_bytes"] - row["cache_bytes_storage"]
        if model.arch in {"bloom", "xglm"} and row["attn"] == "stub_fused":
            continue  # they have their own attention, always eager
        if line.low is not None:
            assert line.low <= measured <= ours, (row["name"], row["attn"], row["batch"], line.low, measured, ours)
            ranges.add(model.arch)
        else:
            assert abs(ours / measured - 1) < 0.005, (row["name"], row["attn"], row["batch"], ours, measured)
            seen.add(model.arch)
    assert not ranges & seen
    assert len(seen) >= 50
    assert len(ranges) >= 24


def test_a_range_is_no_wider_than_what_was_measured(ours_measured):
    """The factors over a blind reading are those of measured types, rounded outwards; no kind's most is a guess."""
    facts = {name: facts_of(config) for name, config in ours_measured["configs"].items()}
    reached = {}
    for row in ours_measured["rows"]:
        model, attn = facts[row["name"]], ATTENTION[row["attn"]]
        options = {"dtype": "bfloat16", "attn": attn, "outputs_asked": True}
        outputs = "last" if row["logits_to_keep"] else "all"
        result = estimate(model, Workload(n_ctx=row["prefill"], n_seqs=row["batch"], outputs=outputs, options=options))
        line = next(x for x in result.lines if x.what == "compute")
        kind = kind_of(model), attn == "eager"
        if line.low is not None and not (model.arch == "xglm" and attn == "flash"):
            share = (row["peak_bytes"] - row["cache_bytes_storage"]) / line.nbytes
            reached[kind] = max(reached.get(kind, 0), share)
    for kind in ("dense", "gdn", "mamba1", "mamba2"):
        assert all(reached[kind, eager] > 0.97 for eager in (False, True)), (kind, reached)


def by_hand(*layers: tuple, **changes) -> ModelFacts:
    made = tuple(Layer(index=i, kind="full", caches=kept) for i, kept in enumerate(layers))
    base = dict(
        arch="llama", format="safetensors", n_params=None, n_params_active=None, n_layers=len(made), d_model=4096,
        d_ff=14336, n_heads=32, n_kv_heads=8, head_dim_k=128, head_dim_v=128, vocab_size=128256, n_ctx_train=8192,
        layers=made, origin={}, dtype="bfloat16",
    )  # fmt: skip
    return ModelFacts(**{**base, **changes})


def llama(n: int = 32) -> ModelFacts:
    return by_hand(*[(KVCache(8, 128, 128),)] * n)


def test_a_sliding_layer_keeps_one_token_less_than_its_window_as_a_view_of_all():
    facts = by_hand((KVCache(8, 128, 128, window=1000),))
    (line,) = [x for x in estimate(facts, Workload(n_ctx=5000)).lines if x.what == "kv_cache"]
    assert (line.nbytes, line.peak_nbytes) == (999 * 4096, 5000 * 4096)
    static = estimate(facts, Workload(n_ctx=5000), cache="static")
    (line,) = [x for x in static.lines if x.what == "kv_cache"]
    assert (line.nbytes, line.peak_nbytes) == (1000 * 4096, None)


def test_latents_compressed_and_expanded():
    keys = {"qk_nope_head_dim": 128, "v_head_dim": 128, "kv_lora_rank": 512, "qk_rope_head_dim": 64}
    facts = by_hand((LatentCache(512, 64),), arch="deepseek_v3", n_heads=128, keys=keys)
    assert caches(estimate(facts, Workload(n_ctx=10)))[0] == 10 * 576 * 2
    assert caches(estimate(facts, Workload(n_ctx=10), mla_expanded=True))[0] == 10 * 40960 * 2
    with pytest.raises(WorkloadError):
        estimate(facts.replace(keys={}), Workload(n_ctx=10), mla_expanded=True)


def test_states_do_not_grow_and_stay_in_float32():
    facts = by_hand((StateCache("mamba2", 1000, 4, 5000),))
    for n in (1, 100_000):
        assert caches(estimate(facts, Workload(n_ctx=n, n_seqs=3)))[0] == 3 * (1000 * 4 * 2 + 5000 * 4)


def test_indexers_and_cross_attention_have_lines_of_their_own():
    facts = by_hand((LatentCache(512, 64), IndexCache(128)), (KVCache(8, 64, 64), CrossCache(8, 64, 64)))
    result = estimate(facts, Workload(n_ctx=100, options={"encoder_tokens": 1500}))
    sizes = {x.label: x.nbytes for x in result.lines if x.what == "kv_cache"}
    assert sizes == {"latent": 100 * 1152, "index": 100 * 256, "full": 100 * 2048, "cross": 1500 * 2048}


def test_falcons_new_decoder_caches_every_query_head():
    plain = by_hand((KVCache(8, 64, 64),), arch="falcon", n_heads=128)
    assert caches(estimate(plain, Workload(n_ctx=1)))[0] == 8 * 128 * 2
    new = plain.replace(keys={"new_decoder_architecture": True})
    assert caches(estimate(new, Workload(n_ctx=1)))[0] == 128 * 128 * 2


@pytest.mark.parametrize(
    ("dtype", "token"),
    [("f32", 2048 * 4), ("fp8", 2048), ("int8", 2048), ("q8_0", 2048 * 34 // 32), ("q4_0", 2048 * 18 // 32)],
)
def test_other_cache_precisions_change_the_figure_and_are_not_passed_off_as_exact(dtype: str, token: int):
    result = estimate(llama(1), Workload(n_ctx=10, kv_dtype_k=dtype, kv_dtype_v=dtype))
    (line,) = [x for x in result.lines if x.what == "kv_cache"]
    assert line.nbytes == 10 * token
    assert line.grade == "modelled"
    assert any("quantised cache" in n for n in result.notes)


def test_pruning_windows_and_offloading():
    pruned = estimate(llama(), Workload(n_ctx=8192, options={"kv_keep": "4+1020"}))
    assert caches(pruned)[0] == 1024 * 131072
    assert any("first 4" in n for n in pruned.notes)
    slid = estimate(llama(), Workload(n_ctx=8192, options={"window": 1025}))
    assert caches(slid)[0] == 1024 * 131072
    card = Placement(gpus=(Gpu("card", 80 * GIB),), kv_offload=False)
    off = estimate(llama(), Workload(n_ctx=1024), placement=card)
    assert {x.device for x in off.lines if x.what == "kv_cache"} == {"host"}
    assert any("offloaded" in n for n in off.notes)


def test_flash_attention_off_costs_what_the_scores_cost():
    on = compute(estimate(llama(), Workload(n_ctx=8192, flash_attn=True)))
    off = compute(estimate(llama(), Workload(n_ctx=8192, flash_attn=False)))
    assert on == 977_338_368  # measured
    assert off == 22_015_967_232  # measured


def test_models_without_sdpa_fall_back_to_eager():
    assert attention_of(llama(), Workload()) == "sdpa"
    assert attention_of(llama().replace(arch="gpt_oss"), Workload()) == "eager"
    assert attention_of(llama().replace(arch="gpt_oss"), Workload(flash_attn=True)) == "flash"


def test_generate_needs_only_the_last_logits_and_a_plain_forward_all_of_them():
    last = compute(estimate(llama(), Workload(n_ctx=2048)))
    every = compute(estimate(llama(), Workload(n_ctx=2048, outputs="all", options={"outputs_asked": True})))
    assert (last, every) == (244_334_592, 542_113_792)  # measured


def test_totals_are_sums_and_more_never_costs_less():
    def total(**changes) -> int:
        result = estimate(llama(2), Workload(**changes))
        assert result.total_nbytes == sum(x.nbytes for x in result.lines)
        return result.total_nbytes

    contexts = [total(n_ctx=n) for n in (1, 2, 1000, 1001, 8192)]
    assert contexts == sorted(contexts)
    assert total(n_ctx=100, n_seqs=1) < total(n_ctx=100, n_seqs=2)
    assert total(n_ctx=4096, kv_dtype_k="q4_0") < total(n_ctx=4096) < total(n_ctx=4096, kv_dtype_k="f32")


def tensor(name: str, shape: tuple[int, ...], dtype: str = "BF16") -> TensorInfo:
    return TensorInfo(name, shape, DTYPES[dtype], 0, DTYPES[dtype].nbytes(shape))


def weights(*tensors: TensorInfo, **changes):
    result = estimate(llama(1).replace(tensors=tensors, **changes), Workload(n_ctx=16))
    return next(x for x in result.lines if x.what == "weights")


def test_weights_as_they_are_and_as_they_are_loaded():
    up, head, embed = "model.layers.0.mlp.up_proj.weight", "lm_head.weight", "model.embed_tokens.weight"
    assert weights(tensor(up, (64, 64))).grade == "exact"
    converted = weights(tensor(up, (64, 64), "F32"))
    assert (converted.nbytes, converted.grade) == (64 * 64 * 2, "derived")
    packed = weights(tensor(up, (64, 64), "F32"), quantization="gptq")
    assert packed.nbytes == 64 * 64 * 4
    tied = weights(tensor(embed, (100, 64)), tensor(head, (100, 64)), tied_embeddings=True)
    assert tied.nbytes == 100 * 64 * 2
    assert "tied" in tied.how
    ahead = weights(tensor(up, (64, 64)), tensor("model.layers.1.mlp.up_proj.weight", (64, 64)))
    assert ahead.nbytes == 64 * 64 * 2
    assert weights(tensor("mtp.fc.weight", (8, 8)), tensor(up, (64, 64))).nbytes == 64 * 64 * 2


def test_nothing_is_claimed_of_layers_nobody_knows():
    facts = by_hand((KVCache(8, 128, 128),), (UnknownCache("warp"),))
    result = estimate(facts, Workload(n_ctx=1024), placement=Placement(gpus=(Gpu("card", 80 * GIB),)))
    assert any("warp" in x for x in result.unknown)
    assert any("full attention" in x for x in result.notes)
    assert result.fits is None
    assert compute(result) is None


def test_an_architecture_that_was_not_measured_says_so():
    result = estimate(llama().replace(arch="brand_new"), Workload(n_ctx=1024))
    line = next(x for x in result.lines if x.what == "compute")
    assert line.grade == "modelled"
    assert "not measured" in line.how


def test_indexers_and_encoders_get_no_guess_of_their_activations():
    for cache in (IndexCache(128), CrossCache(8, 64, 64)):
        result = estimate(by_hand((KVCache(8, 64, 64), cache)), Workload(n_ctx=100))
        assert compute(result) is None
        assert any("not derived" in x for x in result.unknown)


def test_what_waits_to_be_compressed_is_kept_as_it_came():
    facts = by_hand((CompressedCache("hca", 128, 512, 512, 128),))
    (line,) = [x for x in estimate(facts, Workload(n_ctx=1000)).lines if x.what == "kv_cache"]
    assert line.nbytes == 7 * 512 * 2 + 2 * (1000 - 7 * 128) * 512 * 2


def test_packed_weights_are_not_guessed_from_the_number_of_parameters():
    plain = llama().replace(n_params=1000)
    assert next(x for x in estimate(plain, Workload(n_ctx=1)).lines if x.what == "weights").nbytes == 2000
    packed = estimate(plain.replace(quantization="mxfp4"), Workload(n_ctx=1))
    assert any("weights" in x for x in packed.unknown)


def test_a_device_must_hold_the_peak_not_the_remainder():
    facts = by_hand(*[(KVCache(8, 128, 128, window=128),)] * 32).replace(
        tensors=(tensor("model.layers.0.mlp.up_proj.weight", (1024, 1024)),)
    )
    card = Placement(gpus=(Gpu("card", 4 * GIB),))
    result = estimate(facts, Workload(n_ctx=16384), placement=card)
    assert result.total_nbytes < 4 * GIB < result.effective["peak_nbytes"]
    assert result.fits is False


def test_several_devices_share_weights_and_caches_and_hold_one_peak_each():
    pair = Placement(gpus=(Gpu("a", 80 * GIB), Gpu("b", 80 * GIB)))
    facts = llama().replace(tensors=(tensor("model.layers.0.mlp.up_proj.weight", (1023, 1021)),))
    one, two = estimate(facts, Workload(n_ctx=1000)), estimate(facts, Workload(n_ctx=1000), placement=pair)
    for what in ("weights", "kv_cache"):
        assert sum(x.nbytes for x in one.lines if x.what == what) == sum(
            x.nbytes for x in two.lines if x.what == what
        )  # fmt: skip
    assert len([x for x in two.lines if x.what == "compute"]) == 2


@pytest.mark.parametrize(
    ("workload", "options"),
    [
        (Workload(n_ctx=10), {"cache": "elastic"}),
        (Workload(n_ctx=10, options={"attn": "magic"}), {}),
        (Workload(n_ctx=10, options={"n_prefill": 11}), {}),
        (Workload(n_ctx=10, options={"kv_keep": "all"}), {}),
        (Workload(n_ctx=10, options={"kv_keep": (0, 0)}), {}),
        (Workload(n_ctx=10, kv_dtype_k="q99"), {}),
    ],
)
def test_settings_that_mean_nothing_are_refused(workload: Workload, options: dict):
    with pytest.raises(WorkloadError):
        estimate(llama(), workload, **options)


def test_the_module_is_what_the_registry_calls():
    from inspector.memory.engines import estimate as by_name

    result = by_name(llama(1), Workload(n_ctx=10), engine="hf", placement=Placement())
    assert result == transformers.estimate(llama(1), Workload(n_ctx=10), placement=Placement())


@pytest.mark.parametrize(("n", "nbytes"), [(7, 10176), (130, 20352), (259, 27648), (300, 37952)])
def test_compressed_caches_are_as_large_as_those_that_deepseek_v4_builds(n, nbytes, tmp_path):
    """Tensors of `past_key_values` after a prefill of n tokens, counted on the CPU (transformers 5.24.0)."""
    config = {
        "model_type": "deepseek_v4", "hidden_size": 64, "num_hidden_layers": 6, "num_attention_heads": 4,
        "num_key_value_heads": 1, "head_dim": 32, "qk_rope_head_dim": 8, "q_lora_rank": 16, "o_groups": 2,
        "o_lora_rank": 8, "moe_intermediate_size": 24, "n_routed_experts": 4, "num_experts_per_tok": 2,
        "n_shared_experts": 1, "vocab_size": 100, "index_head_dim": 16, "index_n_heads": 4, "index_topk": 8,
        "sliding_window": 20, "hc_mult": 2, "compress_ratios": [0, 0, 4, 128, 4, 128, 0], "dtype": "bfloat16",
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    facts = read_facts(open_checkpoint(str(tmp_path / "config.json")))
    found = transformers.estimate(facts, Workload(n_ctx=n))
    assert sum(x.nbytes for x in found.lines if x.what == "kv_cache") == nbytes
