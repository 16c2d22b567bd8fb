"""How a transformers config.json (5.24.0) becomes layers that keep something, by the records of hf/."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures import hf_caches as caches
from inspector.architectures import hf_types as types
from inspector.architectures.hf.record import ModelType
from inspector.architectures.hf_config import HfConfig
from inspector.architectures.hf_experts import moe_layers
from inspector.architectures.hf_lookup import find
from inspector.architectures.hf_unread import unread_cache_keys
from inspector.layers import Cache, CrossCache, KVCache, LatentCache, Layer, StateCache, UnknownCache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Final


_STATEFUL: Final = frozenset({types.LINEAR, types.CONV, types.HYBRID, types.HYBRID_SLIDING})
_ATTENTIVE: Final = frozenset(
    {
        types.FULL,
        types.SLIDING,
        types.CHUNKED,
        types.INDEXED,
        types.HYBRID,
        types.HYBRID_SLIDING,
        "cross_attention",
        "minimax_m3_sparse",
        "compressed_sparse_attention",
        "heavily_compressed_attention",
    }
)
# What the names alone say, without knowing the architecture.
_GENERIC: Final = frozenset({types.FULL, types.SLIDING, types.CHUNKED})
_EMPTY: Final = frozenset({"moe", "mlp"})
_KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        types.FULL: "full",
        types.SLIDING: "sliding",
        types.CHUNKED: "chunked",
        types.INDEXED: "latent",
        types.HYBRID: "hybrid",
        types.HYBRID_SLIDING: "hybrid",
        types.LINEAR: "recurrent",
        types.CONV: "recurrent",
    }
)


def row_of(k: HfConfig) -> ModelType | None:
    """The record that says what this config's layers keep, or None for a model_type that has none."""
    record = find(k.model_type)
    return record if record is not None and not record.generic else None


_SEQ2SEQ: Final = ModelType(seq2seq=("decoder_layers", "decoder_attention_heads"))
_PLAIN: Final = ModelType(attention=caches.latent_or_kv, generic=True)


def _generic_row(k: HfConfig) -> ModelType:
    """A plain reading of the usual keys, for a model_type without a record."""
    return _SEQ2SEQ if k.flag("is_encoder_decoder") else _PLAIN


def _layer_caches(k: HfConfig, row: ModelType, kind: str, i: int) -> tuple[Cache, ...]:
    if kind in _EMPTY:
        return ()
    attends, has_state = kind in _ATTENTIVE, kind in _STATEFUL
    if (row.generic and kind not in _GENERIC) or not (attends or has_state):
        return (UnknownCache(kind),)
    kept: tuple[Cache, ...] = (row.attention or caches.kv)(k, kind, i) if attends else ()
    if has_state:
        kept += row.state(k, kind, i) if row.state else (UnknownCache(kind),)
    return kept


def _kind(type_: str, kept: tuple[Cache, ...]) -> str:
    if any(isinstance(c, UnknownCache) for c in kept):
        return "unknown"
    if not kept:
        return "none"
    if any(isinstance(c, LatentCache) for c in kept):
        return "latent"
    if any(isinstance(c, StateCache) for c in kept) and not any(isinstance(c, KVCache) for c in kept):
        return "recurrent"
    return _KINDS.get(type_, "full")


def _shared_from(k: HfConfig, row: ModelType, n: int) -> int:
    """The first layer that reuses another's keys and values."""
    shared = k.count("num_kv_shared_layers", 0) or 0 if row.shared else 0
    return n - min(shared, n)


def _decoder_layers(k: HfConfig, row: ModelType) -> Iterable[Layer]:
    n = row.n_layers(k) if row.n_layers else k.n_layers
    copies = row.copies(k, n) if row.copies else (1,) * n
    kinds, decided = types.layer_types(k, n)
    first_shared = _shared_from(k, row, n)
    moe = moe_layers(k, n)
    for i, type_ in enumerate(kinds):
        kept = _layer_caches(k, row, type_, i) * copies[i]
        ffn = "moe" if moe[i] else "dense"
        window = next((w for c in kept if (w := getattr(c, "window", None))), None)
        if i >= first_shared:
            why = f"{k.prefix}num_kv_shared_layers"
            yield Layer(i, "shared", (), why, k.n_heads, k.n_kv_heads, ffn=ffn, window=window)
            continue
        heads = next((c.n_kv_heads for c in kept if isinstance(c, KVCache)), None)
        attends = bool(kept) and type_ in _ATTENTIVE
        n_heads = k.n_heads if attends else None
        yield Layer(i, _kind(type_, kept), kept, decided, n_heads, heads, ffn=ffn, window=window)


def _seq2seq_layers(k: HfConfig, row: ModelType) -> Iterable[Layer]:
    layer_key, head_key = row.seq2seq or ("", "")
    n = k.layer_count(layer_key) or k.n_layers
    heads = k.count(head_key) or k.n_heads
    hidden = k.count("hidden_size")
    dim = k.count("d_kv") or (hidden // heads if hidden and heads else None)
    moe = moe_layers(k, n)
    for i in range(n):
        kept: tuple[Cache, ...] = (UnknownCache("attention"),)
        if heads and dim:
            kept = (KVCache(heads, dim, dim), CrossCache(heads, dim, dim))
        yield Layer(i, _kind(types.FULL, kept), kept, layer_key, heads, heads, ffn="moe" if moe[i] else "dense")


def _unread_layers(k: HfConfig, unread: tuple[str, ...]) -> Iterable[Layer]:
    """Layers of a type without a record, whose config says that a plain reading is wrong."""
    shown = ", ".join(unread[:4]) + (f" and {len(unread) - 4} more" if len(unread) > 4 else "")
    k.note(f"{shown}: the config's own word on what layers keep, and no rule here reads it")
    n = k.n_layers
    if k.n_kv_heads and k.head_dim:
        most = 2 * k.n_kv_heads * k.head_dim
        k.note(f"full attention in all {n} layers would keep {most:,} elements a token in each: no more is likely")
    kind = unread[0]
    return (Layer(i, "unknown", (UnknownCache(kind),), k.prefix + kind, k.n_heads, k.n_kv_heads) for i in range(n))


def is_encoder(k: HfConfig) -> bool:
    """Whether every token sees every other, so that nothing is kept."""
    row = row_of(k)
    if row is not None and row.encoder:
        return not k.flag("is_decoder")
    return k.get("use_bidirectional_attention") in (True, "all")  # gemma3_text as an embedding model


def read_layers(k: HfConfig) -> tuple[Layer, ...]:
    """One Layer for each layer that runs in ordinary inference; of an encoder-decoder, those of the decoder.

    A layer type that has no rule holds an UnknownCache. Raises MissingKey, LimitExceeded.
    """
    row = row_of(k) or _generic_row(k)
    if is_encoder(k):
        why = f"{k.model_type} is an encoder" if row.encoder else f"{k.prefix}use_bidirectional_attention"
        return tuple(Layer(i, "none", (), why, k.n_heads, k.n_heads) for i in range(k.n_layers))
    if row.seq2seq:
        return tuple(_seq2seq_layers(k, row))
    if row.generic and (unread := unread_cache_keys(k)):
        return tuple(_unread_layers(k, unread))
    return tuple(_decoder_layers(k, row))
