"""Tensors of architectures with layouts of their own: GPT-2 and its kin, BLOOM, Falcon, MPT, OPT, NeoX, Mamba, BERT."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf_blocks import (
    ExpectedTensor,
    Family,
    attention,
    dense_mlp,
    linear,
    mamba1,
    mamba2,
    norm,
)
from inspector.architectures.hf_experts import experts
from inspector.architectures.hf_types import FULL, LINEAR, layer_types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Final

    from inspector.architectures.hf_config import HfConfig

    Rule = Callable[[HfConfig], Iterator[ExpectedTensor]]


def _tied(k: HfConfig, *, default: bool) -> bool:
    value = k.outer.get("tie_word_embeddings", k.defaults.get("tie_word_embeddings", default))
    return value if isinstance(value, bool) else default


def _embedding(name: str, k: HfConfig) -> Iterator[ExpectedTensor]:
    yield ExpectedTensor(f"{name}.weight", (k.need("vocab_size"), k.need("hidden_size")), "embedding")


def _head(k: HfConfig, name: str = "lm_head", *, default_tied: bool = True) -> Iterator[ExpectedTensor]:
    if not _tied(k, default=default_tied):
        yield ExpectedTensor(f"{name}.weight", (k.need("vocab_size"), k.need("hidden_size")), "output")


def _turned(name: str, inner: int, out: int, role: str) -> Iterator[ExpectedTensor]:
    """GPT-2's Conv1D: a projection stored input first, always with a bias."""
    yield ExpectedTensor(f"{name}.weight", (inner, out), role)
    yield ExpectedTensor(f"{name}.bias", (out,), role)


def _gpt2(k: HfConfig) -> Iterator[ExpectedTensor]:
    hidden = k.need("hidden_size")
    width = k.count("intermediate_size") or 4 * hidden
    yield from _embedding("wte", k)
    yield ExpectedTensor("wpe.weight", (k.need("max_position_embeddings"), hidden), "embedding")
    for i in range(k.n_layers):
        at = f"h.{i}."
        yield from norm(f"{at}ln_1", hidden, ln=True)
        yield from _turned(f"{at}attn.c_attn", hidden, 3 * hidden, "attention")
        yield from _turned(f"{at}attn.c_proj", hidden, hidden, "attention")
        yield from norm(f"{at}ln_2", hidden, ln=True)
        yield from _turned(f"{at}mlp.c_fc", hidden, width, "mlp")
        yield from _turned(f"{at}mlp.c_proj", width, hidden, "mlp")
    yield from norm("ln_f", hidden, ln=True)
    yield from _head(k)


def _gpt_bigcode(k: HfConfig) -> Iterator[ExpectedTensor]:
    hidden, dim = k.need("hidden_size"), k.head_dim or 0
    width = k.count("intermediate_size") or 4 * hidden
    kv = dim if k.flag("multi_query", default=True) else hidden
    yield from _embedding("transformer.wte", k)
    yield ExpectedTensor("transformer.wpe.weight", (k.need("max_position_embeddings"), hidden), "embedding")
    for i in range(k.n_layers):
        at = f"transformer.h.{i}."
        yield from norm(f"{at}ln_1", hidden, ln=True)
        yield from linear(f"{at}attn.c_attn", hidden + 2 * kv, hidden, "attention", bias=True)
        yield from linear(f"{at}attn.c_proj", hidden, hidden, "attention", bias=True)
        yield from norm(f"{at}ln_2", hidden, ln=True)
        yield from linear(f"{at}mlp.c_fc", width, hidden, "mlp", bias=True)
        yield from linear(f"{at}mlp.c_proj", hidden, width, "mlp", bias=True)
    yield from norm("transformer.ln_f", hidden, ln=True)
    yield from _head(k)


