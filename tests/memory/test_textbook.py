"""The textbook formulas against figures worked out on paper (GiB = 1024³ bytes)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.checkpoint import open_checkpoint
from inspector.errors import MissingKey, WorkloadError
from inspector.facts import ModelFacts, read_facts
from inspector.layers import KVCache, LatentCache, Layer, StateCache, UnknownCache
from inspector.memory.engines.textbook import PRECISIONS, estimate, precision, weights_nbytes
from inspector.memory.estimate import Gpu, Placement, Workload
from inspector.memory.predicted import quantised
from inspector.units import GIB


def model(n_params, *dims):
    n_layers, d_model, n_heads, n_kv, dim = dims
    return ModelFacts(
        "llama", "none", n_params, None, n_layers, d_model, None, n_heads, n_kv, dim, dim, None, None, (), {}
    )


LLAMA2_70B = model(70_000_000_000, 80, 8192, 64, 8, 128)
LLAMA3_8B = model(8_000_000_000, 32, 4096, 32, 8, 128)


def part(facts, what, n_ctx, n_seqs=1, **options):
    dtype = options.pop("kv_dtype", "f16")
    result = estimate(facts, Workload(n_ctx=n_ctx, n_seqs=n_seqs, kv_dtype_k=dtype, kv_dtype_v=dtype), **options)
    return sum(line.nbytes for line in result.lines if line.what == what)


# The document's worked examples: what its formula gives, and the same with grouped-query heads.
@pytest.mark.parametrize(
    ("facts", "n_ctx", "n_seqs", "hidden_gib", "gqa_gib"),
    [
        (LLAMA2_70B, 4096, 8, 80.00, 10.00),
        (LLAMA3_8B, 1_000_000, 1, 488.28, 122.07),
        (LLAMA2_70B, 2048, 1, 5.00, 0.63),
        (LLAMA2_70B, 32768, 8, 640.00, 80.00),
        (LLAMA3_8B, 4096, 1, 2.00, 0.50),
        (LLAMA2_70B, 8192, 4, 80.00, 10.00),
    ],
)
def test_kv_cache_of_the_worked_examples(facts, n_ctx, n_seqs, hidden_gib, gqa_gib):
    assert part(facts, "kv_cache", n_ctx, n_seqs, kv_form="hidden") / GIB == pytest.approx(hidden_gib, abs=0.005)
    assert part(facts, "kv_cache", n_ctx, n_seqs, kv_form="heads") == part(
        facts, "kv_cache", n_ctx, n_seqs, kv_form="hidden"
    )
    assert part(facts, "kv_cache", n_ctx, n_seqs, kv_form="gqa") / GIB == pytest.approx(gqa_gib, abs=0.00501)


@pytest.mark.parametrize(
    ("facts", "n_ctx", "n_seqs", "gib"),
    [(LLAMA2_70B, 2048, 1, 2.5), (LLAMA2_70B, 2048, 8, 20), (LLAMA3_8B, 1_000_000, 1, 244.14),
     (LLAMA2_70B, 32768, 8, 320), (LLAMA3_8B, 4096, 1, 1.0), (LLAMA2_70B, 8192, 4, 40)],
)  # fmt: skip
def test_activations_of_the_worked_examples(facts, n_ctx, n_seqs, gib):
    nbytes = part(facts, "compute", n_ctx, n_seqs, kv_form="gqa")
    if gib in {2.5, 20}:  # the document says batch 1 and 8 at 2,048 tokens
        assert nbytes == gib * GIB
    assert nbytes / GIB == pytest.approx(gib, abs=0.005)


def test_weights_of_the_worked_examples():
    assert weights_nbytes(70_000_000_000, precision("fp16")) == 140_000_000_000
    assert weights_nbytes(68_976_648_192, precision("FP16")) == 137_953_296_384
    assert [weights_nbytes(70_000_000_000, precision(p)) for p in ("fp32", "int8", "int4")] == [
        280_000_000_000, 70_000_000_000, 35_000_000_000,
    ]  # fmt: skip
    assert weights_nbytes(70_000_000_000, precision("Q4_K_M"), nominal=True) == 35_000_000_000


def test_int8_cache_is_half_of_fp16():
    assert part(LLAMA2_70B, "kv_cache", 8192, 4, kv_form="hidden", kv_dtype="int8") == 40 * GIB
    assert part(LLAMA2_70B, "kv_cache", 8192, 4, kv_form="gqa", kv_dtype="int8") == 5 * GIB


def test_nominal_and_real_bits_of_the_table():
    nominal = {"Q2_K": 2.0, "Q4_0": 4.5, "Q4_1": 5.0, "Q5_0": 5.5, "Q5_1": 6.0, "Q6_K": 6.0, "Q8_0": 8.5}
    real = {"Q4_0": 4.5, "Q4_1": 5.0, "Q5_0": 5.5, "Q5_1": 6.0, "Q6_K": 6.5625, "Q8_0": 8.5, "MXFP4": 4.25}
    assert {k: PRECISIONS[k].nominal / 10000 for k in nominal} == nominal
    assert {k: PRECISIONS[k].real / 10000 for k in real} == real


# bytes of the tensors of Llama 2 70B's published GGUF files (their sizes less the header, to the last digit printed)
PUBLISHED_GB = {"Q3_K_S": 29.92, "Q3_K_M": 33.27, "Q3_K_L": 36.15, "Q4_K_S": 39.25, "Q4_K_M": 41.42, "Q5_K_S": 47.46,
                "Q5_K_M": 48.75}  # fmt: skip


@pytest.mark.parametrize("name", [n for n, row in PRECISIONS.items() if n.endswith(("_S", "_M", "_L")) or n == "Q2_K"])
def test_a_mix_has_the_mean_that_llama_quantize_gives_llama_2_70b(name, sparse_model):
    facts = read_facts(open_checkpoint(str(sparse_model("llama-2-70b"))))
    made = sum(t.nbytes for t in quantised(facts, name).tensors)
    ours = weights_nbytes(facts.n_params, precision(name))
    assert ours == pytest.approx(made, rel=2e-5)
    if name in PUBLISHED_GB:
        assert round(ours / 1e9, 2) == PUBLISHED_GB[name]


def test_simplified_activations_are_tokens_times_a_factor():
    assert part(LLAMA3_8B, "compute", 1000, 3, kv_form="gqa", constant_factor=119_304) == 3000 * 119_304


def test_sliding_layers_stop_growing_at_the_window():
    layers = tuple(Layer(i, "sliding", (KVCache(8, 128, 128, window=512),)) for i in range(4))
    facts = LLAMA3_8B.replace(layers=layers)
    assert part(facts, "kv_cache", 512) == part(facts, "kv_cache", 100_000) == 4 * 512 * 8 * 256 * 2


def test_latent_layers_keep_one_vector_a_token():
    layers = (Layer(0, "latent", (LatentCache(512, 64),)),)
    assert part(LLAMA3_8B.replace(layers=layers), "kv_cache", 1000) == 1000 * 576 * 2


def test_states_do_not_grow_with_context():
    layers = (Layer(0, "recurrent", (StateCache("mamba2", 100, 4, 1000),)),)
    facts = LLAMA3_8B.replace(layers=layers)
    assert part(facts, "recurrent_state", 10) == part(facts, "recurrent_state", 10_000) == 4 * (3 * 100 + 1000)
    assert part(facts, "kv_cache", 10_000) == 0


def test_an_unknown_layer_is_named_and_not_counted():
    layers = (Layer(0, "full", (KVCache(8, 128, 128),)), Layer(1, "unknown", (UnknownCache("new"),)))
    result = estimate(LLAMA3_8B.replace(layers=layers), Workload(n_ctx=16))
    assert result.unknown == ("cache of layer 1",)
    assert result.grade == "modelled"
    assert result.fits is None
    card = Placement(gpus=(Gpu("g", 80 * GIB),))
    assert estimate(LLAMA3_8B.replace(layers=layers), Workload(n_ctx=16), placement=card).fits is None


def test_pruning_and_windows_bound_the_tokens_kept():
    def kv(options):
        return sum(
            line.nbytes
            for line in estimate(LLAMA3_8B, Workload(n_ctx=10_000, options=options), kv_form="gqa").lines
            if line.what == "kv_cache"
        )

    token = 32 * 8 * 128 * 2 * 2
    assert kv(None) == 10_000 * token
    assert kv({"kv_keep": (4, 1024)}) == 1028 * token
    assert kv({"window": 4096}) == 4096 * token
    assert kv({"window": 20_000}) == 10_000 * token


def test_every_device_pays_the_overhead():
    placement = Placement(gpus=(Gpu("g0", 80 * GIB), Gpu("g1", 80 * GIB)))
    lines = estimate(LLAMA3_8B, Workload(n_ctx=16), placement=placement).lines
    assert [(line.device, line.nbytes) for line in lines if line.what == "overhead"] == [("g0", GIB), ("g1", GIB)]


def test_what_the_formula_needs_is_named_when_it_is_missing():
    with pytest.raises(MissingKey, match="d_model"):
        estimate(LLAMA3_8B.replace(d_model=None), Workload(n_ctx=1), kv_form="hidden")
    with pytest.raises(MissingKey, match="context"):
        estimate(LLAMA3_8B, Workload())
    with pytest.raises(WorkloadError, match="cache type"):
        estimate(LLAMA3_8B, Workload(n_ctx=1, kv_dtype_k="q9"))
    with pytest.raises(WorkloadError, match="weight format"):
        precision("Q9_K")


@given(
    st.integers(1, 10**6), st.integers(1, 64), st.sampled_from(["q4_0", "q8_0", "f16", "f32"]),
    st.integers(1, 4), st.booleans(),
)  # fmt: skip
def test_totals_are_sums_of_lines_and_of_devices_and_grow_with_everything(n_ctx, n_seqs, dtype, n_gpus, kv_offload):
    gpus = tuple(Gpu("card", 10**9) for _ in range(n_gpus))
    placement = Placement(gpus=gpus, kv_offload=kv_offload)

    def total(n_ctx, n_seqs, dtype):
        workload = Workload(n_ctx=n_ctx, n_seqs=n_seqs, kv_dtype_k=dtype, kv_dtype_v=dtype)
        result = estimate(LLAMA3_8B, workload, placement=placement, quant="Q4_K_M", kv_form="gqa")
        assert result.total_nbytes == sum(line.nbytes for line in result.lines) == sum(d.used for d in result.devices)
        return result.total_nbytes

    here = total(n_ctx, n_seqs, dtype)
    assert total(n_ctx + 1, n_seqs, dtype) > here
    assert total(n_ctx, n_seqs + 1, dtype) > here
    assert total(n_ctx, n_seqs, "f32") >= here


def test_devices_that_share_leave_no_byte_out():
    facts = LLAMA3_8B.replace(n_params=8_000_000_005)
    alone = estimate(facts, Workload(n_ctx=777))
    shared = estimate(facts, Workload(n_ctx=777), placement=Placement(gpus=tuple(Gpu(f"g{i}", GIB) for i in range(3))))
    for what in ("weights", "kv_cache", "compute"):
        total = sum(x.nbytes for x in alone.lines if x.what == what)
        assert sum(x.nbytes for x in shared.lines if x.what == what) == total > 0
