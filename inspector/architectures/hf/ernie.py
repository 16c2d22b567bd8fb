"""ERNIE 4.5, AFMoE and Hunyuan: the model types of this family, one record each."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf.record import Activations, Layout, ModelType
from inspector.architectures.hf_experts import from_first
from inspector.architectures.hf_types import last_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

    from inspector.architectures.hf_config import HfConfig


def _ernie_experts(k: HfConfig, n: int) -> Sequence[bool]:
    start, step = k.count("moe_layer_start_index", 1) or 0, k.count("moe_layer_interval") or 1
    end = k.get("moe_layer_end_index")
    last = end if isinstance(end, int) and end >= 0 else n - 1
    return tuple((i + 1) % step == 0 and start <= i <= last for i in range(n))


MODEL_TYPES: Final[Mapping[str, ModelType]] = MappingProxyType(
    {
        "ernie4_5": ModelType(
            layout=Layout(bias_key="use_bias", mlp_bias_key="use_bias"), activations=Activations(rope_f32=True)
        ),
        "ernie4_5_moe": ModelType(
            moe_layers=_ernie_experts,
            layout=Layout(bias_key="use_bias", mlp_bias_key="use_bias", moe="mlp"),
            activations=Activations(shared=1, rope_f32=True),
        ),
        "afmoe": ModelType(
            layer_types=last_of(4, key="global_attn_every_n_layers"),
            moe_layers=from_first("num_dense_layers", 0),
            activations=Activations(moe="float32", shared=1, attention=4, two_masks=True),
        ),
        "hunyuan_v1_dense": ModelType(
            layout=Layout(qk_norm="head", qk_norm_names=("query_layernorm", "key_layernorm")), activations=Activations()
        ),
        "hunyuan_v1_moe": ModelType(activations=Activations(shared=1), plain_experts=True),
    }
)
