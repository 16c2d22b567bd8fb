"""MiniMax and MiMo: the model types of this family, one record each."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf.record import Activations, Layout, ModelType
from inspector.architectures.hf_caches import SLIDING_TYPES, kv_cache, state_cache, times
from inspector.architectures.hf_experts import from_first
from inspector.architectures.hf_types import FULL, LINEAR, last_of, where

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Final

    from inspector.architectures.hf.record import ExpectedTensor
    from inspector.architectures.hf_caches import Caches
    from inspector.architectures.hf_config import HfConfig


def lightning(k: HfConfig, _kind: str, _i: int) -> Caches:
    """Linear attention of MiniMax: one matrix a head in the compute dtype, no convolution (modeling_minimax.py)."""
    return state_cache("lightning", 0, 0, times(k.n_heads, k.head_dim, k.head_dim), state="model")


def _minimax_layers(k: HfConfig, n: int) -> Sequence[str]:
    listed = k.ints("attn_type_list")  # published files: 1 is softmax attention, 0 lightning
    if listed is not None:
        return tuple(FULL if i < len(listed) and listed[i] else LINEAR for i in range(n))
    return last_of(2, other=FULL, mark=LINEAR)(k, n)


def _minimax_m3_layers(k: HfConfig, n: int) -> Sequence[str]:
    sparse = k.sub("sparse_attention_config").get("sparse_attention_freq")
    if not isinstance(sparse, list):
        return (FULL,) * n
    return tuple("minimax_m3_sparse" if f else FULL for f in sparse[:n])


def mimo(k: HfConfig, kind: str, _i: int) -> Caches:
    """Sliding layers have twice the key-value heads, and values are narrower than keys."""
    heads = times(k.n_kv_heads, 2 if kind in SLIDING_TYPES else 1)
    return kv_cache(k, kind, heads, k.head_dim, k.count("v_head_dim"))


def _lightning_tensors(k: HfConfig, at: str) -> Iterator[ExpectedTensor]:
    from inspector.architectures.hf_blocks import lightning as tensors

    return tensors(k, at)


MODEL_TYPES: Final[Mapping[str, ModelType]] = MappingProxyType(
    {
        "minimax": ModelType(
            state=lightning,
            layer_types=_minimax_layers,
            layout=Layout(moe="mixtral", mixer=_lightning_tensors, mixer_at="self_attn."),
        ),
        "minimax_m2": ModelType(
            layout=Layout(qk_norm="full", moe="mlp"), activations=Activations(), plain_experts=True
        ),
        "minimax_m3_vl_text": ModelType(layer_types=_minimax_m3_layers),
        "mimo_v2_flash": ModelType(
            attention=mimo,
            layer_types=where(lambda i, _n: i == 0 or (i + 1) % 6 == 0),
            moe_layers=from_first("", 1, freq="moe_layer_freq"),
            eager=True,
        ),
    }
)
