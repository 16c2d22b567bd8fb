"""What one layer of a given type keeps, by architecture: keys and values, latents, indexer keys, states.

Sources: the attention and mixer classes of transformers 5.24.0 (models/*/modeling_*.py), each measured on the meta
device; fixtures/hf_caches.jsonl holds what they store.
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf_config import MAX_INT
from inspector.architectures.hf_types import FULL
from inspector.layers import (
    Cache,
    CrossCache,
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


def _double_head_dim(k: HfConfig, kind: str, _i: int) -> Caches:
    """Attention of the shared blocks works on the residual and the embedding side by side (zamba, zamba2)."""
    hidden, heads = k.count("hidden_size"), k.n_heads
    return _kv_cache(
        k, kind, k.n_kv_heads, k.count("attention_head_dim") or (2 * hidden // heads if hidden and heads else None)
    )


def _kv_cache(k: HfConfig, kind: str, heads: int | None, dim_k: int | None, dim_v: int | None = None) -> Caches:
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


def _attention(k: HfConfig, kind: str, _i: int) -> Caches:
    return _kv_cache(k, kind, k.n_kv_heads, k.head_dim)


def _own_head_dim(k: HfConfig, kind: str, _i: int) -> Caches:
    """Classes that divide and never look at a head_dim key."""
    hidden, heads = k.count("hidden_size"), k.n_heads
    return _kv_cache(k, kind, k.n_kv_heads, hidden // heads if hidden and heads else None)


def _per_type_heads(prefix: str, types: frozenset[str]) -> Builder:
    """Layers of `types` have head counts under keys with a prefix of their own."""

    def build(k: HfConfig, kind: str, _i: int) -> Caches:
        heads, dim, dim_v = k.n_kv_heads, k.head_dim, k.count("v_head_dim")
        if kind in types:
            heads = k.count(f"{prefix}num_key_value_heads") or heads
            dim = k.count(f"{prefix}head_dim") or dim
            dim_v = k.count(f"{prefix}v_head_dim") or dim_v
        return _kv_cache(k, kind, heads, dim, dim_v)

    return build


def _own_row(k: HfConfig, i: int) -> Mapping[str, Any]:
    """Layer `i` in `per_layer_config`, which transformers saves under numbers of two digits."""
    own = k.sub("per_layer_config")
    row = own.get(f"{i:02d}", own.get(str(i)))
    return row if isinstance(row, dict) else {}


def _gemma4(k: HfConfig, kind: str, i: int) -> Caches:
    """Full layers have heads of their own size; `per_layer_config` (saved by transformers) comes before the keys."""
    heads, dim = k.n_kv_heads, k.head_dim
    if k.sub("per_layer_config"):
        row = _own_row(k, i)
        heads, dim = row.get("num_key_value_heads") or heads, row.get("head_dim") or dim
    elif kind == FULL:
        dim = k.count("global_head_dim", 512)
        # embedding_gemma2's class has one global head by default; gemma4's has the ordinary ones without k_eq_v
        if k.model_type == "embedding_gemma2_text":
            heads = k.count("num_global_key_value_heads", 1)
        elif k.flag("attention_k_eq_v"):
            heads = k.count("num_global_key_value_heads") or heads
    return _kv_cache(k, kind, heads, dim)


def _falcon(k: HfConfig, kind: str, _i: int) -> Caches:
    """One key-value head with multi_query; `num_kv_heads` with the new decoder; else as many as queries."""
    hidden, heads = k.count("hidden_size"), k.n_heads
    kv = k.n_kv_heads if k.flag("new_decoder_architecture") else 1 if k.flag("multi_query", default=True) else heads
    return _kv_cache(k, kind, kv, hidden // heads if hidden and heads else None)


def _gpt_bigcode(k: HfConfig, kind: str, _i: int) -> Caches:
    return _kv_cache(k, kind, 1 if k.flag("multi_query", default=True) else k.n_heads, k.head_dim)


def _dbrx(k: HfConfig, kind: str, _i: int) -> Caches:
    kv = k.sub("attn_config").get("kv_n_heads", 1)
    hidden, heads = k.count("hidden_size"), k.n_heads
    kv = kv if isinstance(kv, int) else None
    return _kv_cache(k, kind, kv, hidden // heads if hidden and heads else None)


def _mimo(k: HfConfig, kind: str, _i: int) -> Caches:
    """Sliding layers have twice the key-value heads, and values are narrower than keys."""
    heads = _times(k.n_kv_heads, 2 if kind in SLIDING_TYPES else 1)
    return _kv_cache(k, kind, heads, k.head_dim, k.count("v_head_dim"))


def _jetmoe(k: HfConfig, kind: str, _i: int) -> Caches:
    return _kv_cache(k, kind, k.count("num_key_value_heads"), k.count("kv_channels"))


def _latent(k: HfConfig, kind: str, _i: int) -> Caches:
    rank, rope = k.count("kv_lora_rank"), k.count("qk_rope_head_dim")
    if not rank or rope is None:
        return (UnknownCache(kind),)
    return (LatentCache(rank, rope, window_of(k, kind)),)


def _latent_or_kv(k: HfConfig, kind: str, i: int) -> Caches:
    return _latent(k, kind, i) if k.count("kv_lora_rank") else _attention(k, kind, i)


def _two_latents(k: HfConfig, kind: str, i: int) -> Caches:
    """Two attentions in every layer (modeling_longcat_flash.py)."""
    return _latent(k, kind, i) * 2


def _indexed(k: HfConfig, kind: str, i: int) -> Caches:
    """Latents, and beside them the indexer's keys unless this layer reuses another's (`indexer_types`: shared)."""
    if kind != "indexed_attention":
        return _latent(k, kind, i)
    types = indexer_types(k, i)
    dim = k.count("index_head_dim", 128) or 128
    return (*_latent(k, kind, i), *(() if types == "shared" else (IndexCache(dim),)))


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


def _dots3_note(k: HfConfig, kind: str, i: int) -> Caches:
    """Sliding layers have latents of their own size (`swa_*`, defaults in configuration_dots3_note.py)."""
    if kind != "sliding_attention":
        return _indexed(k, kind, i)
    row = _own_row(k, i)
    rank: int = row.get("kv_lora_rank") or k.count("swa_kv_lora_rank") or 1024
    rope: int = row.get("qk_rope_head_dim") or k.count("swa_qk_rope_head_dim") or 64
    return (LatentCache(rank, rope, k.count("sliding_window") or 512),)


def _mllama_cross(k: HfConfig, _kind: str, _i: int) -> Caches:
    heads, dim = k.n_kv_heads, k.head_dim
    return (CrossCache(heads, dim, dim),) if heads and dim else (UnknownCache("cross_attention"),)


# ---- states of fixed size ------------------------------------------------------------------------------------------


def _state(
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


def _times(*factors: int | None) -> int | None:
    """The product; None where a factor is missing, or is no count (nested keys come unchecked)."""
    product = 1
    for f in factors:
        if not isinstance(f, int) or not 0 <= f <= MAX_INT:
            return None
        product *= f
    return product


def _mamba1(k: HfConfig, _kind: str, _i: int) -> Caches:
    """Mamba and Falcon-Mamba compute their width from `expand`, whatever intermediate_size says."""
    inner = _times(k.count("mamba_expand") or k.count("expand", 2), k.count("hidden_size"))
    d_state = k.count("mamba_d_state") or k.count("state_size")
    return _state("mamba1", inner, k.count("conv_kernel"), _times(inner, d_state))


def _mamba2(k: HfConfig, _kind: str, _i: int) -> Caches:
    hidden = k.count("hidden_size")
    heads = k.count("mamba_n_heads") or k.count("n_mamba_heads") or k.count("mamba_num_heads") or k.count("num_heads")
    groups = k.count("mamba_n_groups") or k.count("mamba_ngroups") or k.count("n_groups")
    d_state = k.count("mamba_d_state") or k.count("ssm_state_size") or k.count("state_size")
    inner = k.count("mamba_d_ssm") or _times(k.count("mamba_expand") or k.count("expand", 2), hidden)
    size = k.get("mamba_d_head") or k.get("mamba_head_dim") or k.get("mamba_headdim")
    if size is None and k.model_type == "mamba2":
        size = k.get("head_dim")
    dim = size if isinstance(size, int) else inner // heads if inner and heads else None  # "auto", or not said
    flat = _times(heads, dim)
    channels = flat + 2 * groups * d_state if flat and groups and d_state else None
    return _state("mamba2", channels, k.count("conv_kernel"), _times(flat, d_state))


def _gdn(k: HfConfig, _kind: str, _i: int) -> Caches:
    n_k = k.count("linear_num_key_heads") or k.n_heads
    n_v = k.count("linear_num_value_heads") or k.n_heads
    hidden = k.count("hidden_size")
    d_k = k.count("linear_key_head_dim") or (int(0.75 * hidden / n_k) if hidden and n_k else None)  # olmo_hybrid
    d_v = k.count("linear_value_head_dim") or (2 * d_k if d_k else None)
    keys, values = _times(n_k, d_k, 2), _times(n_v, d_v)
    channels = keys + values if keys and values else None
    return _state("gdn", channels, k.count("conv_kernel", 4), _times(n_v, d_k, d_v))


def _kda(k: HfConfig, _kind: str, _i: int) -> Caches:
    own = k.sub("linear_attn_config")
    heads = own.get("num_heads") or k.count("linear_num_heads") or k.n_heads
    dim = own.get("head_dim") or k.count("linear_head_dim") or k.count("head_dim")
    if k.model_type == "bailing_hybrid" and k.count("linear_head_dim") is None:
        dim = k.count("head_dim")
    kernel = own.get("short_conv_kernel_size") or k.count("conv_kernel", 4)
    return _state("kda", _times(heads, dim, 3), kernel, _times(heads, dim, dim))


def _shortconv(k: HfConfig, _kind: str, _i: int) -> Caches:
    return _state("shortconv", k.count("hidden_size"), k.count("conv_L_cache", 3), 0)


def _lightning(k: HfConfig, _kind: str, _i: int) -> Caches:
    """Linear attention of MiniMax: one matrix a head in the compute dtype, no convolution (modeling_minimax.py)."""
    return _state("lightning", 0, 0, _times(k.n_heads, k.head_dim, k.head_dim), state="model")


def _rglru(k: HfConfig, _kind: str, _i: int) -> Caches:
    """Griffin's recurrent block: one column fewer than its convolution has taps (modeling_recurrent_gemma.py)."""
    width = k.count("lru_width") or k.count("hidden_size")
    return _state("rglru", width, (k.count("conv_kernel", 4) or 1) - 1, width)


