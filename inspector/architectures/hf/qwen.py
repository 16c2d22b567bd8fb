"""Qwen: the model types of this family, one record each."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf.record import Activations, Layout, ModelType, named
from inspector.architectures.hf_blocks import embedding, head, linear, norm
from inspector.architectures.hf_caches import gdn
from inspector.architectures.hf_types import FULL, LINEAR, SLIDING, all_layers, by_window, last_of, switched_window

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Final

    from inspector.architectures.hf.record import ExpectedTensor
    from inspector.architectures.hf_config import HfConfig


def _qwen2_moe_layers(k: HfConfig, n: int) -> Sequence[str]:
    if not k.flag("use_sliding_window"):
        return (FULL,) * n
    stop = k.count("max_window_layers", 0) or 0
    return tuple(SLIDING if (i + 1) % 2 and i < stop else FULL for i in range(n))


def _qwen_experts(k: HfConfig, n: int) -> Sequence[bool]:
    dense = frozenset(k.ints("mlp_only_layers") or ())
    step = k.count("decoder_sparse_step") or 1
    return tuple(i not in dense and (i + 1) % step == 0 for i in range(n))


def _delta_net_tensors(k: HfConfig, at: str) -> Iterator[ExpectedTensor]:
    """Qwen3-Next keeps the mixer's inputs in two projections, Qwen3.5 in four."""
    from inspector.architectures.hf_blocks import gated_delta_net

    return gated_delta_net(k, at, fused=k.model_type == "qwen3_next")


def _qwen1_width(k: HfConfig) -> int | None:
    """The key counts gate and up together (Qwen's own modeling_qwen.py)."""
    width = k.count("intermediate_size")
    return width // 2 if width else None


def _qwen1_tensors(k: HfConfig) -> Iterator[ExpectedTensor]:
    hidden, width = k.need("hidden_size"), k.need("intermediate_size") // 2
    inner = (k.count("kv_channels") or 128) * k.need("num_attention_heads")
    bias = not k.flag("no_bias", default=True)
    yield from embedding("transformer.wte", k)
    for i in range(k.n_layers):
        at = f"transformer.h.{i}."
        yield from norm(f"{at}ln_1", hidden)
        yield from linear(f"{at}attn.c_attn", 3 * inner, hidden, "attention", bias=True)
        yield from linear(f"{at}attn.c_proj", hidden, inner, "attention", bias=bias)
        yield from norm(f"{at}ln_2", hidden)
        for name in ("w1", "w2"):
            yield from linear(f"{at}mlp.{name}", width, hidden, "mlp", bias=bias)
        yield from linear(f"{at}mlp.c_proj", hidden, width, "mlp", bias=bias)
    yield from norm("transformer.ln_f", hidden)
    yield from head(k, default_tied=False)


MODEL_TYPES: Final[Mapping[str, ModelType]] = MappingProxyType(
    {
        "qwen": ModelType(
            tensors=_qwen1_tensors, d_ff=_qwen1_width, note="QWen keeps half of its intermediate_size twice"
        ),
        "mimo": ModelType(layer_types=switched_window, layout=Layout(qkv_bias=True), unmarked_nextn=True),
        "qwen2": ModelType(layer_types=switched_window, layout=Layout(qkv_bias=True), activations=Activations()),
        "qwen2_moe": ModelType(
            layer_types=_qwen2_moe_layers,
            moe_layers=_qwen_experts,
            layout=Layout(qkv_bias_key="qkv_bias", moe="qwen"),
            activations=Activations(shared=1, two_masks=True),
        ),
        "qwen3": ModelType(layer_types=switched_window, layout=Layout(qk_norm="head"), activations=Activations()),
        "qwen3_moe": ModelType(
            layer_types=lambda k, n: by_window(k, n) if k.flag("use_sliding_window") else (FULL,) * n,
            moe_layers=_qwen_experts,
            layout=Layout(qk_norm="head", moe="mlp"),
            activations=Activations(),
        ),
        **named(
            "qwen2_vl_text qwen2_5_vl_text qwen2_5_omni_text",
            ModelType(layer_types=switched_window, layout=Layout(qkv_bias=True)),
        ),
        "qwen3_vl_text": ModelType(layout=Layout(qk_norm="head")),
        "qwen3_vl_moe_text": ModelType(moe_layers=_qwen_experts, layout=Layout(qk_norm="head", moe="mlp")),
        "qwen3_omni_moe_text": ModelType(moe_layers=_qwen_experts, layout=Layout(qk_norm="head", moe="mlp")),
        "qwen3_next": ModelType(
            state=gdn,
            layer_types=last_of(4, key="full_attention_interval", other=LINEAR),
            moe_layers=_qwen_experts,
            layout=Layout(qk_norm="head", moe="qwen", gated_q=True, mixer=_delta_net_tensors, mixer_at="linear_attn."),
        ),
        "qwen3_5_text": ModelType(
            state=gdn,
            layer_types=last_of(4, key="full_attention_interval", other=LINEAR),
            layout=Layout(qk_norm="head", gated_q=True, mixer=_delta_net_tensors, mixer_at="linear_attn."),
            vllm_state_dtype=("mamba_ssm_dtype", ""),
        ),
        "qwen3_5_moe_text": ModelType(
            state=gdn,
            layer_types=last_of(4, key="full_attention_interval", other=LINEAR),
            layout=Layout(qk_norm="head", moe="qwen", gated_q=True, mixer=_delta_net_tensors, mixer_at="linear_attn."),
            vllm_state_dtype=("mamba_ssm_dtype", ""),
        ),
        "qwen4_exp_text": ModelType(generic=True, layer_types=all_layers("qwen4_exp")),
    }
)
