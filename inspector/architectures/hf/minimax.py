"""MiniMax and MiMo: the model types of this family, one record each."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf.record import Activations, ExpectedTensor, Layout, ModelType, named
from inspector.architectures.hf_blocks import linear, norm
from inspector.architectures.hf_caches import SLIDING_TYPES, kv, kv_cache, state_cache, times
from inspector.architectures.hf_decoders import decoder, gated, grouped_attention, routed_experts
from inspector.architectures.hf_experts import from_first
from inspector.architectures.hf_types import FULL, LINEAR, last_of, where
from inspector.layers import IndexCache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Final

    from inspector.architectures.hf_caches import Caches
    from inspector.architectures.hf_config import HfConfig


M3_SPARSE: Final = "minimax_m3_sparse"


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
    return tuple(M3_SPARSE if f else FULL for f in sparse[:n])


def mimo(k: HfConfig, kind: str, _i: int) -> Caches:
    """Sliding layers have twice the key-value heads, and values are narrower than keys."""
    heads = times(k.n_kv_heads, 2 if kind in SLIDING_TYPES else 1)
    return kv_cache(k, kind, heads, k.head_dim, k.count("v_head_dim"))


def _lightning_tensors(k: HfConfig, at: str) -> Iterator[ExpectedTensor]:
    from inspector.architectures.hf_blocks import lightning as tensors

    return tensors(k, at)


def _mimo_mixer(k: HfConfig, at: str, kind: str, _i: int) -> Iterator[ExpectedTensor]:
    slides = kind in SLIDING_TYPES
    heads, kv_heads = k.n_heads or 0, (k.n_kv_heads or 0) * (2 if slides else 1)
    dim_v = k.need("v_head_dim")
    yield from grouped_attention(k, f"{at}self_attn.", heads, kv_heads, k.head_dim or 0, dim_v=dim_v)
    if slides:
        yield ExpectedTensor(f"{at}self_attn.attention_sink_bias", (heads,), "attention")


def _mimo_ffn(k: HfConfig, at: str, routed: bool, _i: int) -> Iterator[ExpectedTensor]:
    hidden = k.need("hidden_size")
    if not routed:
        yield from gated(f"{at}mlp.", hidden, k.need("intermediate_size"))
        return
    n = k.need("num_experts")
    yield from linear(f"{at}mlp.gate", n, hidden, "router")
    yield from routed_experts(f"{at}mlp.", n, hidden, k.need("moe_intermediate_size"))


def _mimo_tensors(k: HfConfig) -> Iterator[ExpectedTensor]:
    return decoder(k, mixer=_mimo_mixer, ffn=_mimo_ffn)


def _sizes_m3(k: HfConfig) -> tuple[int, int]:
    """Heads and width of the indexer: published files nest them, transformers' class does not."""
    own = k.sub("sparse_attention_config")
    heads, dim = own.get("sparse_num_index_heads"), own.get("sparse_index_dim")
    return (
        heads if isinstance(heads, int) else k.count("index_n_heads", 4) or 0,
        dim if isinstance(dim, int) else k.count("index_head_dim", 128) or 0,
    )


def _m3_mixer(k: HfConfig, at: str, kind: str, _i: int) -> Iterator[ExpectedTensor]:
    yield from grouped_attention(
        k, f"{at}self_attn.", k.n_heads or 0, k.n_kv_heads or 0, k.head_dim or 0, head_norm=True
    )
    if kind != M3_SPARSE:
        return
    (heads, dim), hidden = _sizes_m3(k), k.need("hidden_size")
    for name, n in (("q", heads), ("k", 1)):
        yield from linear(f"{at}self_attn.index_{name}_proj", n * dim, hidden, "attention")
        yield from norm(f"{at}self_attn.index_{name}_norm", dim)


def _m3_ffn(k: HfConfig, at: str, routed: bool, _i: int) -> Iterator[ExpectedTensor]:
    hidden = k.need("hidden_size")
    if not routed:
        yield from gated(f"{at}mlp.", hidden, k.count("dense_intermediate_size", 12288) or 0)
        return
    n, at = k.need("num_experts"), f"{at}block_sparse_moe."
    yield from linear(f"{at}gate", n, hidden, "router")
    yield from routed_experts(at, n, hidden, k.need("intermediate_size"))
    yield from gated(f"{at}shared_experts.", hidden, k.need("shared_intermediate_size"))


def _m3_tensors(k: HfConfig) -> Iterator[ExpectedTensor]:
    return decoder(k, mixer=_m3_mixer, ffn=_m3_ffn)


def minimax_m3(k: HfConfig, kind: str, i: int) -> Caches:
    """Keys and values of every token; sparse layers also keep their indexer's keys (modeling_minimax_m3_vl.py)."""
    if kind != M3_SPARSE:
        return kv(k, kind, i)
    return (*kv(k, kind, i), IndexCache(_sizes_m3(k)[1]))


def _m3_experts(k: HfConfig, n: int) -> Sequence[bool]:
    listed = k.ints("moe_layer_freq")
    if listed is not None:
        return tuple(i < len(listed) and bool(listed[i]) for i in range(n))
    return (True,) * n


MODEL_TYPES: Final[Mapping[str, ModelType]] = MappingProxyType(
    {
        **named(
            "minimax minimax_m1",
            ModelType(
                state=lightning,
                layer_types=_minimax_layers,
                layout=Layout(moe="mixtral", mixer=_lightning_tensors, mixer_at="self_attn."),
            ),
        ),
        "minimax_m2": ModelType(
            layout=Layout(qk_norm="full", moe="mlp"), activations=Activations(), plain_experts=True
        ),
        **named(
            "minimax_m3_vl_text minimax_m3",
            ModelType(
                attention=minimax_m3,
                layer_types=_minimax_m3_layers,
                moe_layers=_m3_experts,
                tensors=_m3_tensors,
                vllm_indexer="plain",
                vllm_block=128,
            ),
        ),
        "mimo_v2_flash": ModelType(
            attention=mimo,
            layer_types=where(lambda i, _n: i == 0 or (i + 1) % 6 == 0),
            moe_layers=from_first("", 1, freq="moe_layer_freq"),
            tensors=_mimo_tensors,
            eager=True,
        ),
    }
)
