"""Hybrids of linear attention or short convolutions: Kimi Linear, Ling, Inkling. One record a model type."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf.record import ExpectedTensor, Layout, ModelType
from inspector.architectures.hf_blocks import linear, mla, norm
from inspector.architectures.hf_caches import SLIDING_TYPES, gdn, kda, kv_cache, latent, state_cache, times
from inspector.architectures.hf_decoders import decoder, gated, routed_experts
from inspector.architectures.hf_experts import from_first
from inspector.architectures.hf_types import FULL, HYBRID, HYBRID_SLIDING, LINEAR, SLIDING, last_of, looped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Final

    from inspector.architectures.hf_caches import Caches
    from inspector.architectures.hf_config import HfConfig


def _kimi_linear_layers(k: HfConfig, n: int) -> Sequence[str]:
    """Published files list the layers of each kind, counted from 1."""
    listed = k.sub("linear_attn_config")
    full, kda = listed.get("full_attn_layers"), listed.get("kda_layers")
    if not isinstance(full, list) or not isinstance(kda, list):
        return tuple(FULL if i and i % 4 == 0 else LINEAR for i in range(n))
    return tuple(FULL if i + 1 in full else LINEAR if i + 1 in kda else "unlisted" for i in range(n))


def swa_heads(k: HfConfig, kind: str, _i: int) -> Caches:
    """Sliding layers have head counts under keys with a prefix of their own."""
    heads, dim, dim_v = k.n_kv_heads, k.head_dim, k.count("v_head_dim")
    if kind in SLIDING_TYPES:
        heads = k.count("swa_num_key_value_heads") or heads
        dim = k.count("swa_head_dim") or dim
        dim_v = k.count("swa_v_head_dim") or dim_v
    return kv_cache(k, kind, heads, dim, dim_v)


def inkling(k: HfConfig, kind: str, _i: int) -> Caches:
    """Four short convolutions a layer: keys, values, and two of the residual width."""
    prefix = "swa_" if kind in SLIDING_TYPES else ""
    kv = times(k.count(f"{prefix}num_key_value_heads"), k.count(f"{prefix}head_dim"))
    hidden, kernel = k.count("hidden_size"), k.count("conv_kernel", 4)
    widths = (kv, kv, hidden, hidden)
    return tuple(c for w in widths for c in state_cache("shortconv", w, kernel, 0, conv="float32"))


def _inkling_layers(k: HfConfig, n: int) -> Sequence[str]:
    listed = k.ints("local_layer_ids")
    local = frozenset(i for i in range(n) if (i + 1) % 6) if listed is None else frozenset(listed)
    return tuple(HYBRID_SLIDING if i in local else HYBRID for i in range(n))


def _inkling_copies(k: HfConfig, n: int) -> Sequence[int]:
    start, stop = k.count("loop_layer_index_start", 0) or 0, k.count("loop_layer_index_end", n) or 0
    return looped(n, start, stop, k.count("loop_num_passes", 1))


def _kimi_kda(k: HfConfig, at: str) -> Iterator[ExpectedTensor]:
    """Kimi delta attention: three projections with short convolutions, gates of low rank (modeling_kimi_linear.py)."""
    own, hidden = k.sub("linear_attn_config"), k.need("hidden_size")
    heads = own.get("num_heads") or k.need("linear_num_heads")
    dim = own.get("head_dim") or k.need("linear_head_dim")
    kernel = own.get("short_conv_kernel_size") or k.count("conv_kernel", 4)
    inner = heads * dim
    for name in ("q", "k", "v"):
        yield from linear(f"{at}{name}_proj", inner, hidden, "recurrent")
        yield ExpectedTensor(f"{at}{name}_conv1d.weight", (inner, 1, kernel or 4), "recurrent")
    full_gate = bool(own.get("use_full_rank_gate"))
    for name in ("f",) if full_gate else ("f", "g"):
        yield from linear(f"{at}{name}_a_proj", dim, hidden, "recurrent")
        yield from linear(f"{at}{name}_b_proj", inner, dim, "recurrent")
    if full_gate:
        yield from linear(f"{at}g_proj", inner, hidden, "recurrent")
    yield ExpectedTensor(f"{at}dt_bias", (inner,), "recurrent")
    yield ExpectedTensor(f"{at}A_log", (1, 1, heads, 1), "recurrent")
    yield from linear(f"{at}b_proj", heads, hidden, "recurrent")
    yield from norm(f"{at}o_norm", dim)
    yield from linear(f"{at}o_proj", hidden, inner, "recurrent")


def _kimi_mixer(k: HfConfig, at: str, kind: str, _i: int) -> Iterator[ExpectedTensor]:
    hidden = k.need("hidden_size")
    if kind == LINEAR:
        yield from _kimi_kda(k, f"{at}self_attn.")
    else:
        yield from mla(k, Layout(mla=True), f"{at}self_attn.")
        if k.flag("mla_use_output_gate"):
            yield from linear(f"{at}self_attn.g_proj", (k.n_heads or 0) * k.need("v_head_dim"), hidden, "attention")
    if k.count("attn_res_block_size"):
        yield from _residuals(f"{at}self_attention_res", hidden)
        yield from _residuals(f"{at}mlp_res", hidden)


def _residuals(at: str, hidden: int) -> Iterator[ExpectedTensor]:
    """A score for each block of residuals that a layer may go back to."""
    yield from norm(f"{at}_norm", hidden)
    yield from linear(f"{at}_proj", 1, hidden, "other")


def _kimi_ffn(k: HfConfig, at: str, routed: bool, _i: int) -> Iterator[ExpectedTensor]:
    hidden = k.need("hidden_size")
    if not routed:
        yield from gated(f"{at}mlp.", hidden, k.need("intermediate_size"))
        return
    n, width, at = k.need("num_experts"), k.need("moe_intermediate_size"), f"{at}block_sparse_moe."
    inner = k.count("routed_expert_hidden_size") or hidden
    yield from linear(f"{at}gate", n, hidden, "router")
    yield from routed_experts(at, n, inner, width)
    yield from gated(f"{at}shared_experts.", hidden, width * (k.count("n_shared_experts") or 1))
    if inner == hidden:
        return
    yield from linear(f"{at}routed_expert_down_proj", inner, hidden, "other")
    yield from linear(f"{at}routed_expert_up_proj", hidden, inner, "other")
    if k.flag("latent_moe_use_norm"):
        yield from norm(f"{at}routed_expert_norm", inner)


def _kimi_tensors(k: HfConfig) -> Iterator[ExpectedTensor]:
    """Kimi Linear, and K3 with experts in a narrower space and residuals of blocks (vllm 0.33.0 models/kimi_k3/)."""
    yield from decoder(k, mixer=_kimi_mixer, ffn=_kimi_ffn)
    if k.count("attn_res_block_size"):
        yield from _residuals("model.output_attn_res", k.need("hidden_size"))


MODEL_TYPES: Final[Mapping[str, ModelType]] = MappingProxyType(
    {
        "kimi_linear": ModelType(
            attention=latent,
            state=kda,
            layer_types=_kimi_linear_layers,
            moe_layers=from_first("first_k_dense_replace", 1, freq="moe_layer_freq"),
            tensors=_kimi_tensors,
        ),
        "bailing_hybrid": ModelType(
            attention=latent,
            state=kda,
            layer_types=last_of(5, key="layer_group_size", other=LINEAR),
            moe_layers=from_first("first_k_dense_replace", 0),
        ),
        "lara_mini": ModelType(
            state=gdn,
            layer_types=lambda _k, n: tuple((LINEAR, SLIDING, LINEAR, FULL, SLIDING)[i % 5] for i in range(n)),
        ),
        "inkling_text": ModelType(
            attention=swa_heads, state=inkling, layer_types=_inkling_layers, moe_layers=from_first("dense_mlp_idx", 0)
        ),
        "inkling2": ModelType(generic=True, eager=True),
        "inkling2_text": ModelType(
            attention=swa_heads, state=inkling, layer_types=last_of(6, other=HYBRID_SLIDING, mark=HYBRID)
        ),
        "inkling2_loop_text": ModelType(
            attention=swa_heads,
            state=inkling,
            layer_types=last_of(6, other=HYBRID_SLIDING, mark=HYBRID),
            copies=_inkling_copies,
        ),
    }
)
