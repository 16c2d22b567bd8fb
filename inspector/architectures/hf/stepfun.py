"""Step 3.5 and 3.7: gated attention, more heads in sliding layers, experts from the fourth layer on."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf.record import ExpectedTensor, ModelType, named
from inspector.architectures.hf_blocks import linear
from inspector.architectures.hf_decoders import decoder, gated, grouped_attention, routed_experts
from inspector.architectures.hf_types import FULL, SLIDING, all_layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Final

    from inspector.architectures.hf_config import HfConfig

    Tensors = Iterator[ExpectedTensor]


def _experts(k: HfConfig, n: int) -> Sequence[bool]:
    listed = k.get("moe_layers_enum")
    first = k.count("first_k_dense_replace", 3) or 0
    named = listed if isinstance(listed, list) and listed else range(first, n)
    words = listed.split(",") if isinstance(listed, str) else [str(v) for v in named]
    moe = frozenset(int(w) for w in words if w.strip().isdecimal() and len(w) < 10)
    return tuple(i in moe for i in range(n))


def _heads(k: HfConfig, kind: str) -> int:
    """Query heads: sliding layers may have a number of their own (configuration_step3p7.py)."""
    own = k.sub("attention_other_setting").get("num_attention_heads")
    other = k.count("num_sliding_attention_heads") or (own if isinstance(own, int) else None)
    return (other if kind == SLIDING else None) or k.need("num_attention_heads")


def _mixer(k: HfConfig, at: str, kind: str, _i: int) -> Tensors:
    heads = _heads(k, kind)
    kv = k.n_kv_heads or 0
    yield from grouped_attention(k, f"{at}self_attn.", heads, kv, k.head_dim or 0, head_norm=True)
    yield from linear(f"{at}self_attn.g_proj", heads, k.need("hidden_size"), "attention")


def _ffn(k: HfConfig, at: str, routed: bool, _i: int) -> Tensors:
    hidden = k.need("hidden_size")
    if not routed:
        yield from gated(f"{at}mlp.", hidden, k.need("intermediate_size"))
        return
    n = k.need("num_experts")
    yield from linear(f"{at}moe.gate", n, hidden, "router")
    yield from routed_experts(f"{at}moe.", n, hidden, k.need("moe_intermediate_size"))
    shared = k.count("share_expert_dim") or k.need("moe_intermediate_size")
    yield from gated(f"{at}share_expert.", hidden, shared)


def _tensors(k: HfConfig) -> Tensors:
    return decoder(k, mixer=_mixer, ffn=_ffn)


MODEL_TYPES: Final[Mapping[str, ModelType]] = MappingProxyType(
    named("step3p5 step3p7_text", ModelType(layer_types=all_layers(FULL), moe_layers=_experts, tensors=_tensors))
)
