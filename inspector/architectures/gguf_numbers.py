"""Counts and sizes of a GGUF's layers, by the rules of llama.cpp b11434.

Source: `llama_model_base::load_hparams` (src/llama-model.cpp), and the models' own `load_arch_hparams` that add layers.
"""

from __future__ import annotations

from inspector.architectures.gguf_keys import MAX_LAYERS
from inspector.architectures.gguf_record import Numbers
from inspector.errors import FactsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from inspector.architectures.gguf_keys import Keys
    from inspector.architectures.gguf_record import Arch


def read_numbers(arch: Arch, keys: Keys, names: Collection[str]) -> Numbers | None:
    """The per-layer numbers, or None when `block_count` is absent. `names`: tensor names. Raises FactsError."""
    n = keys.integer("block_count", "n_layers")
    if n is None:
        return None
    if n > MAX_LAYERS:
        raise FactsError(f"{keys.arch}.block_count is {n:,}: no model has so many layers")
    n_nextn = _prediction_layers(arch, keys, names, n)
    heads = keys.per_layer("attention.head_count", n, "n_heads")
    kv_heads = keys.per_layer("attention.head_count_kv", n, "n_kv_heads")
    d_ff = keys.per_layer("feed_forward_length", n, "d_ff") or (0,) * n
    heads = heads or (0,) * n
    loops = _loops(arch, keys, n)
    d_model = keys.integer(arch.width, "d_model")
    k, v = _head_sizes(arch, keys, heads, d_model)
    k_swa, v_swa = keys.integer("attention.key_length_swa"), keys.integer("attention.value_length_swa")
    return Numbers(
        n * loops,
        n * loops - n_nextn,
        d_model,
        heads * loops,
        (kv_heads or heads) * loops,
        d_ff * loops,
        k_full=k,
        v_full=v,
        k_swa=k if k_swa is None else k_swa,
        v_swa=v if v_swa is None else v_swa,
    )


def _prediction_layers(arch: Arch, keys: Keys, names: Collection[str], n: int) -> int:
    """How many of the last layers predict further tokens."""
    n_nextn = keys.integer("nextn_predict_layers") or 0
    if n_nextn > n:
        raise FactsError(f"{keys.arch}.nextn_predict_layers is {n_nextn:,} of {n:,} layers")
    left_out = arch.nextn_tensor and f"blk.{n - n_nextn}.{arch.nextn_tensor}" not in names
    return 0 if left_out or arch.router or not arch.nextn else n_nextn


def _loops(arch: Arch, keys: Keys, n: int) -> int:
    """How often the layers run over: each run has caches of its own (nanbeige.cpp)."""
    loops = (keys.integer("num_loops") or 1) if arch.loops else 1
    if n * loops > MAX_LAYERS:
        raise FactsError(f"{keys.arch}.num_loops is {loops:,}: no model has so many layers")
    return loops


def _head_sizes(arch: Arch, keys: Keys, heads: tuple[int, ...], d_model: int | None) -> tuple[int | None, int | None]:
    """Elements of a key and of a value head: their keys, or an equal share of the embedding for the first layer's."""
    if not heads or heads[0] == 0:
        return 0, 0
    share = None if d_model is None else d_model // heads[0]
    k = keys.integer("attention.key_length", "head_dim_k")
    v = keys.integer("attention.value_length", "head_dim_v")
    for fact, stated in (("head_dim_k", k), ("head_dim_v", v)):
        if stated is None and share is not None:
            keys.origin[fact] = f"{keys.arch}.embedding_length ÷ {keys.arch}.attention.head_count"
    if arch.v_is_rank:
        v = keys.integer("attention.kv_lora_rank")
    return share if k is None else k, share if v is None else v
