"""Hybrids of linear attention or short convolutions: Kimi Linear, Ling, Inkling. One record a model type."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf.record import ModelType, named
from inspector.architectures.hf_caches import SLIDING_TYPES, gdn, kda, kv_cache, latent, state_cache, times
from inspector.architectures.hf_experts import from_first
from inspector.architectures.hf_types import FULL, HYBRID, HYBRID_SLIDING, LINEAR, SLIDING, last_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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


MODEL_TYPES: Final[Mapping[str, ModelType]] = MappingProxyType(
    {
        "kimi_linear": ModelType(
            attention=latent,
            state=kda,
            layer_types=_kimi_linear_layers,
            moe_layers=from_first("first_k_dense_replace", 1, freq="moe_layer_freq"),
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
        **named(
            "inkling2_text inkling2_loop_text",
            ModelType(attention=swa_heads, state=inkling, layer_types=last_of(6, other=HYBRID_SLIDING, mark=HYBRID)),
        ),
    }
)
