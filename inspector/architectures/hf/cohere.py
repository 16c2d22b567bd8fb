"""Cohere's Command and Compass: the model types of this family, one record each."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf.record import Activations, Layout, ModelType
from inspector.architectures.hf_experts import from_first
from inspector.architectures.hf_types import FULL, all_layers, last_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

    from inspector.architectures.hf_config import HfConfig


def _cohere2_moe_layers(k: HfConfig, n: int) -> Sequence[str]:
    dense = min(k.count("first_k_dense_replace", 0) or 0, n)
    first = k.count("prefix_dense_sliding_window_pattern") or 1
    return (*last_of(first)(k, dense), *last_of(4, key="sliding_window_pattern")(k, n - dense))


MODEL_TYPES: Final[Mapping[str, ModelType]] = MappingProxyType(
    {
        "cohere": ModelType(
            layout=Layout(norms=("input_layernorm",), head_norm_key="use_qk_norm", head_norms="head"),
            activations=Activations(copies=2, qkv="interleaved"),
        ),
        "cohere2": ModelType(
            layer_types=last_of(4, key="sliding_window_pattern"),
            layout=Layout(norms=("input_layernorm",)),
            activations=Activations(copies=2, qkv="interleaved", two_masks=True),
        ),
        "cohere2_moe": ModelType(
            layer_types=_cohere2_moe_layers,
            moe_layers=from_first("first_k_dense_replace", 0),
            layout=Layout(norms=("input_layernorm",), moe="mlp"),
            activations=Activations(copies=2, qkv="interleaved", two_masks=True),
            plain_experts=True,
        ),
        "cohere_compass_text": ModelType(layer_types=all_layers(FULL)),
    }
)