def _gptj(k: HfConfig) -> Iterator[ExpectedTensor]:
    """GPT-J and CodeGen: one norm a layer, no bias in attention, one in the MLP and the head."""
    hidden, vocab = k.need("hidden_size"), k.need("vocab_size")
    width = k.count("intermediate_size") or 4 * hidden
    yield from _embedding("transformer.wte", k)
    for i in range(k.n_layers):
        at = f"transformer.h.{i}."
        yield from norm(f"{at}ln_1", hidden, ln=True)
        names = ("qkv_proj",) if k.model_type == "codegen" else ("q_proj", "k_proj", "v_proj")
        for name in names:
            yield from linear(f"{at}attn.{name}", hidden * 3 // len(names), hidden, "attention")
        yield from linear(f"{at}attn.out_proj", hidden, hidden, "attention")
        yield from linear(f"{at}mlp.fc_in", width, hidden, "mlp", bias=True)
        yield from linear(f"{at}mlp.fc_out", hidden, width, "mlp", bias=True)
    yield from norm("transformer.ln_f", hidden, ln=True)
    if not _tied(k, default=False):
        yield from linear("lm_head", vocab, hidden, "output", bias=True)
    else:
        yield ExpectedTensor("lm_head.bias", (vocab,), "output")


def _bloom(k: HfConfig) -> Iterator[ExpectedTensor]:
    hidden = k.need("hidden_size")
    yield from _embedding("word_embeddings", k)
    yield from norm("word_embeddings_layernorm", hidden, ln=True)
    for i in range(k.n_layers):
        at = f"h.{i}."
        yield from norm(f"{at}input_layernorm", hidden, ln=True)
        yield from linear(f"{at}self_attention.query_key_value", 3 * hidden, hidden, "attention", bias=True)
        yield from linear(f"{at}self_attention.dense", hidden, hidden, "attention", bias=True)
        yield from norm(f"{at}post_attention_layernorm", hidden, ln=True)
        yield from linear(f"{at}mlp.dense_h_to_4h", 4 * hidden, hidden, "mlp", bias=True)
        yield from linear(f"{at}mlp.dense_4h_to_h", hidden, 4 * hidden, "mlp", bias=True)
    yield from norm("ln_f", hidden, ln=True)
    yield from _head(k)


def _falcon(k: HfConfig) -> Iterator[ExpectedTensor]:
    """Norms by decoder generation: two for the new one, one in parallel attention, else two."""
    hidden, heads = k.need("hidden_size"), k.n_heads or 0
    dim, bias = hidden // heads, k.flag("bias")
    width = k.count("ffn_hidden_size") or 4 * hidden
    new = k.flag("new_decoder_architecture")
    kv = (k.n_kv_heads or heads) if new else 1 if k.flag("multi_query", default=True) else heads
    two = new and k.count("num_ln_in_parallel_attn", 2) != 1
    norms = ("ln_attn", "ln_mlp") if two else ("input_layernorm",)
    if not new and not k.flag("parallel_attn", default=True):
        norms = ("input_layernorm", "post_attention_layernorm")
    yield from _embedding("transformer.word_embeddings", k)
    for i in range(k.n_layers):
        at = f"transformer.h.{i}."
        for name in norms:
            yield from norm(at + name, hidden, ln=True)
        yield from linear(f"{at}self_attention.query_key_value", (heads + 2 * kv) * dim, hidden, "attention", bias=bias)
        yield from linear(f"{at}self_attention.dense", hidden, hidden, "attention", bias=bias)
        yield from linear(f"{at}mlp.dense_h_to_4h", width, hidden, "mlp", bias=bias)
        yield from linear(f"{at}mlp.dense_4h_to_h", hidden, width, "mlp", bias=bias)
    yield from norm("transformer.ln_f", hidden, ln=True)
    yield from _head(k)


def _mpt(k: HfConfig) -> Iterator[ExpectedTensor]:
    """No biases at all, and four times as wide whatever expansion_ratio says (modeling_mpt.py)."""
    hidden = k.need("hidden_size")
    width = 4 * hidden
    yield from _embedding("transformer.wte", k)
    for i in range(k.n_layers):
        at = f"transformer.blocks.{i}."
        yield from norm(f"{at}norm_1", hidden)
        yield from linear(f"{at}attn.Wqkv", 3 * hidden, hidden, "attention")
        yield from linear(f"{at}attn.out_proj", hidden, hidden, "attention")
        yield from norm(f"{at}norm_2", hidden)
        yield from linear(f"{at}ffn.up_proj", width, hidden, "mlp")
        yield from linear(f"{at}ffn.down_proj", hidden, width, "mlp")
    yield from norm("transformer.norm_f", hidden)
    yield from _head(k)


def _opt(k: HfConfig) -> Iterator[ExpectedTensor]:
    """Positions start at 2; OPT-350m embeds narrower than it computes and norms afterwards."""
    hidden, vocab = k.need("hidden_size"), k.need("vocab_size")
    embed, bias = k.count("word_embed_proj_dim") or hidden, k.flag("enable_bias", default=True)
    ln = k.flag("layer_norm_elementwise_affine", default=True)
    yield ExpectedTensor("model.decoder.embed_tokens.weight", (vocab, embed), "embedding")
    yield ExpectedTensor(
        "model.decoder.embed_positions.weight", (k.need("max_position_embeddings") + 2, hidden), "embedding"
    )
    if embed != hidden:
        yield from linear("model.decoder.project_in", hidden, embed, "embedding")
        yield from linear("model.decoder.project_out", embed, hidden, "output")
    if ln and k.flag("do_layer_norm_before", default=True) and not k.flag("_remove_final_layer_norm"):
        yield from norm("model.decoder.final_layer_norm", hidden, ln=True)
    for i in range(k.n_layers):
        at = f"model.decoder.layers.{i}."
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from linear(f"{at}self_attn.{name}", hidden, hidden, "attention", bias=bias)
        width = k.need("intermediate_size")
        yield from linear(f"{at}fc1", width, hidden, "mlp", bias=bias)
        yield from linear(f"{at}fc2", hidden, width, "mlp", bias=bias)
        if ln:
            yield from norm(f"{at}self_attn_layer_norm", hidden, ln=True)
            yield from norm(f"{at}final_layer_norm", hidden, ln=True)
    yield from _head(k)


def _gpt_neox(k: HfConfig) -> Iterator[ExpectedTensor]:
    hidden, bias = k.need("hidden_size"), k.flag("attention_bias", default=True)
    width = k.need("intermediate_size")
    yield from _embedding("gpt_neox.embed_in", k)
    for i in range(k.n_layers):
        at = f"gpt_neox.layers.{i}."
        yield from norm(f"{at}input_layernorm", hidden, ln=True)
        yield from norm(f"{at}post_attention_layernorm", hidden, ln=True)
        yield from linear(f"{at}attention.query_key_value", 3 * hidden, hidden, "attention", bias=bias)
        yield from linear(f"{at}attention.dense", hidden, hidden, "attention", bias=bias)
        yield from linear(f"{at}mlp.dense_h_to_4h", width, hidden, "mlp", bias=True)
        yield from linear(f"{at}mlp.dense_4h_to_h", hidden, width, "mlp", bias=True)
    yield from norm("gpt_neox.final_layer_norm", hidden, ln=True)
    yield from _head(k, "embed_out", default_tied=False)


def _mamba(k: HfConfig) -> Iterator[ExpectedTensor]:
    yield from _embedding("backbone.embeddings", k)
    for i in range(k.n_layers):
        yield from norm(f"backbone.layers.{i}.norm", k.need("hidden_size"))
        at = f"backbone.layers.{i}.mixer."
        yield from mamba2(k, at) if k.model_type == "mamba2" else mamba1(k, at, norms=False)
    yield from norm("backbone.norm_f", k.need("hidden_size"))
    yield from _head(k)


def _bert(k: HfConfig) -> Iterator[ExpectedTensor]:
    """The encoder and its pooler, without a pre-training head: what sentence-embedding models publish."""
    hidden, width = k.need("hidden_size"), k.need("intermediate_size")
    yield from _embedding("embeddings.word_embeddings", k)
    yield ExpectedTensor(
        "embeddings.position_embeddings.weight", (k.need("max_position_embeddings"), hidden), "embedding"
    )
    types = k.count("type_vocab_size", 2) or 0
    if types:
        yield ExpectedTensor("embeddings.token_type_embeddings.weight", (types, hidden), "embedding")
    yield from norm("embeddings.LayerNorm", hidden, ln=True)
    for i in range(k.n_layers):
        at = f"encoder.layer.{i}."
        for name in ("query", "key", "value"):
            yield from linear(f"{at}attention.self.{name}", hidden, hidden, "attention", bias=True)
        yield from linear(f"{at}attention.output.dense", hidden, hidden, "attention", bias=True)
        yield from norm(f"{at}attention.output.LayerNorm", hidden, ln=True)
        yield from linear(f"{at}intermediate.dense", width, hidden, "mlp", bias=True)
        yield from linear(f"{at}output.dense", hidden, width, "mlp", bias=True)
        yield from norm(f"{at}output.LayerNorm", hidden, ln=True)
    yield from linear("pooler.dense", hidden, hidden, "other", bias=True)


def _nemotron_h(k: HfConfig) -> Iterator[ExpectedTensor]:
    """One mixer a layer and nothing else: attention, state space, MLP or experts, all under one name."""
    hidden, n = k.need("hidden_size"), k.n_layers
    yield from _embedding("backbone.embeddings", k)
    for i, kind in enumerate(layer_types(k, n)[0]):
        at = f"backbone.layers.{i}.mixer."
        yield from norm(f"backbone.layers.{i}.norm", hidden)
        if kind == LINEAR:
            yield from mamba2(k, at)
        elif kind == FULL:
            yield from attention(k, Family(), at)
        elif kind == "mlp":
            yield from dense_mlp(k, Family(mlp="plain"), at, k.need("intermediate_size"))
        else:
            yield from _nemotron_experts(k, at, hidden)
    yield from norm("backbone.norm_f", hidden)
    yield from _head(k, default_tied=False)


def _nemotron_experts(k: HfConfig, at: str, hidden: int) -> Iterator[ExpectedTensor]:
    n, width, inner = experts(k)[0] or 0, k.need("moe_intermediate_size"), k.count("moe_latent_size") or hidden
    yield from linear(f"{at}gate", n, hidden, "router")
    if inner != hidden:
        yield from linear(f"{at}fc1_latent_proj", inner, hidden, "mlp")
        yield from linear(f"{at}fc2_latent_proj", hidden, inner, "mlp")
    for j in range(n):
        yield ExpectedTensor(f"{at}experts.{j}.up_proj.weight", (width, inner), "expert")
        yield ExpectedTensor(f"{at}experts.{j}.down_proj.weight", (inner, width), "expert")
    shared = k.count("moe_shared_expert_intermediate_size")
    if shared:
        yield from dense_mlp(k, Family(mlp="plain"), f"{at}shared_experts.", shared)


# fmt: off
OLDER: Final[Mapping[str, Rule]] = MappingProxyType({
    "gpt2": _gpt2, "gpt_bigcode": _gpt_bigcode, "gptj": _gptj, "codegen": _gptj, "bloom": _bloom, "falcon": _falcon,
    "mpt": _mpt, "opt": _opt, "gpt_neox": _gpt_neox, "mamba": _mamba, "falcon_mamba": _mamba, "mamba2": _mamba,
    "nemotron_h": _nemotron_h,
    "bert": _bert, "roberta": _bert, "xlm-roberta": _bert, "camembert": _bert,
})
# fmt: on
