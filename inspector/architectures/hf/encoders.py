"""Encoders: every token sees every other, and nothing is kept: the model types of this family, one record each."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf.record import ExpectedTensor, ModelType, named
from inspector.architectures.hf_blocks import embedding, linear, norm
from inspector.architectures.hf_caches import SLIDING_TYPES, kv_cache
from inspector.architectures.hf_types import first_of
from inspector.architectures.towers.blocks import Encoder, encoder_layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Final

    from inspector.architectures.hf_caches import Caches
    from inspector.architectures.hf_config import HfConfig


def _bert_tensors(k: HfConfig) -> Iterator[ExpectedTensor]:
    """The encoder and its pooler, without a pre-training head: what sentence-embedding models publish."""
    hidden, width = k.need("hidden_size"), k.need("intermediate_size")
    yield from embedding("embeddings.word_embeddings", k)
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


def _vit_tensors(k: HfConfig) -> Iterator[ExpectedTensor]:
    """Patches and a class token, biases everywhere, a pooler (modeling_vit.py; defaults of configuration_vit.py)."""
    hidden, width = k.count("hidden_size", 768) or 0, k.count("intermediate_size", 3072) or 0
    patch, side = k.count("patch_size", 16) or 1, k.count("image_size", 224) or 0
    rows = (side // patch) ** 2 + 1
    yield ExpectedTensor("embeddings.cls_token", (1, 1, hidden), "embedding")
    yield ExpectedTensor("embeddings.position_embeddings", (1, rows, hidden), "embedding")
    shape = (hidden, k.count("num_channels", 3) or 0, patch, patch)
    yield ExpectedTensor("embeddings.patch_embeddings.projection.weight", shape, "embedding")
    yield ExpectedTensor("embeddings.patch_embeddings.projection.bias", (hidden,), "embedding")
    layer = Encoder(hidden, width, qkv_bias=k.flag("qkv_bias", default=True))
    yield from encoder_layers("encoder.layer.", k.layer_count("num_hidden_layers") or 12, layer)
    yield from norm("layernorm", hidden, ln=True)
    yield from linear("pooler.dense", k.count("pooler_output_size") or hidden, hidden, "other", bias=True)


def _modernbert_decoder_layers(k: HfConfig, n: int) -> Sequence[str]:
    return first_of(3, key="global_attn_every_n_layers")(k, n)


def attention(k: HfConfig, kind: str, _i: int) -> Caches:
    """ModernBERT's decoder looks back as far as half of its local attention (modeling_modernbert_decoder.py)."""
    window = None
    if kind in SLIDING_TYPES and not k.has("sliding_window"):
        window = (k.count("local_attention", 128) or 0) // 2
    return kv_cache(k, kind, k.n_kv_heads, k.head_dim, window=window)


MODEL_TYPES: Final[Mapping[str, ModelType]] = MappingProxyType(
    {
        **named(
            "albert big_bird convbert data2vec-text deberta deberta-v2 distilbert electra ernie esm esmc "
            "eurobert flaubert fnet funnel gte ibert jina_embeddings_v3 layoutlm layoutlmv3 longformer luke "
            "megatron-bert mobilebert mpnet mra neomme nomic_bert nystromformer perceiver "
            "roberta-prelayernorm roc_bert squeezebert tapas ultrabert xlm-roberta-xl xmod yoso new "
            "nomic_bert_moe clip siglip dinov2",
            ModelType(encoder=True),
        ),
        **named("bert camembert roberta xlm-roberta", ModelType(encoder=True, tensors=_bert_tensors)),
        "vit": ModelType(encoder=True, tensors=_vit_tensors),
        "modernbert": ModelType(encoder=True, layer_types=_modernbert_decoder_layers),
        "modernbert-decoder": ModelType(attention=attention, layer_types=_modernbert_decoder_layers),
        **named("rembert roformer", ModelType(encoder=True, eager=True)),
    }
)
