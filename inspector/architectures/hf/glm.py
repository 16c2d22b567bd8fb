"""GLM: the model types of this family, one record each."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf.record import Activations, Layout, ModelType
from inspector.architectures.hf_caches import indexed, kda, latent_or_kv
from inspector.architectures.hf_experts import from_first
from inspector.architectures.hf_types import INDEXED, LINEAR, all_layers, full_is_indexed, last_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

_GLM4: Final = ("input_layernorm", "post_attention_layernorm", "post_self_attn_layernorm", "post_mlp_layernorm")


MODEL_TYPES: Final[Mapping[str, ModelType]] = MappingProxyType(
    {
        "glm": ModelType(layout=Layout(mlp="fused", o_bias_key=""), activations=Activations(mlp=4.0), rotary=0.5),
        "glm4": ModelType(
            layout=Layout(norms=_GLM4, mlp="fused", o_bias_key=""), activations=Activations(mlp=4.0), rotary=0.5
        ),
        "glm4_moe": ModelType(
            moe_layers=from_first("first_k_dense_replace", 1, freq="moe_layer_freq"),
            layout=Layout(head_norm_key="use_qk_norm", moe="mlp", o_bias_key=""),
            activations=Activations(moe="float32"),
            rotary=0.5,
        ),
        "glm4_moe_lite": ModelType(
            attention=latent_or_kv,
            moe_layers=from_first("first_k_dense_replace", 1, freq="moe_layer_freq"),
            layout=Layout(mla=True, moe="mlp"),
            activations=Activations(moe="float32", qkv="latent"),
        ),
        "glm4v_text": ModelType(layout=Layout(norms=_GLM4, mlp="fused", qkv_bias=True, o_bias_key="")),
        "glm_ocr_text": ModelType(layout=Layout(norms=_GLM4, mlp="fused", o_bias_key="")),
        "glm4v_moe_text": ModelType(
            moe_layers=from_first("first_k_dense_replace", 1, freq="moe_layer_freq"),
            layout=Layout(moe="mlp", o_bias_key=""),
        ),
        "glm_moe_dsa": ModelType(
            attention=indexed,
            layer_types=all_layers(INDEXED),
            forced=full_is_indexed,
            moe_layers=from_first("first_k_dense_replace", 1, freq="moe_layer_freq"),
            layout=Layout(mla=True, indexer=True, moe="mlp"),
        ),
        "glm5_next_text": ModelType(
            attention=indexed,
            state=kda,
            layer_types=last_of(4, other=LINEAR, mark=INDEXED),
            forced=full_is_indexed,
            moe_layers=from_first("first_k_dense_replace", 3),
        ),
    }
)
