"""DeepSeek, and what shares its latent attention or its routing: the model types of this family, one record each."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf.record import Activations, ExpectedTensor, Layout, ModelType, named
from inspector.architectures.hf_blocks import embedding, head, linear, mla, norm
from inspector.architectures.hf_caches import indexed, indexed_every, latent, latent_or_kv, own_row
from inspector.architectures.hf_decoders import gated, routed_experts
from inspector.architectures.hf_experts import from_first
from inspector.architectures.hf_types import FULL, INDEXED, SLIDING, all_layers, full_is_indexed
from inspector.layers import LatentCache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Final

    from inspector.architectures.hf_caches import Caches
    from inspector.architectures.hf_config import HfConfig


def two_latents(k: HfConfig, kind: str, i: int) -> Caches:
    """Two attentions in every layer (modeling_longcat_flash.py)."""
    return latent(k, kind, i) * 2


def _dots1_layers(k: HfConfig, n: int) -> Sequence[str]:
    start = k.count("max_window_layers", 0) or 0
    return tuple(SLIDING if k.count("sliding_window") and i >= start else FULL for i in range(n))


def dots3_note(k: HfConfig, kind: str, i: int) -> Caches:
    """Sliding layers have latents of their own size (`swa_*`, defaults in configuration_dots3_note.py)."""
    if kind != "sliding_attention":
        return indexed(k, kind, i)
    row = own_row(k, i)
    rank: int = row.get("kv_lora_rank") or k.count("swa_kv_lora_rank") or 1024
    rope: int = row.get("qk_rope_head_dim") or k.count("swa_qk_rope_head_dim") or 64
    return (LatentCache(rank, rope, k.count("sliding_window") or 512),)


def _dots3_note_layers(k: HfConfig, n: int) -> Sequence[str]:
    full = INDEXED if k.flag("use_dsa", default=True) else FULL
    slides = k.flag("use_sliding_window", default=True)
    return tuple(full if not slides or i < 2 or i % 4 == 1 else SLIDING for i in range(n))


def _vl2_tensors(k: HfConfig) -> Iterator[ExpectedTensor]:
    """DeepSeek-V2's layers, with ordinary attention where there is no latent (modeling_deepseekv2.py)."""
    from inspector.architectures.hf_tensors import laid_out

    yield from laid_out(k, Layout(mla=bool(k.count("kv_lora_rank")), moe="mlp"))
    if k.tied is None:
        yield ExpectedTensor("lm_head.weight", (k.need("vocab_size"), k.need("hidden_size")), "output")


def _longcat_tensors(k: HfConfig) -> Iterator[ExpectedTensor]:
    """Two attentions and two dense MLPs a layer, and experts beside them, some of which are empty
    (modeling_longcat_flash.py, which also counts rows for the empty ones in one of its fused tensors; files have none).
    """
    hidden, n = k.need("hidden_size"), k.need("num_experts")
    yield from embedding("model.embed_tokens", k)
    for i in range(k.n_layers):
        at = f"model.layers.{i}."
        yield from linear(f"{at}mlp.router.classifier", n + (k.count("zero_expert_num") or 0), hidden, "router")
        yield from routed_experts(f"{at}mlp.", n, hidden, k.need("moe_intermediate_size"))
        for j in range(2):
            yield from mla(k, Layout(mla=True), f"{at}self_attn.{j}.")
            yield from gated(f"{at}mlps.{j}.", hidden, k.need("intermediate_size"))
            yield from norm(f"{at}input_layernorm.{j}", hidden)
            yield from norm(f"{at}post_attention_layernorm.{j}", hidden)
    yield from norm("model.norm", hidden)
    yield from head(k, default_tied=False)


MODEL_TYPES: Final[Mapping[str, ModelType]] = MappingProxyType(
    {
        "deepseek_v2": ModelType(
            attention=latent_or_kv,
            moe_layers=from_first("first_k_dense_replace", 1, freq="moe_layer_freq"),
            layout=Layout(mla=True, moe="mlp"),
            activations=Activations(moe="float32", qkv="latent"),
        ),
        "deepseek_v3": ModelType(
            attention=latent_or_kv,
            moe_layers=from_first("first_k_dense_replace", 1, freq="moe_layer_freq"),
            layout=Layout(mla=True, moe="mlp"),
            unmarked_nextn=True,
            activations=Activations(moe="float32", qkv="latent"),
        ),
        "deepseek_v32": ModelType(
            attention=indexed,
            layer_types=all_layers(INDEXED),
            forced=full_is_indexed,
            moe_layers=from_first("first_k_dense_replace", 1, freq="moe_layer_freq"),
            layout=Layout(mla=True, indexer=True, moe="mlp"),
        ),
        "pangu_ultra_moe": ModelType(attention=latent_or_kv),
        "deepseek_vl_v2": ModelType(
            attention=latent_or_kv,
            moe_layers=from_first("first_k_dense_replace", 1, freq="moe_layer_freq"),
            tensors=_vl2_tensors,
        ),
        "kimi_k2": ModelType(
            attention=latent_or_kv,
            moe_layers=from_first("first_k_dense_replace", 1, freq="moe_layer_freq"),
            layout=Layout(mla=True, moe="mlp"),
        ),
        **named(
            "axk1 sarvam_mla",
            ModelType(attention=latent_or_kv, moe_layers=from_first("first_k_dense_replace", 1, freq="moe_layer_freq")),
        ),
        "axk2": ModelType(
            attention=indexed,
            layer_types=all_layers(INDEXED),
            moe_layers=from_first("first_k_dense_replace", 1, freq="moe_layer_freq"),
            vllm_indexer="",
        ),
        "youtu": ModelType(attention=latent_or_kv, layout=Layout(mla=True)),
        "sarvam_moe": ModelType(moe_layers=from_first("first_k_dense_replace", 1, freq="moe_layer_freq")),
        "longcat_flash": ModelType(attention=two_latents, tensors=_longcat_tensors),
        "dots1": ModelType(
            layer_types=_dots1_layers,
            moe_layers=from_first("first_k_dense_replace", 1, freq="moe_layer_freq"),
            layout=Layout(qk_norm="head", moe="mlp"),
            activations=Activations(moe="float32"),
        ),
        **named(
            "dots3_note dots3_note_text",
            ModelType(
                attention=dots3_note,
                layer_types=_dots3_note_layers,
                moe_layers=from_first("first_k_dense_replace", 1, freq="moe_layer_freq"),
                vllm_indexer="",
            ),
        ),
        "unlimited_ocr_text": ModelType(
            generic=True, moe_layers=from_first("first_k_dense_replace", 1, freq="moe_layer_freq")
        ),
        "hy_v3": ModelType(moe_layers=from_first("first_k_dense_replace", 1), layout=Layout(qk_norm="head", moe="mlp")),
        "hy_v4": ModelType(
            attention=indexed_every(4),
            layer_types=all_layers(INDEXED),
            moe_layers=from_first("first_k_dense_replace", 1),
            eager=True,
            vllm_indexer="",
        ),
        "hy_v4_vl_text": ModelType(attention=indexed_every(4), layer_types=all_layers(INDEXED), vllm_indexer=""),
    }
)
