"""Gemma: the model types of this family, one record each."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf.record import Activations, ExpectedTensor, Layout, ModelType, named
from inspector.architectures.hf_blocks import linear, norm
from inspector.architectures.hf_caches import kv_cache, own_row
from inspector.architectures.hf_decoders import decoder, gated, routed_experts
from inspector.architectures.hf_experts import by_keys
from inspector.architectures.hf_types import FULL, last_is_full, last_of
from inspector.layers import KVCache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Final

    from inspector.architectures.hf_caches import Caches
    from inspector.architectures.hf_config import HfConfig

_SANDWICH: Final = (
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)


def gemma4(k: HfConfig, kind: str, i: int) -> Caches:
    """Full layers have heads of their own size; `per_layer_config` (saved by transformers) comes before the keys."""
    heads, dim = k.n_kv_heads, k.head_dim
    if k.sub("per_layer_config"):
        row = own_row(k, i)
        heads, dim = row.get("num_key_value_heads") or heads, row.get("head_dim") or dim
    elif kind == FULL:
        dim = k.count("global_head_dim", 512)
        # embedding_gemma2's class has one global head by default; gemma4's has the ordinary ones without k_eq_v
        if k.model_type == "embedding_gemma2_text":
            heads = k.count("num_global_key_value_heads", 1)
        elif k.flag("attention_k_eq_v"):
            heads = k.count("num_global_key_value_heads") or heads
    return kv_cache(k, kind, heads, dim)


def _gemma4_experts(k: HfConfig) -> tuple[int | None, int | None]:
    return by_keys(k) if k.flag("enable_moe_block") else (None, None)


def _widest(k: HfConfig) -> int | None:
    """Gemma 3n gives each layer a width of its own: the largest stands for all."""
    return max(k.ints("intermediate_size") or (0,)) or (
        None if isinstance(k.get("intermediate_size"), list) else k.count("intermediate_size")
    )


def _gemma4_mixer(k: HfConfig, at: str, kind: str, i: int) -> Iterator[ExpectedTensor]:
    """Layers that reuse keys have no projections for them; full ones may use keys as values."""
    hidden, heads, n = k.need("hidden_size"), k.n_heads or 0, k.n_layers
    own = gemma4(k, kind, i)[0]
    assert isinstance(own, KVCache)
    dim, at = own.head_dim_k, f"{at}self_attn."
    yield from linear(f"{at}q_proj", heads * dim, hidden, "attention")
    yield from norm(f"{at}q_norm", dim)
    if i < n - min(k.count("num_kv_shared_layers", 0) or 0, n):
        yield from norm(f"{at}k_norm", dim)
        yield from linear(f"{at}k_proj", own.n_kv_heads * dim, hidden, "attention")
        if kind != FULL or not k.flag("attention_k_eq_v"):
            yield from linear(f"{at}v_proj", own.n_kv_heads * dim, hidden, "attention")
    yield from linear(f"{at}o_proj", hidden, heads * dim, "attention")


def _gemma4_ffn(k: HfConfig, at: str, routed: bool, i: int) -> Iterator[ExpectedTensor]:
    """A dense MLP in every layer, experts beside it, and an embedding of its own for the layer."""
    hidden, width, n = k.need("hidden_size"), k.need("intermediate_size"), k.n_layers
    reuses = i >= n - min(k.count("num_kv_shared_layers", 0) or 0, n)
    yield from gated(f"{at}mlp.", hidden, width * (2 if reuses and k.flag("use_double_wide_mlp") else 1))
    if routed:
        experts = k.need("num_experts")
        yield from linear(f"{at}router.proj", experts, hidden, "router")
        yield ExpectedTensor(f"{at}router.scale", (hidden,), "router")
        yield ExpectedTensor(f"{at}router.per_expert_scale", (experts,), "router")
        yield from routed_experts(at, experts, hidden, k.need("moe_intermediate_size"))
        for name in ("post_feedforward_layernorm_1", "post_feedforward_layernorm_2", "pre_feedforward_layernorm_2"):
            yield from norm(at + name, hidden)
    if own := k.count("hidden_size_per_layer_input"):
        yield from linear(f"{at}per_layer_input_gate", own, hidden, "mlp")
        yield from linear(f"{at}per_layer_projection", hidden, own, "mlp")
        yield from norm(f"{at}post_per_layer_input_norm", hidden)


def _gemma4_tensors(k: HfConfig) -> Iterator[ExpectedTensor]:
    """Sandwich norms, and embeddings for every layer where the config has them (modeling_gemma4.py)."""
    yield from decoder(k, mixer=_gemma4_mixer, ffn=_gemma4_ffn, norms=_SANDWICH)
    if own := k.count("hidden_size_per_layer_input"):
        n, rows = k.n_layers, k.need("vocab_size_per_layer_input")
        yield ExpectedTensor("model.embed_tokens_per_layer.weight", (rows, n * own), "embedding")
        yield from linear("model.per_layer_model_projection", n * own, k.need("hidden_size"), "other")
        yield from norm("model.per_layer_projection_norm", own)


def _gemma3n_mixer(k: HfConfig, at: str, _kind: str, i: int) -> Iterator[ExpectedTensor]:
    hidden, heads, dim, n = k.need("hidden_size"), k.n_heads or 0, k.head_dim or 0, k.n_layers
    at = f"{at}self_attn."
    yield from linear(f"{at}q_proj", heads * dim, hidden, "attention")
    yield from norm(f"{at}q_norm", dim)
    if i < n - min(k.count("num_kv_shared_layers", 0) or 0, n):
        yield from norm(f"{at}k_norm", dim)
        for name in ("k_proj", "v_proj"):
            yield from linear(at + name, (k.n_kv_heads or 0) * dim, hidden, "attention")
    yield from linear(f"{at}o_proj", hidden, heads * dim, "attention")


def _gemma3n_ffn(k: HfConfig, at: str, _routed: bool, i: int) -> Iterator[ExpectedTensor]:
    """An MLP of the layer's own width, alternating updates of several streams, a low-rank branch beside attention."""
    hidden, widths = k.need("hidden_size"), k.ints("intermediate_size")
    streams, rank, own = k.need("altup_num_inputs"), k.need("laurel_rank"), k.need("hidden_size_per_layer_input")
    yield from gated(f"{at}mlp.", hidden, widths[i] if widths and i < len(widths) else k.need("intermediate_size"))
    yield ExpectedTensor(f"{at}altup.correct_output_scale", (hidden,), "other")
    yield from linear(f"{at}altup.correction_coefs", streams, streams, "other")
    yield from linear(f"{at}altup.prediction_coefs", streams * streams, streams, "other")
    yield from linear(f"{at}altup.modality_router", streams, hidden, "router")
    yield from norm(f"{at}altup.router_norm", hidden)
    yield from linear(f"{at}laurel.linear_left", rank, hidden, "attention")
    yield from linear(f"{at}laurel.linear_right", hidden, rank, "attention")
    yield from norm(f"{at}laurel.post_laurel_norm", hidden)
    yield from linear(f"{at}per_layer_input_gate", own, hidden, "mlp")
    yield from linear(f"{at}per_layer_projection", hidden, own, "mlp")
    yield from norm(f"{at}post_per_layer_input_norm", hidden)


