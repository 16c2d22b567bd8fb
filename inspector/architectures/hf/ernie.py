"""ERNIE 4.5, AFMoE and Hunyuan: the model types of this family, one record each."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf.record import Activations, ExpectedTensor, Layout, ModelType
from inspector.architectures.hf_blocks import linear
from inspector.architectures.hf_decoders import decoder, gated, grouped_attention, routed_experts
from inspector.architectures.hf_experts import from_first
from inspector.architectures.hf_types import last_of
from inspector.errors import MissingKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Final

    from inspector.architectures.hf_config import HfConfig


def _ernie_experts(k: HfConfig, n: int) -> Sequence[bool]:
    start, step = k.count("moe_layer_start_index", 1) or 0, k.count("moe_layer_interval") or 1
    end = k.get("moe_layer_end_index")
    last = end if isinstance(end, int) and end >= 0 else n - 1
    return tuple((i + 1) % step == 0 and start <= i <= last for i in range(n))


def _hunyuan_mixer(k: HfConfig, at: str, _kind: str, _i: int) -> Iterator[ExpectedTensor]:
    heads, kv, dim = k.n_heads or 0, k.n_kv_heads or 0, k.head_dim or 0
    yield from grouped_attention(k, f"{at}self_attn.", heads, kv, dim, head_norm=k.flag("use_qk_norm", default=True))


def _hunyuan_ffn(k: HfConfig, at: str, _routed: bool, _i: int) -> Iterator[ExpectedTensor]:
    """A shared MLP beside the experts, as many expert widths as `num_shared_expert` says (modeling_hunyuan.py)."""
    hidden, width, n = k.need("hidden_size"), k.need("intermediate_size"), k.need("num_experts")
    at = f"{at}mlp."
    yield from linear(f"{at}gate.wg", n, hidden, "router")
    yield from routed_experts(at, n, hidden, k.count("moe_intermediate_size") or width)
    yield from gated(f"{at}shared_mlp.", hidden, width * (k.count("num_shared_expert") or 1))


def _hunyuan_tensors(k: HfConfig) -> Iterator[ExpectedTensor]:
    if k.flag("use_cla") or k.flag("attention_bias"):
        raise MissingKey("keys and values that layers share, or biases, have no rule here")
    return decoder(k, mixer=_hunyuan_mixer, ffn=_hunyuan_ffn)


def _afmoe_mixer(k: HfConfig, at: str, _kind: str, _i: int) -> Iterator[ExpectedTensor]:
    heads, dim, at = k.n_heads or 0, k.head_dim or 0, f"{at}self_attn."
    yield from grouped_attention(k, at, heads, k.n_kv_heads or 0, dim, head_norm=True)
    yield from linear(f"{at}gate_proj", heads * dim, k.need("hidden_size"), "attention")


def _afmoe_ffn(k: HfConfig, at: str, routed: bool, _i: int) -> Iterator[ExpectedTensor]:
    hidden, width, at = k.need("hidden_size"), k.need("moe_intermediate_size"), f"{at}mlp."
    if not routed:
        yield from gated(at, hidden, k.need("intermediate_size"))
        return
    n = k.need("num_experts")
    yield from linear(f"{at}router.gate", n, hidden, "router")
    yield ExpectedTensor(f"{at}expert_bias", (n,), "router")
    yield from routed_experts(at, n, hidden, width)
    yield from gated(f"{at}shared_experts.", hidden, width * (k.count("n_shared_experts") or 0))


def _afmoe_tensors(k: HfConfig) -> Iterator[ExpectedTensor]:
    """Gated attention, four norms a layer (modeling_afmoe.py)."""
    norms = ("input_layernorm", "post_attention_layernorm", "pre_mlp_layernorm", "post_mlp_layernorm")
    return decoder(k, mixer=_afmoe_mixer, ffn=_afmoe_ffn, norms=norms)


MODEL_TYPES: Final[Mapping[str, ModelType]] = MappingProxyType(
    {
        "ernie4_5": ModelType(
            layout=Layout(bias_key="use_bias", mlp_bias_key="use_bias"), activations=Activations(rope_f32=True)
        ),
        "ernie4_5_moe": ModelType(
            moe_layers=_ernie_experts,
            layout=Layout(bias_key="use_bias", mlp_bias_key="use_bias", moe="mlp"),
            routing_bias=True,
            activations=Activations(shared=1, rope_f32=True),
        ),
        "ernie4_5_vl_moe_text": ModelType(generic=True, routing_bias=True),
        "afmoe": ModelType(
            layer_types=last_of(4, key="global_attn_every_n_layers"),
            moe_layers=from_first("num_dense_layers", 0),
            tensors=_afmoe_tensors,
            activations=Activations(moe="float32", shared=1, attention=4, two_masks=True),
        ),
        "hunyuan_v1_dense": ModelType(
            layout=Layout(qk_norm="head", qk_norm_names=("query_layernorm", "key_layernorm")), activations=Activations()
        ),
        "hunyuan_v1_moe": ModelType(tensors=_hunyuan_tensors, activations=Activations(shared=1), plain_experts=True),
    }
)
