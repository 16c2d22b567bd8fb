"""Mamba, RWKV and hybrids of state spaces and attention: the model types of this family, one record each."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf.record import FIRST_EXPERT, ExpectedTensor, Layout, ModelType, named
from inspector.architectures.hf_blocks import attention, dense_mlp, embedding, head, linear, norm
from inspector.architectures.hf_blocks import mamba1 as mamba1_tensors
from inspector.architectures.hf_blocks import mamba2 as mamba2_tensors
from inspector.architectures.hf_caches import kv_cache, mamba1, mamba2, mamba2_sized, state_cache, times
from inspector.architectures.hf_experts import experts
from inspector.architectures.hf_types import FULL, HYBRID, LINEAR, SLIDING, all_layers, layer_types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Final

    from inspector.architectures.hf_caches import Caches
    from inspector.architectures.hf_config import HfConfig


def _mamba_tensors(k: HfConfig) -> Iterator[ExpectedTensor]:
    yield from embedding("backbone.embeddings", k)
    for i in range(k.n_layers):
        yield from norm(f"backbone.layers.{i}.norm", k.need("hidden_size"))
        at = f"backbone.layers.{i}.mixer."
        yield from mamba2_tensors(k, at) if k.model_type == "mamba2" else mamba1_tensors(k, at, norms=False)
    yield from norm("backbone.norm_f", k.need("hidden_size"))
    yield from head(k)


def _jamba_layers(k: HfConfig, n: int) -> Sequence[str]:
    period, offset = k.count("attn_layer_period") or 8, k.count("attn_layer_offset", 4)
    return tuple(FULL if i % period == offset else LINEAR for i in range(n))


def _jamba_experts(k: HfConfig, n: int) -> Sequence[bool]:
    period, offset = k.count("expert_layer_period") or 2, k.count("expert_layer_offset", 1)
    return tuple(i % period == offset for i in range(n))


def double_head_dim(k: HfConfig, kind: str, _i: int) -> Caches:
    """Attention of the shared blocks works on the residual and the embedding side by side (zamba, zamba2)."""
    hidden, heads = k.count("hidden_size"), k.n_heads
    return kv_cache(
        k, kind, k.n_kv_heads, k.count("attention_head_dim") or (2 * hidden // heads if hidden and heads else None)
    )


def _zamba_layers(k: HfConfig, n: int) -> Sequence[str]:
    period, offset = k.count("attn_layer_period") or 6, k.count("attn_layer_offset", 4)
    rest = (HYBRID if i % period == offset else LINEAR for i in range(max(n - 3, 0)))
    return ((LINEAR, LINEAR, HYBRID, *rest))[:n]


def _zamba2_layers(_k: HfConfig, n: int) -> Sequence[str]:
    block = (LINEAR,) * 5 + (HYBRID,)
    whole = (LINEAR, *block * 7, *(LINEAR,) * 4, HYBRID, *(LINEAR,) * 3, HYBRID, *(LINEAR,) * 2)
    return whole[:n]  # the class writes out 54 layers; a longer model must list its own


_NEMOTRON_CHARS: Final[Mapping[str, str]] = MappingProxyType({"M": LINEAR, "*": FULL, "-": "mlp", "E": "moe"})


def _nemotron_h_layers(k: HfConfig, n: int) -> Sequence[str]:
    pattern = str(k.get("hybrid_override_pattern") or "")
    return tuple(_NEMOTRON_CHARS.get(c, c) for c in pattern[:n])


def _nemotron_h_experts(k: HfConfig, n: int) -> Sequence[bool]:
    from inspector.architectures.hf_types import layer_types

    return tuple(t == "moe" for t in layer_types(k, n)[0])


def _nemotron_experts_tensors(k: HfConfig, at: str, hidden: int) -> Iterator[ExpectedTensor]:
    n, width, inner = experts(k)[0] or 0, k.need("moe_intermediate_size"), k.count("moe_latent_size") or hidden
    yield from linear(f"{at}gate", n, hidden, "router")
    if inner != hidden:
        yield from linear(f"{at}fc1_latent_proj", inner, hidden, "mlp")
        yield from linear(f"{at}fc2_latent_proj", hidden, inner, "mlp")
    yield ExpectedTensor(f"{at}{FIRST_EXPERT}.up_proj.weight", (width, inner), "expert", n)
    yield ExpectedTensor(f"{at}{FIRST_EXPERT}.down_proj.weight", (inner, width), "expert", n)
    shared = k.count("moe_shared_expert_intermediate_size")
    if shared:
        yield from dense_mlp(k, Layout(mlp="plain"), f"{at}shared_experts.", shared)


def _nemotron_h_tensors(k: HfConfig) -> Iterator[ExpectedTensor]:
    """One mixer a layer and nothing else: attention, state space, MLP or experts, all under one name."""
    hidden, n = k.need("hidden_size"), k.n_layers
    yield from embedding("backbone.embeddings", k)
    for i, kind in enumerate(layer_types(k, n)[0]):
        at = f"backbone.layers.{i}.mixer."
        yield from norm(f"backbone.layers.{i}.norm", hidden)
        if kind == LINEAR:
            yield from mamba2_tensors(k, at)
        elif kind == FULL:
            yield from attention(k, Layout(), at)
        elif kind == "mlp":
            yield from dense_mlp(k, Layout(mlp="plain"), at, k.need("intermediate_size"))
        else:
            yield from _nemotron_experts_tensors(k, at, hidden)
    yield from norm("backbone.norm_f", hidden)
    yield from head(k, default_tied=False)


def rglru(k: HfConfig, _kind: str, _i: int) -> Caches:
    """Griffin's recurrent block: one column fewer than its convolution has taps (modeling_recurrent_gemma.py)."""
    width = k.count("lru_width") or k.count("hidden_size")
    return state_cache("rglru", width, (k.count("conv_kernel", 4) or 1) - 1, width)


