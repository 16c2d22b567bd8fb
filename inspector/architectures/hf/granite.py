"""Granite and Bamba: the model types of this family, one record each."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf.record import Activations, Layout, ModelType
from inspector.architectures.hf_caches import mamba2
from inspector.architectures.hf_types import FULL, LINEAR, all_layers, first_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

    from inspector.architectures.hf_config import HfConfig


def _bamba_layers(k: HfConfig, n: int) -> Sequence[str]:
    attention = frozenset(k.ints("attn_layer_indices") or ())
    return tuple(FULL if i in attention else LINEAR for i in range(n))


MODEL_TYPES: Final[Mapping[str, ModelType]] = MappingProxyType(
    {
        "granite": ModelType(layout=Layout(), activations=Activations(copies=2)),
        "granitemoe": ModelType(layout=Layout(moe="granite"), activations=Activations(copies=2), plain_experts=True),
        "granitemoeshared": ModelType(
            layout=Layout(moe="granite_shared"), activations=Activations(copies=2), plain_experts=True
        ),
        "granite_swa": ModelType(layer_types=first_of(4), layout=Layout(sinks=True), eager=True),
        "granitemoe_swa": ModelType(
            layer_types=first_of(4), layout=Layout(moe="granite_shared", sinks=True), plain_experts=True, eager=True
        ),
        "granitemoehybrid": ModelType(
            state=mamba2, layer_types=all_layers(LINEAR), layout=Layout(moe="granite_shared", mlp="shared")
        ),
        "bamba": ModelType(
            state=mamba2,
            layer_types=_bamba_layers,
            layout=Layout(
                norms=("input_layernorm", "pre_ff_layernorm"), mlp_at="feed_forward", final="model.final_layernorm"
            ),
        ),
    }
)