def _gemma3n_tensors(k: HfConfig) -> Iterator[ExpectedTensor]:
    """Several streams through every layer, and an embedding for each layer (modeling_gemma3n.py)."""
    hidden, own, n = k.need("hidden_size"), k.need("hidden_size_per_layer_input"), k.n_layers
    yield from decoder(k, mixer=_gemma3n_mixer, ffn=_gemma3n_ffn, norms=_SANDWICH)
    rows = k.need("vocab_size_per_layer_input")
    yield ExpectedTensor("model.embed_tokens_per_layer.weight", (rows, n * own), "embedding")
    yield from linear("model.per_layer_model_projection", n * own, hidden, "other")
    yield from norm("model.per_layer_projection_norm", own)
    for i in range(k.need("altup_num_inputs") - 1):
        yield from linear(f"model.altup_projections.{i}", hidden, hidden, "other")
        yield from linear(f"model.altup_unembed_projections.{i}", hidden, hidden, "other")


MODEL_TYPES: Final[Mapping[str, ModelType]] = MappingProxyType(
    {
        "gemma": ModelType(layout=Layout(), activations=Activations()),
        "gemma2": ModelType(
            layer_types=last_of(2),
            layout=Layout(norms=_SANDWICH),
            activations=Activations(two_masks=True, copies=2),
            eager=True,
        ),
        "gemma3_text": ModelType(
            layer_types=last_of(6, key="sliding_window_pattern"),
            layout=Layout(norms=_SANDWICH, qk_norm="head"),
            activations=Activations(two_masks=True),
            two_rotaries=True,
        ),
        "vaultgemma": ModelType(
            layer_types=last_of(2),
            layout=Layout(norms=("input_layernorm", "pre_feedforward_layernorm")),
            activations=Activations(two_masks=True, copies=2),
            eager=True,
        ),
        "gemma3n_text": ModelType(
            d_ff=_widest, shared=True, layer_types=last_of(5), tensors=_gemma3n_tensors, activations_known=False
        ),
        **named(
            "gemma4_text gemma4_unified_text",
            ModelType(
                experts=_gemma4_experts,
                tensors=_gemma4_tensors,
                attention=gemma4,
                shared=True,
                layer_types=last_of(6),
                forced=last_is_full,
                activations_known=False,
                eager=True,
            ),
        ),
        "diffusion_gemma_text": ModelType(attention=gemma4, shared=True, layer_types=last_of(6), forced=last_is_full),
        "embedding_gemma2_text": ModelType(
            attention=gemma4, shared=True, layer_types=last_of(6, key="sliding_window_pattern"), forced=last_is_full
        ),
        "t5gemma": ModelType(generic=True, eager=True),
        **named(
            "t5gemma2_text t5gemma2_decoder",
            ModelType(generic=True, layer_types=last_of(6, key="sliding_window_pattern")),
        ),
    }
)