def _recurrent_gemma_layers(k: HfConfig, n: int) -> Sequence[str]:
    blocks = k.strings("block_types") or k.strings("_block_types") or ("recurrent", "recurrent", "attention")
    kinds = {"recurrent": LINEAR, "attention": SLIDING}
    return tuple(kinds.get(blocks[i % len(blocks)], blocks[i % len(blocks)]) for i in range(n))


def rwkv(k: HfConfig, _kind: str, _i: int) -> Caches:
    """RWKV-4: the last token for each of two mixers, and three accumulators of the attention width."""
    hidden = k.count("hidden_size")
    attention = k.count("attention_hidden_size") or hidden
    return state_cache("rwkv", times(hidden, 2), 1, times(attention, 3))


def cca(k: HfConfig, _kind: str, _i: int) -> Caches:
    """Compressed convolutional attention: queries and keys through a short convolution, one delayed value half."""
    q, kv = times(k.n_heads, k.head_dim), times(k.n_kv_heads, k.head_dim)
    kernel = (k.count("cca_time0", 2) or 0) + (k.count("cca_time1", 2) or 0) - 2
    return state_cache("cca", q + kv if q and kv else None, kernel, kv // 2 if kv else None, state="model")


def _falcon_h1_tensors(k: HfConfig, at: str) -> Iterator[ExpectedTensor]:
    return mamba2_tensors(k, at, norm_key="mamba_rms_norm")


MODEL_TYPES: Final[Mapping[str, ModelType]] = MappingProxyType(
    {
        **named("mamba falcon_mamba", ModelType(state=mamba1, layer_types=all_layers(LINEAR), tensors=_mamba_tensors)),
        "mamba2": ModelType(
            state=mamba2_sized("mamba_d_head", "mamba_head_dim", "mamba_headdim", "head_dim"),
            layer_types=all_layers(LINEAR),
            tensors=_mamba_tensors,
        ),
        "falcon_h1": ModelType(
            state=mamba2,
            layer_types=all_layers(HYBRID),
            layout=Layout(
                norms=("input_layernorm", "pre_ff_layernorm"),
                mlp_at="feed_forward",
                final="model.final_layernorm",
                mixer=_falcon_h1_tensors,
            ),
        ),
        "jamba": ModelType(
            state=mamba1,
            layer_types=_jamba_layers,
            moe_layers=_jamba_experts,
            layout=Layout(
                norms=("input_layernorm", "pre_ff_layernorm"),
                mlp_at="feed_forward",
                moe="jamba",
                mixer=mamba1_tensors,
                final="model.final_layernorm",
            ),
        ),
        "zamba": ModelType(attention=double_head_dim, state=mamba1, layer_types=_zamba_layers),
        "zamba2": ModelType(attention=double_head_dim, state=mamba2, layer_types=_zamba2_layers),
        "nemotron_h": ModelType(
            state=mamba2,
            layer_types=_nemotron_h_layers,
            moe_layers=_nemotron_h_experts,
            tensors=_nemotron_h_tensors,
            vllm_state_dtype=("mamba_ssm_cache_dtype", "float32"),
        ),
        "recurrent_gemma": ModelType(state=rglru, layer_types=_recurrent_gemma_layers),
        "rwkv": ModelType(state=rwkv, layer_types=all_layers(LINEAR)),
        "xlstm": ModelType(generic=True, layer_types=all_layers(LINEAR)),
        "zaya": ModelType(state=cca, layer_types=all_layers(HYBRID)),
    }
)
