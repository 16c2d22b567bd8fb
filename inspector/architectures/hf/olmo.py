"""OLMo: the model types of this family, one record each."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf.record import Activations, Layout, ModelType
from inspector.architectures.hf_caches import gdn
from inspector.architectures.hf_types import LINEAR, last_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

_POST: Final = ("post_attention_layernorm", "post_feedforward_layernorm")


MODEL_TYPES: Final[Mapping[str, ModelType]] = MappingProxyType(
    {
        "olmo": ModelType(layout=Layout(norms=(), final=""), activations=Activations(rope_f32=True)),
        "olmo1": ModelType(),
        "olmo2": ModelType(
            layout=Layout(norms=_POST, qk_norm="full"), activations=Activations(residuals=3, attention=2, rope_f32=True)
        ),
        "olmo3": ModelType(
            layer_types=last_of(4),
            layout=Layout(norms=_POST, qk_norm="full"),
            activations=Activations(residuals=3, attention=2, rope_f32=True, two_masks=True),
            two_rotaries=True,
        ),
        "olmoe": ModelType(layout=Layout(qk_norm="full", moe="mlp"), activations=Activations(), plain_experts=True),
        "flex_olmo": ModelType(
            layout=Layout(norms=_POST, qk_norm="full", moe="mlp"),
            activations=Activations(residuals=3, attention=2, rope_f32=True),
            plain_experts=True,
        ),
        "olmo_hybrid": ModelType(state=gdn, layer_types=last_of(4, other=LINEAR)),
    }
)
