"""The tensors that a config.json promises: names as published files write them, shapes, and what each is for.

Read off the modules that transformers 5.24.0 builds (models/*/modeling_*.py). Routed experts appear one by one, as
published files keep them, although transformers 5 fuses them once loaded. What is tied is left out, as are buffers.
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf_blocks import (
    ExpectedTensor,
    Family,
    attention,
    dense_mlp,
    experts_of,
    gated_delta_net,
    lightning,
    mamba1,
    mamba2,
    mla,
    mlp_of,
    norm,
    shortconv,
)
from inspector.architectures.hf_experts import moe_layers
from inspector.architectures.hf_older import OLDER
from inspector.architectures.hf_types import CONV, LINEAR, layer_types
from inspector.errors import FactsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Final

    from inspector.architectures.hf_config import HfConfig

# Kimi K2 has 70,000; a config that asks for more than this is not answered tensor by tensor.
MAX_TENSORS: Final = 80_000

_SANDWICH: Final = (
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)
_POST: Final = ("post_attention_layernorm", "post_feedforward_layernorm")
_GLM4: Final = ("input_layernorm", "post_attention_layernorm", "post_self_attn_layernorm", "post_mlp_layernorm")
_PLAIN: Final = Family()


def _each(names: str, family: Family) -> dict[str, Family]:
    return dict.fromkeys(names.split(), family)


# fmt: off
FAMILIES: Final[Mapping[str, Family]] = MappingProxyType({
    **_each("llama mistral ministral ministral3 granite smollm3 gemma exaone helium cwm iquestcoder "
                    "internlm3 seed_oss yi aquila", _PLAIN),
    "ernie4_5": Family(bias_key="use_bias", mlp_bias_key="use_bias"),
    "qwen2": Family(qkv_bias=True), "qwen2_vl_text": Family(qkv_bias=True), "qwen2_5_vl_text": Family(qkv_bias=True),
    "qwen3": Family(qk_norm="head"), "qwen3_vl_text": Family(qk_norm="head"),
    "gemma2": Family(norms=_SANDWICH), "gemma3_text": Family(norms=_SANDWICH, qk_norm="head"),
    "vaultgemma": Family(norms=("input_layernorm", "pre_feedforward_layernorm")),
    "phi3": Family(fused_qkv=True, mlp="fused"),
    "phi": Family(norms=("input_layernorm",), qkv_bias=True, o_bias=True, o="dense", mlp="fc", mlp_bias=True, ln=True,
                  final="model.final_layernorm", head_bias=True),
    "starcoder2": Family(mlp="c_fc", ln=True, bias_key="use_bias", mlp_bias_key="use_bias"),
    "stablelm": Family(ln=True, bias_key="", qkv_bias_key="use_qkv_bias", parallel_key="use_parallel_residual",
                       head_norm_key="qk_layernorm"),
    "cohere": Family(norms=("input_layernorm",), head_norm_key="use_qk_norm"),
    "cohere2": Family(norms=("input_layernorm",)),
    "olmo": Family(norms=(), final=""),
    "olmo2": Family(norms=_POST, qk_norm="full"), "olmo3": Family(norms=_POST, qk_norm="full"),
    "exaone4": Family(norms=_POST, qk_norm="head"),
    "glm": Family(mlp="fused"), "glm4": Family(norms=_GLM4, mlp="fused"),
    "arcee": Family(mlp="plain"), "nemotron": Family(mlp="plain", ln=True),
    "apertus": Family(norms=("attention_layernorm", "feedforward_layernorm"), mlp="xielu", qk_norm="head"),
    "hunyuan_v1_dense": Family(qk_norm="head", qk_norm_names=("query_layernorm", "key_layernorm")),
    # routed experts
    "mixtral": Family(moe="mixtral"), "olmoe": Family(qk_norm="full", moe="mlp"),
    "flex_olmo": Family(norms=_POST, qk_norm="full", moe="mlp"),
    "phimoe": Family(ln=True, moe="phimoe", head_bias_key="lm_head_bias"),
    "qwen2_moe": Family(qkv_bias_key="qkv_bias", moe="qwen"), "qwen3_moe": Family(qk_norm="head", moe="mlp"),
    "qwen3_vl_moe_text": Family(qk_norm="head", moe="mlp"),
    "gpt_oss": Family(sinks=True, moe="gpt_oss"),
    "glm4_moe": Family(head_norm_key="use_qk_norm", qk_norm_names=("q_norm", "k_norm"), moe="mlp"),
    "ernie4_5_moe": Family(bias_key="use_bias", mlp_bias_key="use_bias", moe="mlp"),
    **_each("exaone_moe hy_v3 dots1", Family(qk_norm="head", moe="mlp")), "solar_open": Family(moe="mlp"),
    "minimax_m2": Family(qk_norm="full", moe="mlp"),
    "granitemoe": Family(moe="granite"), "granitemoeshared": Family(moe="granite"),
    "llama4_text": Family(moe="llama4", mlp_at="feed_forward"),
    **_each("deepseek_v2 deepseek_v3 kimi_k2 deepseek_v32 glm_moe_dsa glm4_moe_lite", Family(mla=True, moe="mlp")),
    "youtu": Family(mla=True),
    # states beside attention
    "qwen3_next": Family(qk_norm="head", moe="qwen", gated_q=True),
    "qwen3_5_moe_text": Family(qk_norm="head", moe="qwen", gated_q=True),
    "qwen3_5_text": Family(qk_norm="head", gated_q=True),
    "minimax": Family(moe="mixtral"),
    "jamba": Family(norms=("input_layernorm", "pre_ff_layernorm"), mlp_at="feed_forward", moe="jamba",
                    final="model.final_layernorm"),
    "falcon_h1": Family(norms=("input_layernorm", "pre_ff_layernorm"), mlp_at="feed_forward",
                        final="model.final_layernorm"),
    "bamba": Family(norms=("input_layernorm", "pre_ff_layernorm"), mlp_at="feed_forward",
                    final="model.final_layernorm"),
    "granitemoehybrid": Family(moe="granite"),
    "lfm2": Family(norms=("operator_norm", "ffn_norm"), o="out_proj", qk_norm="head", final="model.embedding_norm",
                   qk_norm_names=("q_layernorm", "k_layernorm"), mlp="w123", mlp_at="feed_forward"),
    "lfm2_moe": Family(norms=("operator_norm", "ffn_norm"), o="out_proj", qk_norm="head", final="model.embedding_norm",
                       qk_norm_names=("q_layernorm", "k_layernorm"), mlp="w123", mlp_at="feed_forward", moe="lfm2"),
})
# fmt: on


def expected_tensors(k: HfConfig) -> tuple[ExpectedTensor, ...] | None:
    """Every tensor of the language model, or None where this architecture has no rule.

    Names and shapes are those of published files (outermost first). Raises FactsError where a key is missing that a
    shape depends on.
    """
    older = OLDER.get(k.model_type)
    family = FAMILIES.get(k.model_type)
    if older is None and family is None:
        return None
    try:
        found = older(k) if older is not None else _decoder(k, family) if family is not None else ()
        tensors: list[ExpectedTensor] = []
        for t in found:
            tensors.append(t)
            if len(tensors) > MAX_TENSORS:
                raise FactsError(f"config.json promises over {MAX_TENSORS:,} tensors")
    except (TypeError, ArithmeticError, AssertionError) as e:  # None or zero where a shape needs a count
        raise FactsError(f"config.json does not give all sizes of {k.model_type}") from e
    return tuple(tensors)


def tied(k: HfConfig) -> bool:
    """Whether the head is the embedding."""
    for mapping in (k.inner, k.outer):
        for key in ("tie_word_embeddings", "tie_embedding"):
            if isinstance(mapping.get(key), bool):
                return bool(mapping[key])
    return bool(k.defaults.get("tie_word_embeddings", True))


def _decoder(k: HfConfig, family: Family) -> Iterator[ExpectedTensor]:
    hidden, vocab = k.need("hidden_size"), k.need("vocab_size")
    yield ExpectedTensor("model.embed_tokens.weight", (vocab, hidden), "embedding")
    n = k.n_layers
    kinds, _ = layer_types(k, n)
    moe = moe_layers(k, n)
    for i in range(n):
        yield from _layer(k, family, f"model.layers.{i}.", kinds[i], routed=moe[i])
    if family.final:
        yield from norm(family.final or "model.norm", hidden, ln=family.ln)
    if not tied(k):
        yield ExpectedTensor("lm_head.weight", (vocab, hidden), "output")
        if family.head_bias or (family.head_bias_key and k.flag(family.head_bias_key)):
            yield ExpectedTensor("lm_head.bias", (vocab,), "output")


def _layer(k: HfConfig, family: Family, at: str, kind: str, *, routed: bool) -> Iterator[ExpectedTensor]:
    hidden = k.need("hidden_size")
    norms = family.norms
    if family.parallel_key and k.flag(family.parallel_key):
        norms = norms[:1]
    for name in norms:
        yield from norm(at + name, hidden, ln=family.ln)
    yield from _mixer(k, family, at, kind)
    if routed and family.moe:
        yield from experts_of(k, family, at)
    elif k.model_type == "granitemoehybrid":
        yield from mlp_of(k, family, at)  # dense models of the family have the shared MLP alone
    else:
        yield from dense_mlp(k, family, at + family.mlp_at + ".", _dense_width(k, family))


def _dense_width(k: HfConfig, family: Family) -> int:
    if family.moe == "llama4":
        return k.count("intermediate_size_mlp") or k.need("intermediate_size")
    if family.mlp == "w123" and not family.moe:
        return lfm2_width(k)
    return k.need("intermediate_size")


def lfm2_width(k: HfConfig) -> int:
    """LFM2 shrinks the width that it is given to two thirds and rounds up (modeling_lfm2.py)."""
    width = k.count("block_ff_dim") or k.need("intermediate_size")
    if not k.flag("block_auto_adjust_ff_dim", default=True):
        return width
    width = int(2 * width / 3)
    multiplier = k.get("block_ffn_dim_multiplier", 1.0)
    if multiplier is not None:
        width = int(multiplier * width)
    step = k.count("block_multiple_of", 256) or 256
    return step * ((width + step - 1) // step)


def _mixer(k: HfConfig, family: Family, at: str, kind: str) -> Iterator[ExpectedTensor]:
    if k.model_type == "falcon_h1":
        yield from mamba2(k, at + "mamba.")
        yield from attention(k, family, at + "self_attn.")
    elif kind == LINEAR:
        if k.model_type.startswith("qwen3_"):
            yield from gated_delta_net(k, at + "linear_attn.")
        elif k.model_type == "minimax":
            yield from lightning(k, at + "self_attn.")
        elif k.model_type == "jamba":
            yield from mamba1(k, at + "mamba.")
        else:
            yield from mamba2(k, at + "mamba.")
    elif kind == CONV:
        yield from shortconv(k, at + "conv.")
    elif family.mla:
        yield from mla(k, at + "self_attn.")
    else:
        yield from attention(k, family, at + "self_attn.")
