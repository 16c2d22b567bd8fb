"""EXAONE: the model types of this family, one record each."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf.record import Activations, Layout, ModelType
from inspector.architectures.hf_experts import from_first
from inspector.architectures.hf_types import FULL, SLIDING, last_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

    from inspector.architectures.hf_config import HfConfig

_POST: Final = ("post_attention_layernorm", "post_feedforward_layernorm")


def _exaone4_layers(k: HfConfig, n: int) -> Sequence[str]:
    if not k.count("sliding_window"):
        return (FULL,) * n
    pattern = k.get("sliding_window_pattern")
    if isinstance(pattern, str) and pattern:  # published files write it out: "LLLG"
        return tuple(FULL if pattern[i % len(pattern)] == "G" or i == n - 1 else SLIDING for i in range(n))
    return last_of(4, key="sliding_window_pattern")(k, n)


MODEL_TYPES: Final[Mapping[str, ModelType]] = MappingProxyType(
    {
        "exaone": ModelType(layout=Layout(), activations=Activations()),
        "exaone4": ModelType(
            layer_types=_exaone4_layers,
            layout=Layout(norms=_POST, qk_norm="head"),
            activations=Activations(residuals=3, attention=2),
        ),
        "exaone_moe": ModelType(
            layer_types=_exaone4_layers,
            moe_layers=from_first("first_k_dense_replace", 0),
            layout=Layout(qk_norm="head", moe="mlp"),
            activations=Activations(moe="float32"),
        ),
    }
)
