"""Gemma: the model types of this family, one record each."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf.record import Activations, Layout, ModelType, named
from inspector.architectures.hf_caches import kv_cache, own_row
from inspector.architectures.hf_types import FULL, last_is_full, last_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    from inspector.architectures.hf_caches import Caches
    from inspector.architectures.hf_config import HfConfig

_SANDWICH: Final = (
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)


def gemma4(k: HfConfig, kind: str, i: int) -> Caches:
    """Full layers have heads of their own size; `per_layer_config` (saved by transformers) comes before the keys."""
    heads, dim = k.n_kv_heads, k.head_dim
    if k.sub("per_layer_config"):
        row = own_row(k, i)
        heads, dim = row.get("num_key_value_heads") or heads, row.get("head_dim") or dim
    elif kind == FULL:
        dim = k.count("global_head_dim", 512)
        # embedding_gemma2's class has one global head by default; gemma4's has the ordinary ones without k_eq_v
        if k.model_type == "embedding_gemma2_text":
            heads = k.count("num_global_key_value_heads", 1)
        elif k.flag("attention_k_eq_v"):
            heads = k.count("num_global_key_value_heads") or heads
    return kv_cache(k, kind, heads, dim)


MODEL_TYPES: Final[Mapping[str, ModelType]] = MappingProxyType(
    {
        "gemma": ModelType(layout=Layout(), activations=Activations()),
        "gemma2": ModelType(
            layer_types=last_of(2),
            layout=Layout(norms=_SANDWICH),
            activations=Activations(two_masks=True, copies=2),
            eager=True,
        ),
        "gemma3_text": ModelType(
            layer_types=last_of(6, key="sliding_window_pattern"),
            layout=Layout(norms=_SANDWICH, qk_norm="head"),
            activations=Activations(two_masks=True),
            two_rotaries=True,
        ),
        "vaultgemma": ModelType(
            layer_types=last_of(2),
            layout=Layout(norms=("input_layernorm", "pre_feedforward_layernorm")),
            activations=Activations(two_masks=True, copies=2),
            eager=True,
        ),
        "gemma3n_text": ModelType(shared=True, layer_types=last_of(5), activations_known=False),
        **named(
            "gemma4_text gemma4_unified_text",
            ModelType(
                attention=gemma4,
                shared=True,
                layer_types=last_of(6),
                forced=last_is_full,
                activations_known=False,
                eager=True,
            ),
        ),
        "diffusion_gemma_text": ModelType(attention=gemma4, shared=True, layer_types=last_of(6), forced=last_is_full),
        "embedding_gemma2_text": ModelType(
            attention=gemma4, shared=True, layer_types=last_of(6, key="sliding_window_pattern"), forced=last_is_full
        ),
        "t5gemma": ModelType(generic=True, eager=True),
        **named(
            "t5gemma2_text t5gemma2_decoder",
            ModelType(generic=True, layer_types=last_of(6, key="sliding_window_pattern")),
        ),
    }
)
