"""What a plain reading of the usual keys may not pass over: keys that bear on what layers keep, which it does not use.

A type without a record is read as keys and values (or latents) in every layer. Each key below says that some layers
keep something else, or share it; where one is set, that reading would be a guess. (`layer_types` is read: a layer of a
kind whose name says nothing is unknown by itself.)
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from inspector.architectures.hf_config import HfConfig

# fmt: off
# Whole names, of the models that have them; what follows "*" or stands before it may be anything.
CACHE_KEYS: Final = (
    # which layer is of which kind
    "attn_type_list", "attention_layers", "attention_types", "attn_layer_*", "block_configs", "block_types",
    "_block_types", "compress_ratios", "cross_attention_layers", "full_attention_interval", "full_attn_idxs",
    "global_attn_every_n_layers", "hybrid_layer_ids", "hybrid_layer_pattern", "hybrid_override_pattern",
    "layer_group_size", "layers_block_type", "local_layer_ids", "no_rope_layer*", "sliding_window_layers",
    "sliding_window_pattern", "swa_layers", "interleaved_sliding_window", "dual_chunk_attention_config",
    "global_attention_layers", "sliding_windows", "window_layers", "per_layer_config", "attn_config",
    # states, convolutions and linear attention in attention's place or beside it
    "conv_L_cache", "conv_dim", "d_conv", "d_state", "gla_*", "kda_*", "linear_attn_config", "linear_conv_kernel_dim",
    "linear_key_head_dim", "linear_num_*", "linear_value_head_dim", "lru_width", "mamba*", "n_mamba_*", "rwkv*",
    "ssm_*", "state_size", "time_mix*", "use_mamba*", "conv1d_width", "cca_*", "expand_k", "expand_v", "hybrid",
    # keys and values of fewer layers than there are, or of several runs of one
    "cla_*", "use_cla", "num_kv_shared_layers", "kv_share*", "num_loops", "num_recurrent_loops", "n_recurrent_loops",
    "total_ut_steps", "h_cycles", "l_cycles",
    # other heads than the usual keys say
    "global_head_dim", "num_global_key_value_heads", "swa_*", "num_multi_query_heads", "num_multi_query_groups",
    "multi_query", "multi_query_attention", "new_decoder_architecture", "kv_n_heads", "num_key_value_heads_per_layer",
    # indexers, selected blocks and what compresses
    "index_head_dim", "index_topk*", "indexer_types", "index_n_heads", "sparse_attention*", "nsa_*", "moba_*",
    "block_sparse_attention*", "compress_*",
)
# fmt: on


def _bears(key: str, patterns: tuple[str, ...]) -> bool:
    return any(key.startswith(p[:-1]) if p.endswith("*") else key == p for p in patterns)


def _says(value: object) -> bool:
    """Whether a value says anything: null, false, 0 and empty ones switch the thing off."""
    return value not in (None, False, 0, "", "null") and not (isinstance(value, list | tuple | dict) and not value)


def unread_cache_keys(k: HfConfig) -> tuple[str, ...]:
    """The keys of a config that bear on caches and that a plain reading does not use; none where it may be trusted."""
    found = [key for key, value in k.inner.items() if _bears(key, CACHE_KEYS) and _says(value)]
    heads = k.inner.get("num_key_value_heads")
    if isinstance(heads, list | tuple) and len(set(map(str, heads))) > 1:
        found.append("num_key_value_heads")
    return tuple(sorted(found))
