"""GPT-2 and its kin, Falcon, Phi, gpt-oss: layouts of their own. One record a model type."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf.record import Activations, ExpectedTensor, Layout, ModelType, named
from inspector.architectures.hf_blocks import embedding, head, linear, norm, turned
from inspector.architectures.hf_caches import kv_cache
from inspector.architectures.hf_types import last_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Final

    from inspector.architectures.hf_caches import Caches
    from inspector.architectures.hf_config import HfConfig


def _gpt2_tensors(k: HfConfig) -> Iterator[ExpectedTensor]:
    hidden = k.need("hidden_size")
    width = k.count("intermediate_size") or 4 * hidden
    yield from embedding("wte", k)
    yield ExpectedTensor("wpe.weight", (k.need("max_position_embeddings"), hidden), "embedding")
    for i in range(k.n_layers):
        at = f"h.{i}."
        yield from norm(f"{at}ln_1", hidden, ln=True)
        yield from turned(f"{at}attn.c_attn", hidden, 3 * hidden, "attention")
        yield from turned(f"{at}attn.c_proj", hidden, hidden, "attention")
        yield from norm(f"{at}ln_2", hidden, ln=True)
        yield from turned(f"{at}mlp.c_fc", hidden, width, "mlp")
        yield from turned(f"{at}mlp.c_proj", width, hidden, "mlp")
    yield from norm("ln_f", hidden, ln=True)
    yield from head(k)


def gpt_bigcode(k: HfConfig, kind: str, _i: int) -> Caches:
    return kv_cache(k, kind, 1 if k.flag("multi_query", default=True) else k.n_heads, k.head_dim)


def _gpt_bigcode_tensors(k: HfConfig) -> Iterator[ExpectedTensor]:
    hidden, dim = k.need("hidden_size"), k.head_dim or 0
    width = k.count("intermediate_size") or 4 * hidden
    kv = dim if k.flag("multi_query", default=True) else hidden
    yield from embedding("transformer.wte", k)
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
    yield from head(k)


def _gptj_tensors(k: HfConfig) -> Iterator[ExpectedTensor]:
    """GPT-J and CodeGen: one norm a layer, no bias in attention, one in the MLP and the head."""
    hidden, vocab = k.need("hidden_size"), k.need("vocab_size")
    width = k.count("intermediate_size") or 4 * hidden
    yield from embedding("transformer.wte", k)
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
    if not k.tied:
        yield from linear("lm_head", vocab, hidden, "output", bias=True)
    else:
        yield ExpectedTensor("lm_head.bias", (vocab,), "output")


def _gpt_neox_tensors(k: HfConfig) -> Iterator[ExpectedTensor]:
    hidden, bias = k.need("hidden_size"), k.flag("attention_bias", default=True)
    width = k.need("intermediate_size")
    yield from embedding("gpt_neox.embed_in", k)
    for i in range(k.n_layers):
        at = f"gpt_neox.layers.{i}."
        yield from norm(f"{at}input_layernorm", hidden, ln=True)
        yield from norm(f"{at}post_attention_layernorm", hidden, ln=True)
        yield from linear(f"{at}attention.query_key_value", 3 * hidden, hidden, "attention", bias=bias)
        yield from linear(f"{at}attention.dense", hidden, hidden, "attention", bias=bias)
        yield from linear(f"{at}mlp.dense_h_to_4h", width, hidden, "mlp", bias=True)
        yield from linear(f"{at}mlp.dense_4h_to_h", hidden, width, "mlp", bias=True)
    yield from norm("gpt_neox.final_layer_norm", hidden, ln=True)
    yield from head(k, "embed_out", default_tied=False)


def _opt_tensors(k: HfConfig) -> Iterator[ExpectedTensor]:
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
    yield from head(k)


def _bloom_tensors(k: HfConfig) -> Iterator[ExpectedTensor]:
    hidden = k.need("hidden_size")
    yield from embedding("word_embeddings", k)
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
    yield from head(k)


def _mpt_tensors(k: HfConfig) -> Iterator[ExpectedTensor]:
    """No biases at all, and four times as wide whatever expansion_ratio says (modeling_mpt.py)."""
    hidden = k.need("hidden_size")
    width = 4 * hidden
    yield from embedding("transformer.wte", k)
    for i in range(k.n_layers):
        at = f"transformer.blocks.{i}."
        yield from norm(f"{at}norm_1", hidden)
        yield from linear(f"{at}attn.Wqkv", 3 * hidden, hidden, "attention")
        yield from linear(f"{at}attn.out_proj", hidden, hidden, "attention")
        yield from norm(f"{at}norm_2", hidden)
        yield from linear(f"{at}ffn.up_proj", width, hidden, "mlp")
        yield from linear(f"{at}ffn.down_proj", hidden, width, "mlp")
    yield from norm("transformer.norm_f", hidden)
    yield from head(k)


def falcon(k: HfConfig, kind: str, _i: int) -> Caches:
    """One key-value head with multi_query; `num_kv_heads` with the new decoder; else as many as queries."""
    hidden, heads = k.count("hidden_size"), k.n_heads
    kv = k.n_kv_heads if k.flag("new_decoder_architecture") else 1 if k.flag("multi_query", default=True) else heads
    return kv_cache(k, kind, kv, hidden // heads if hidden and heads else None)


def _falcon_tensors(k: HfConfig) -> Iterator[ExpectedTensor]:
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
    yield from embedding("transformer.word_embeddings", k)
    for i in range(k.n_layers):
        at = f"transformer.h.{i}."
        for name in norms:
            yield from norm(at + name, hidden, ln=True)
        yield from linear(f"{at}self_attention.query_key_value", (heads + 2 * kv) * dim, hidden, "attention", bias=bias)
        yield from linear(f"{at}self_attention.dense", hidden, hidden, "attention", bias=bias)
        yield from linear(f"{at}mlp.dense_h_to_4h", width, hidden, "mlp", bias=bias)
        yield from linear(f"{at}mlp.dense_4h_to_h", hidden, width, "mlp", bias=bias)
    yield from norm("transformer.ln_f", hidden, ln=True)
    yield from head(k)


def dbrx(k: HfConfig, kind: str, _i: int) -> Caches:
    kv = k.sub("attn_config").get("kv_n_heads", 1)
    hidden, heads = k.count("hidden_size"), k.n_heads
    kv = kv if isinstance(kv, int) else None
    return kv_cache(k, kind, kv, hidden // heads if hidden and heads else None)


def _dbrx_experts(k: HfConfig) -> tuple[int | None, int | None]:
    own = k.sub("ffn_config")
    n, used = own.get("moe_num_experts", 4), own.get("moe_top_k", 1)
    return (n, used) if isinstance(n, int) and isinstance(used, int) else (None, None)


def jetmoe(k: HfConfig, kind: str, _i: int) -> Caches:
    return kv_cache(k, kind, k.count("num_key_value_heads"), k.count("kv_channels"))


MODEL_TYPES: Final[Mapping[str, ModelType]] = MappingProxyType(
    {
        "gpt2": ModelType(
            tensors=_gpt2_tensors,
            activations=Activations(residuals=6, mlp=4.0, attention=4, scores=(2, 0), qkv="fused_view"),
            rotary=0.0,
            ffn_multiple=4,
        ),
        "gpt_bigcode": ModelType(
            attention=gpt_bigcode,
            tensors=_gpt_bigcode_tensors,
            activations=Activations(residuals=6, mlp=2.0, attention=4, qkv="fused_view"),
            rotary=0.0,
            ffn_multiple=4,
        ),
        **named("gptj codegen", ModelType(tensors=_gptj_tensors, activations_known=False, ffn_multiple=4)),
        "gpt_neo": ModelType(eager=True, rotary=0.0, ffn_multiple=4),
        "gpt_neox": ModelType(tensors=_gpt_neox_tensors, activations=Activations(mlp=2.0, qkv="fused"), rotary=0.25),
        **named("gpt_neox_japanese trocr", ModelType(eager=True)),
        "opt": ModelType(tensors=_opt_tensors, activations=Activations(mlp=2.0, attention=4, positions=12), rotary=0.0),
        "bloom": ModelType(
            tensors=_bloom_tensors,
            activations=Activations(mlp=2.0, scores=(3, 8), qkv="fused_view"),
            eager=True,
            rotary=0.0,
            ffn_multiple=4,
        ),
        "mpt": ModelType(
            tensors=_mpt_tensors,
            activations=Activations(mlp=2.0, scores=(2, 8), qkv="fused_view"),
            eager=True,
            rotary=0.0,
            ffn_multiple=4,
        ),
        "falcon": ModelType(
            attention=falcon,
            tensors=_falcon_tensors,
            activations=Activations(mlp=2.0, scores=(4, 0), qkv="fused"),
            ffn_multiple=4,
            broadcast_key="new_decoder_architecture",
        ),
        "RefinedWeb": ModelType(attention=falcon, broadcast_key="new_decoder_architecture"),
        "RefinedWebModel": ModelType(attention=falcon),
        "starcoder2": ModelType(
            layout=Layout(mlp="c_fc", ln=True, bias_key="use_bias", mlp_bias_key="use_bias"),
            activations=Activations(mlp=2.0),
        ),
        **named("gpt-sw3 ctrl git phi4_multimodal", ModelType()),
        "biogpt": ModelType(activations_known=False, rotary=0.0),
        "xglm": ModelType(eager=True, rotary=0.0),
        "phi": ModelType(
            layout=Layout(
                norms=("input_layernorm",),
                qkv_bias=True,
                o_bias=True,
                o="dense",
                mlp="fc",
                mlp_bias=True,
                ln=True,
                final="model.final_layernorm",
                head_bias=True,
            ),
            activations=Activations(mlp=4.0, qkv="partial"),
            rotary=0.5,
        ),
        "phi3": ModelType(layout=Layout(fused_qkv=True, mlp="fused"), activations=Activations(mlp=4.0, qkv="fused")),
        "phimoe": ModelType(
            layout=Layout(ln=True, moe="phimoe", head_bias_key="lm_head_bias"),
            activations=Activations(fixed_k=2),
            plain_experts=True,
        ),
        "gpt_oss": ModelType(
            layer_types=last_of(2),
            layout=Layout(sinks=True, moe="gpt_oss"),
            activations=Activations(moe="gpt_oss", qkv="sinks", two_masks=True),
            eager=True,
            plain_experts=True,
        ),
        "nemotron": ModelType(layout=Layout(mlp="plain", ln=True), activations=Activations(), rotary=0.5),
        "dbrx": ModelType(attention=dbrx, experts=_dbrx_experts),
        "jetmoe": ModelType(attention=jetmoe),
    }
)
