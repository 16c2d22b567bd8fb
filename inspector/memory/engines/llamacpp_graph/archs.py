"""Which builder and which options each architecture's graph takes (src/models/*.cpp, b11434)."""

from __future__ import annotations

from types import MappingProxyType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

_GEMMA = {"act": "gelu", "attn_post_norm": "post_attention_norm", "ffn_post_norm": "post_ffw_norm"}

# arch: (module of this package, class, options)
ARCHS: Final[Mapping[str, tuple[str, str, Mapping[str, Any]]]] = MappingProxyType({
    "llama": ("decoder", "Decoder", {}),
    "qwen2": ("decoder", "Decoder", {}),
    "qwen3": ("decoder", "Decoder", {}),
    "qwen3moe": ("decoder", "Decoder", {}),
    "gemma2": ("decoder", "Decoder", {**_GEMMA, "embed": "scale", "q_scale": True, "softcap": True}),
    "gemma3": ("decoder", "Decoder", {**_GEMMA, "embed": "token_scale", "q_scale": True, "softcap": "key"}),
    "phi3": ("decoder", "Decoder", {"q_scale": True, "act": "glu", "moe_act": "silu", "swap_add": True}),
    "command-r": ("decoder", "Decoder", {"norm": "layer", "qk_kind": "layer", "parallel": 1, "logit_scale": "key"}),
    "cohere2": ("decoder", "Decoder", {"norm": "layer", "parallel": 1, "rope": "swa", "logit_scale": "key"}),
    "gpt-oss": ("decoder", "Decoder", {"ffn_norm": "post_attention_norm", "act": "oai", "norm_w": False, "gating": "softmax_weight", "rows_last": True, "h_nextn": True}),
    "glm4moe": ("decoder", "Decoder", {"ffn_norm": "post_attention_norm", "norm_w": "key", "gating": "key", "gating_default": 2}),
    "llama4": ("variants", "Llama4", {"rope": "step", "attn_scale": True, "norm_w": False, "gating": "sigmoid", "weigh_first": True}),
})  # fmt: skip
