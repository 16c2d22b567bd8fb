from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.errors import WorkloadError
from inspector.facts import ModelFacts
from inspector.layers import CrossCache, IndexCache, KVCache, LatentCache, Layer, StateCache, UnknownCache
from inspector.memory.engines import transformers, vllm
from inspector.memory.estimate import Estimate, Gpu, Placement, Workload
from inspector.units import GIB

small = st.integers(1, 64)
caches = st.one_of(
    st.builds(KVCache, small, small, small, st.none() | st.integers(1, 9000), st.booleans()),
    st.builds(LatentCache, small, small),
    st.builds(IndexCache, st.sampled_from([64, 128, 256])),
    st.builds(CrossCache, small, small, small),
    st.builds(
        StateCache, st.sampled_from(["mamba1", "mamba2", "gdn", "kda", "shortconv", "rwkv", "odd"]), small, small, small
    ),
    st.builds(UnknownCache, st.sampled_from(["a", "b"])),
)
layers = st.lists(st.lists(caches, max_size=2), min_size=1, max_size=9)


def facts_of(kept: list[list], arch: str = "llama") -> ModelFacts:
    made = tuple(Layer(index=i, kind="full", caches=tuple(c)) for i, c in enumerate(kept))
    return ModelFacts(
        arch=arch, format="safetensors", n_params=1000, n_params_active=None, n_layers=len(made), d_model=64, d_ff=128,
        n_heads=8, n_kv_heads=8, head_dim_k=8, head_dim_v=8, vocab_size=1000, n_ctx_train=4096, layers=made, origin={},
        dtype="bfloat16",
    )  # fmt: skip


def cache_nbytes(result: Estimate) -> int:
    return sum(x.nbytes for x in result.lines if x.what in {"kv_cache", "recurrent_state"})


def answers(module, kept, **workload) -> Estimate | None:
    try:
        return module.estimate(facts_of(kept), Workload(**workload), placement=Placement(gpus=(Gpu("g", 80 * GIB),)))
    except WorkloadError:  # latents beside pages that nothing divides: vLLM refuses these too
        return None


@settings(max_examples=150, deadline=None)
@given(layers, st.integers(1, 1 << 20), st.integers(1, 9), st.sampled_from(["vllm", "transformers"]))
def test_totals_are_sums_nothing_is_negative_and_strangers_are_named(kept, n_ctx, n_seqs, engine):
    module = {"vllm": vllm, "transformers": transformers}[engine]
    result = answers(module, kept, n_ctx=n_ctx, n_seqs=n_seqs)
    if result is None:
        return
    assert result.total_nbytes == sum(x.nbytes for x in result.lines)
    assert all(x.nbytes >= 0 and (x.peak_nbytes is None or x.peak_nbytes > x.nbytes) for x in result.lines)
    strange = any(isinstance(c, UnknownCache) for mine in kept for c in mine)
    assert not strange or (result.unknown and result.fits is not True)


@settings(max_examples=150, deadline=None)
@given(layers, st.integers(1, 1 << 18), st.integers(0, 1 << 18), st.integers(1, 5), st.sampled_from(["vllm", "hf"]))
def test_more_tokens_and_more_sequences_never_shrink_a_cache(kept, n_ctx, more, n_seqs, engine):
    module = {"vllm": vllm, "hf": transformers}[engine]
    less = answers(module, kept, n_ctx=n_ctx, n_seqs=n_seqs)
    longer = answers(module, kept, n_ctx=n_ctx + more, n_seqs=n_seqs)
    wider = answers(module, kept, n_ctx=n_ctx, n_seqs=n_seqs + 1)
    if less is None or longer is None or wider is None:
        return
    assert cache_nbytes(less) <= cache_nbytes(longer)
    assert cache_nbytes(less) <= cache_nbytes(wider)


def test_layers_of_an_unknown_kind_are_bounded_by_plain_attention():
    from inspector.facts import ModelFacts
    from inspector.layers import Layer, UnknownCache
    from inspector.memory.engines import estimate as by_engine
    from inspector.memory.estimate import Workload

    layers = tuple(Layer(i, "unknown", (UnknownCache("new"),)) for i in range(4))
    facts = ModelFacts("new", "config", 1000, None, 4, 64, None, 4, 2, 16, 16, 320, 512, layers, {})
    result = by_engine(facts, Workload(n_ctx=1024, n_seqs=2), engine="textbook")
    assert result.unknown == ("cache of 4 layers (0 to 3)",)
    # 4 layers × 1,024 tokens × 2 sequences × 2 KV heads × (16 + 16) × 2 B = 1 MiB
    assert any("at most 1.00 MiB as plain attention" in note for note in result.notes)
