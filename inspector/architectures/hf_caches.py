"""What one layer of a given type keeps, by architecture: keys and values, latents, indexer keys, states.

Sources: the attention and mixer classes of transformers 5.24.0 (models/*/modeling_*.py), each measured on the meta
device; fixtures/hf_caches.jsonl holds what they store.
"""

from __future__ import annotations

from inspector.architectures.hf_config import MAX_INT
from inspector.layers import (
    Cache,
    IndexCache,
    KVCache,
    LatentCache,
    StateCache,
    UnknownCache,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Final

    from inspector.architectures.hf_config import HfConfig

    Caches = tuple[Cache, ...]
    Builder = Callable[[HfConfig, str, int], Caches]

SLIDING_TYPES: Final = frozenset({"sliding_attention", "hybrid_sliding"})


def window_of(k: HfConfig, kind: str) -> int | None:
    """Tokens that a layer of this type looks back on; None for all."""
    if kind in SLIDING_TYPES:
        if k.model_type == "modernbert-decoder" and not k.has("sliding_window"):
            return (k.count("local_attention", 128) or 0) // 2  # half on either side; this class looks back only
        return k.count("sliding_window")
    return k.count("attention_chunk_size") if kind == "chunked_attention" else None


def kv_cache(k: HfConfig, kind: str, heads: int | None, dim_k: int | None, dim_v: int | None = None) -> Caches:
    window = window_of(k, kind)
    if (
        not isinstance(heads, int)
        or not isinstance(dim_k, int)
        or heads < 1
        or dim_k < 1
        or (window is None and kind in SLIDING_TYPES)
    ):
        return (UnknownCache(kind),)
    return (KVCache(heads, dim_k, dim_v or dim_k, window, chunked=kind == "chunked_attention"),)


def kv(k: HfConfig, kind: str, _i: int) -> Caches:
    return kv_cache(k, kind, k.n_kv_heads, k.head_dim)


def own_row(k: HfConfig, i: int) -> Mapping[str, Any]:
    """Layer `i` in `per_layer_config`, which transformers saves under numbers of two digits."""
    own = k.sub("per_layer_config")
    row = own.get(f"{i:02d}", own.get(str(i)))
    return row if isinstance(row, dict) else {}


def latent(k: HfConfig, kind: str, _i: int) -> Caches:
    rank, rope = k.count("kv_lora_rank"), k.count("qk_rope_head_dim")
    if not rank or rope is None:
        return (UnknownCache(kind),)
    return (LatentCache(rank, rope, window_of(k, kind)),)


def latent_or_kv(k: HfConfig, kind: str, i: int) -> Caches:
    return latent(k, kind, i) if k.count("kv_lora_rank") else kv(k, kind, i)


def indexed(k: HfConfig, kind: str, i: int) -> Caches:
    """Latents, and beside them the indexer's keys unless this layer reuses another's (`indexer_types`: shared)."""
    if kind != "indexed_attention":
        return latent(k, kind, i)
    types = indexer_types(k, i)
    dim = k.count("index_head_dim", 128) or 128
    return (*latent(k, kind, i), *(() if types == "shared" else (IndexCache(dim),)))


def indexer_types(k: HfConfig, i: int) -> str:
    """ "full" or "shared" for layer `i` (configuration_glm_moe_dsa.py, configuration_hy_v4.py)."""
    listed = k.strings("indexer_types")
    if listed is not None:
        return listed[i] if i < len(listed) else "full"
    if k.model_type in ("hy_v4", "hy_v4_vl_text"):
        return "full" if i == 0 or (i - 1) % 4 == 0 else "shared"
    pattern = k.get("index_topk_pattern")
    if isinstance(pattern, str) and i < len(pattern):
        return "shared" if pattern[i] == "S" else "full"
    freq, offset = max(k.count("index_topk_freq", 1) or 1, 1), k.count("index_skip_topk_offset", 2) or 0
    return "full" if max(i - offset + 1, 0) % freq == 0 else "shared"


# ---- states of fixed size ------------------------------------------------------------------------------------------


def state_cache(
    kind: str,
    channels: int | None,
    kernel: int | None,
    elems: int | None,
    *,
    conv: str = "model",
    state: str = "float32",
) -> Caches:
    if channels is None or not isinstance(kernel, int) or elems is None:
        return (UnknownCache(kind),)
    return (StateCache(kind, channels, kernel, elems, conv, state),)


def times(*factors: int | None) -> int | None:
    """The product; None where a factor is missing, or is no count (nested keys come unchecked)."""
    product = 1
    for f in factors:
        if not isinstance(f, int) or not 0 <= f <= MAX_INT:
            return None
        product *= f
    return product


def mamba1(k: HfConfig, _kind: str, _i: int) -> Caches:
    """Mamba and Falcon-Mamba compute their width from `expand`, whatever intermediate_size says."""
    inner = times(k.count("mamba_expand") or k.count("expand", 2), k.count("hidden_size"))
    d_state = k.count("mamba_d_state") or k.count("state_size")
    return state_cache("mamba1", inner, k.count("conv_kernel"), times(inner, d_state))


def mamba2(k: HfConfig, _kind: str, _i: int) -> Caches:
    hidden = k.count("hidden_size")
    heads = k.count("mamba_n_heads") or k.count("n_mamba_heads") or k.count("mamba_num_heads") or k.count("num_heads")
    groups = k.count("mamba_n_groups") or k.count("mamba_ngroups") or k.count("n_groups")
    d_state = k.count("mamba_d_state") or k.count("ssm_state_size") or k.count("state_size")
    inner = k.count("mamba_d_ssm") or times(k.count("mamba_expand") or k.count("expand", 2), hidden)
    size = k.get("mamba_d_head") or k.get("mamba_head_dim") or k.get("mamba_headdim")
    if size is None and k.model_type == "mamba2":
        size = k.get("head_dim")
    dim = size if isinstance(size, int) else inner // heads if inner and heads else None  # "auto", or not said
    flat = times(heads, dim)
    channels = flat + 2 * groups * d_state if flat and groups and d_state else None
    return state_cache("mamba2", channels, k.count("conv_kernel"), times(flat, d_state))


def gdn(k: HfConfig, _kind: str, _i: int) -> Caches:
    n_k = k.count("linear_num_key_heads") or k.n_heads
    n_v = k.count("linear_num_value_heads") or k.n_heads
    hidden = k.count("hidden_size")
    d_k = k.count("linear_key_head_dim") or (int(0.75 * hidden / n_k) if hidden and n_k else None)  # olmo_hybrid
    d_v = k.count("linear_value_head_dim") or (2 * d_k if d_k else None)
    keys, values = times(n_k, d_k, 2), times(n_v, d_v)
    channels = keys + values if keys and values else None
    return state_cache("gdn", channels, k.count("conv_kernel", 4), times(n_v, d_k, d_v))


def kda(k: HfConfig, _kind: str, _i: int) -> Caches:
    own = k.sub("linear_attn_config")
    heads = own.get("num_heads") or k.count("linear_num_heads") or k.n_heads
    dim = own.get("head_dim") or k.count("linear_head_dim") or k.count("head_dim")
    if k.model_type == "bailing_hybrid" and k.count("linear_head_dim") is None:
        dim = k.count("head_dim")
    kernel = own.get("short_conv_kernel_size") or k.count("conv_kernel", 4)
    return state_cache("kda", times(heads, dim, 3), kernel, times(heads, dim, dim))
