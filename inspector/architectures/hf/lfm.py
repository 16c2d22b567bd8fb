"""LFM: the model types of this family, one record each."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf.record import Activations, Layout, ModelType
from inspector.architectures.hf_caches import state_cache
from inspector.architectures.hf_experts import from_first
from inspector.architectures.hf_types import CONV, FULL, SLIDING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

    from inspector.architectures.hf_caches import Caches
    from inspector.architectures.hf_config import HfConfig


def shortconv(k: HfConfig, _kind: str, _i: int) -> Caches:
    return state_cache("shortconv", k.count("hidden_size"), k.count("conv_L_cache", 3), 0)


def _lfm2_layers(k: HfConfig, n: int) -> Sequence[str]:
    listed = k.ints("full_attn_idxs")
    attention = frozenset(range(n) if listed is None else listed)
    return tuple(FULL if i in attention else CONV for i in range(n))


MODEL_TYPES: Final[Mapping[str, ModelType]] = MappingProxyType(
    {
        "lfm2": ModelType(
            state=shortconv,
            layer_types=_lfm2_layers,
            layout=Layout(
                norms=("operator_norm", "ffn_norm"),
                o="out_proj",
                qk_norm="head",
                final="model.embedding_norm",
                qk_norm_names=("q_layernorm", "k_layernorm"),
                mlp="w123",
                mlp_at="feed_forward",
            ),
            activations=Activations(),
        ),
        "lfm2_moe": ModelType(
            state=shortconv,
            layer_types=_lfm2_layers,
            moe_layers=from_first("num_dense_layers", 0),
            layout=Layout(
                norms=("operator_norm", "ffn_norm"),
                o="out_proj",
                qk_norm="head",
                final="model.embedding_norm",
                qk_norm_names=("q_layernorm", "k_layernorm"),
                mlp="w123",
                mlp_at="feed_forward",
                moe="lfm2",
            ),
        ),
        "lfm3": ModelType(
            state=shortconv,
            layer_types=lambda _k, n: tuple(
                FULL if i % 4 == 2 else SLIDING if i % 4 == 0 and i else CONV for i in range(n)
            ),
        ),
    }
)