def _rwkv(k: HfConfig, _kind: str, _i: int) -> Caches:
    """RWKV-4: the last token for each of two mixers, and three accumulators of the attention width."""
    hidden = k.count("hidden_size")
    attention = k.count("attention_hidden_size") or hidden
    return _state("rwkv", _times(hidden, 2), 1, _times(attention, 3))


def _zaya(k: HfConfig, _kind: str, _i: int) -> Caches:
    """Compressed convolutional attention: queries and keys through a short convolution, one delayed value half."""
    q, kv = _times(k.n_heads, k.head_dim), _times(k.n_kv_heads, k.head_dim)
    kernel = (k.count("cca_time0", 2) or 0) + (k.count("cca_time1", 2) or 0) - 2
    return _state("cca", q + kv if q and kv else None, kernel, kv // 2 if kv else None, state="model")


def _inkling_convs(k: HfConfig, kind: str, _i: int) -> Caches:
    """Four short convolutions a layer: keys, values, and two of the residual width."""
    prefix = "swa_" if kind in SLIDING_TYPES else ""
    kv = _times(k.count(f"{prefix}num_key_value_heads"), k.count(f"{prefix}head_dim"))
    hidden, kernel = k.count("hidden_size"), k.count("conv_kernel", 4)
    widths = (kv, kv, hidden, hidden)
    return tuple(c for w in widths for c in _state("shortconv", w, kernel, 0, conv="float32"))


# fmt: off
ATTENTION: Final[Mapping[str, Builder]] = MappingProxyType({
    "kv": _attention, "own_head_dim": _own_head_dim, "double_head_dim": _double_head_dim, "gemma4": _gemma4,
    "falcon": _falcon,
    "gpt_bigcode": _gpt_bigcode, "dbrx": _dbrx, "jetmoe": _jetmoe, "mimo": _mimo, "latent": _latent,
    "latent_or_kv": _latent_or_kv,
    "two_latents": _two_latents, "indexed": _indexed, "dots3_note": _dots3_note,
    "swa_heads": _per_type_heads("swa_", SLIDING_TYPES), "mllama_cross": _mllama_cross,
})
STATES: Final[Mapping[str, Builder]] = MappingProxyType({
    "mamba1": _mamba1, "mamba2": _mamba2, "gdn": _gdn, "kda": _kda, "shortconv": _shortconv, "lightning": _lightning,
    "rglru": _rglru, "rwkv": _rwkv, "cca": _zaya, "inkling": _inkling_convs,
})
# fmt: on
