"""Encoder-decoders: the decoder's own cache, and the encoder's keys and values. One record a model type."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf.record import ExpectedTensor, ModelType, named
from inspector.architectures.hf_blocks import embedding, head, linear, norm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Final

    from inspector.architectures.hf_config import HfConfig

    Tensors = Iterator[ExpectedTensor]


# ---- T5: no biases, positions as a bias of the first layer -----------------------------------------------------------


def _t5_attention(k: HfConfig, at: str, name: str, *, positions: bool) -> Tensors:
    hidden, heads = k.need("hidden_size"), k.need("num_attention_heads")
    inner = heads * k.need("head_dim")
    for part in ("q", "k", "v"):
        yield from linear(f"{at}{name}.{part}", inner, hidden, "attention")
    yield from linear(f"{at}{name}.o", hidden, inner, "attention")
    if positions:
        buckets = k.need("relative_attention_num_buckets")
        yield ExpectedTensor(f"{at}{name}.relative_attention_bias.weight", (buckets, heads), "attention")
    yield from norm(f"{at}layer_norm", hidden)


def _t5_ff(k: HfConfig, at: str) -> Tensors:
    hidden, width = k.need("hidden_size"), k.need("intermediate_size")
    gated = str(k.get("feed_forward_proj") or "relu").startswith("gated")
    for name in ("wi_0", "wi_1") if gated else ("wi",):
        yield from linear(f"{at}DenseReluDense.{name}", width, hidden, "mlp")
    yield from linear(f"{at}DenseReluDense.wo", hidden, width, "mlp")
    yield from norm(f"{at}layer_norm", hidden)


def _t5_stack(k: HfConfig, name: str, n: int, *, cross: bool) -> Tensors:
    for i in range(n):
        at = f"{name}.block.{i}.layer."
        yield from _t5_attention(k, f"{at}0.", "SelfAttention", positions=i == 0 or k.model_type == "umt5")
        if cross:
            yield from _t5_attention(k, f"{at}1.", "EncDecAttention", positions=False)
        yield from _t5_ff(k, f"{at}{2 if cross else 1}.")
    yield from norm(f"{name}.final_layer_norm", k.need("hidden_size"))


def _t5_tensors(k: HfConfig) -> Tensors:
    """One embedding for both stacks (modeling_t5.py)."""
    n = k.n_layers
    yield from embedding("shared", k)
    yield from _t5_stack(k, "encoder", n, cross=False)
    yield from _t5_stack(k, "decoder", k.layer_count("num_decoder_layers") or n, cross=True)
    yield from head(k)


# ---- BART and what is built like it ----------------------------------------------------------------------------------


def _bart_attention(at: str, hidden: int, *, k_bias: bool) -> Tensors:
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        yield from linear(f"{at}.{name}", hidden, hidden, "attention", bias=k_bias or name != "k_proj")
    yield from norm(f"{at}_layer_norm", hidden, ln=True)


def _bart_stack(k: HfConfig, name: str, *, k_bias: bool = True, final: bool = True) -> Tensors:
    hidden, decodes = k.need("hidden_size"), name.endswith("decoder")
    side = "decoder" if decodes else "encoder"
    width = k.need(f"{side}_ffn_dim")
    for i in range(k.layer_count(f"{side}_layers") or k.n_layers):
        at = f"{name}.layers.{i}."
        for attn in ("self_attn", "encoder_attn") if decodes else ("self_attn",):
            yield from _bart_attention(at + attn, hidden, k_bias=k_bias)
        yield from linear(f"{at}fc1", width, hidden, "mlp", bias=True)
        yield from linear(f"{at}fc2", hidden, width, "mlp", bias=True)
        yield from norm(f"{at}final_layer_norm", hidden, ln=True)
    if final:
        yield from norm(f"{name}.layer_norm", hidden, ln=True)


def _m2m_tensors(k: HfConfig) -> Tensors:
    """Positions are sines, computed and not stored (modeling_m2m_100.py)."""
    yield from embedding("model.shared", k)
    yield from _bart_stack(k, "model.encoder")
    yield from _bart_stack(k, "model.decoder")
    yield from head(k)


def _whisper_tensors(k: HfConfig) -> Tensors:
    """Two convolutions over the spectrogram; keys without a bias; positions of both sides (modeling_whisper.py)."""
    hidden, bins = k.need("hidden_size"), k.need("num_mel_bins")
    for name, inner in (("conv1", bins), ("conv2", hidden)):
        yield ExpectedTensor(f"model.encoder.{name}.weight", (hidden, inner, 3), "other")
        yield ExpectedTensor(f"model.encoder.{name}.bias", (hidden,), "other")
    for side, key in (("encoder", "max_source_positions"), ("decoder", "max_target_positions")):
        yield ExpectedTensor(f"model.{side}.embed_positions.weight", (k.need(key), hidden), "embedding")
        yield from _bart_stack(k, f"model.{side}", k_bias=False)
    yield from embedding("model.decoder.embed_tokens", k)
    yield from head(k, "proj_out")


def _bart_tensors(k: HfConfig) -> Tensors:
    """Learned positions, two rows more than there are; mBART ends each stack with a norm (modeling_bart.py)."""
    hidden = k.need("hidden_size")
    yield from embedding("model.shared", k)
    for side in ("encoder", "decoder"):
        rows = k.need("max_position_embeddings") + 2
        yield ExpectedTensor(f"model.{side}.embed_positions.weight", (rows, hidden), "embedding")
        yield from norm(f"model.{side}.layernorm_embedding", hidden, ln=True)
        yield from _bart_stack(k, f"model.{side}", final=k.model_type == "mbart")
    yield from head(k)


_T5: Final = ("num_decoder_layers", "num_heads")
_BART: Final = ("decoder_layers", "decoder_attention_heads")

MODEL_TYPES: Final[Mapping[str, ModelType]] = MappingProxyType(
    {
        **named("t5 mt5 umt5", ModelType(seq2seq=_T5, tensors=_t5_tensors)),
        **named("longt5 switch_transformers", ModelType(seq2seq=_T5)),
        **named("bart mbart", ModelType(seq2seq=_BART, tensors=_bart_tensors)),
        "m2m_100": ModelType(seq2seq=_BART, tensors=_m2m_tensors),
        "whisper": ModelType(seq2seq=_BART, tensors=_whisper_tensors),
        **named(
            "blenderbot blenderbot-small pegasus pegasus_x bigbird_pegasus led marian "
            "plbart nllb-moe fsmt seamless_m4t seamless_m4t_v2 speech_to_text",
            ModelType(seq2seq=_BART),
        ),
        "mvp": ModelType(seq2seq=_BART, eager=True),
        "prophetnet": ModelType(seq2seq=("num_decoder_layers", "num_decoder_attention_heads"), eager=True),
    }
)
