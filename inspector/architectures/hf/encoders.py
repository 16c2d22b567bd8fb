"""Encoders: every token sees every other, and nothing is kept: the model types of this family, one record each."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf.record import ExpectedTensor, ModelType, named
from inspector.architectures.hf_blocks import linear, norm
from inspector.architectures.hf_caches import SLIDING_TYPES, kv_cache
from inspector.architectures.hf_types import first_of
from inspector.architectures.towers.blocks import Encoder, encoder_layers
from inspector.errors import MissingKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Final

    from inspector.architectures.hf_caches import Caches
    from inspector.architectures.hf_config import HfConfig

    Tensors = Iterator[ExpectedTensor]


def _task(k: HfConfig) -> str:
    """What a class adds to its encoder: mlm, seq, token, pre, or nothing."""
    name = k.class_name
    tasks = {
        "MaskedLM": "mlm", "LMHeadModel": "mlm", "ForCausalLM": "mlm", "ForPreTraining": "pre",
        "SequenceClassification": "seq", "TokenClassification": "token", "QuestionAnswering": "qa",
    }  # fmt: skip
    return next((task for mark, task in tasks.items() if mark in name), "")


def _labels(k: HfConfig) -> int:
    """Classes of a classifier: two where nothing names them (configuration_utils.py)."""
    named = k.outer.get("id2label")
    return k.count("num_labels") or (len(named) if isinstance(named, dict) and named else 2)


def _words(k: HfConfig, *, types: int = 2, positions: bool = True, width: int = 0) -> Tensors:
    """Rows for words, places and kinds of token, and their norm."""
    width = width or k.need("hidden_size")
    yield ExpectedTensor("embeddings.word_embeddings.weight", (k.need("vocab_size"), width), "embedding")
    if positions:
        rows = k.need("max_position_embeddings")
        yield ExpectedTensor("embeddings.position_embeddings.weight", (rows, width), "embedding")
    if kinds := k.count("type_vocab_size", types) or 0:
        yield ExpectedTensor("embeddings.token_type_embeddings.weight", (kinds, width), "embedding")
    yield from norm("embeddings.LayerNorm", width, ln=True)


def _block(at: str, hidden: int, width: int) -> Tensors:
    """One layer of BERT: biases and LayerNorms everywhere."""
    for name in ("query", "key", "value"):
        yield from linear(f"{at}attention.self.{name}", hidden, hidden, "attention", bias=True)
    yield from linear(f"{at}attention.output.dense", hidden, hidden, "attention", bias=True)
    yield from norm(f"{at}attention.output.LayerNorm", hidden, ln=True)
    yield from linear(f"{at}intermediate.dense", width, hidden, "mlp", bias=True)
    yield from linear(f"{at}output.dense", hidden, width, "mlp", bias=True)
    yield from norm(f"{at}output.LayerNorm", hidden, ln=True)


def _blocks(k: HfConfig) -> Tensors:
    for i in range(k.n_layers):
        yield from _block(f"encoder.layer.{i}.", k.need("hidden_size"), k.need("intermediate_size"))


def _guesser(k: HfConfig, *, out: int = 0, bias: bool = True) -> Tensors:
    """What guesses masked words: one projection, a norm, a bias a word; its matrix is the embedding."""
    hidden = k.need("hidden_size")
    out = out or hidden
    yield from linear("cls.predictions.transform.dense", out, hidden, "other", bias=bias)
    yield from norm("cls.predictions.transform.LayerNorm", out, ln=True)
    yield ExpectedTensor("cls.predictions.bias", (k.need("vocab_size"),), "output")
    if k.tied is False:
        yield ExpectedTensor("cls.predictions.decoder.weight", (k.need("vocab_size"), out), "output")


def _dense(name: str, k: HfConfig) -> Tensors:
    hidden = k.need("hidden_size")
    yield from linear(name, hidden, hidden, "other", bias=True)


def _classifier(k: HfConfig, *, pooled: str = "") -> Tensors:
    """One row a class, behind a projection of its own where `pooled` names one."""
    if pooled:
        yield from _dense(pooled, k)
    yield from linear("classifier", _labels(k), k.need("hidden_size"), "other", bias=True)


def _bert_tensors(k: HfConfig) -> Tensors:
    """Pooled but where a class looks at every word (modeling_bert.py)."""
    task = _task(k)
    yield from _words(k)
    yield from _blocks(k)
    if task in ("", "seq", "pre"):
        yield from _dense("pooler.dense", k)
    if task in ("mlm", "pre"):
        yield from _guesser(k)
    if task == "pre":
        yield from linear("cls.seq_relationship", 2, k.need("hidden_size"), "other", bias=True)
    if task in ("seq", "token", "qa"):
        yield from _classifier(k)


def _end(k: HfConfig, task: str) -> Tensors:
    """The pooler, or the head that a class has in its place."""
    if not task:
        yield from _dense("pooler.dense", k)
    elif task in ("mlm", "pre"):
        yield from _guesser(k)
    else:
        yield from _classifier(k, pooled="classifier.dense" if task == "seq" else "")


def _roberta_tensors(k: HfConfig) -> Tensors:
    """Classifiers have a projection of their own in the pooler's place (modeling_roberta.py)."""
    task = _task(k)
    yield from _words(k)
    yield from _blocks(k)
    yield from _end(k, task)


def _distilbert_tensors(k: HfConfig) -> Tensors:
    hidden, width, task = k.need("hidden_size"), k.need("hidden_dim"), _task(k)
    yield from _words(k, types=0)
    for i in range(k.n_layers):
        yield from _block(f"transformer.layer.{i}.", hidden, width)
    if task in ("mlm", "pre"):
        yield from _guesser(k)
    elif task:
        yield from _classifier(k, pooled="pre_classifier" if task == "seq" else "")


def _electra_tensors(k: HfConfig) -> Tensors:
    """A narrow embedding, widened; discriminator and generator have heads of their own (modeling_electra.py)."""
    hidden, narrow, task = k.need("hidden_size"), k.need("embedding_size"), _task(k)
    yield from _words(k, width=narrow)
    if narrow != hidden:
        yield from linear("embeddings_project", hidden, narrow, "embedding", bias=True)
    yield from _blocks(k)
    if task == "mlm":
        yield from _guesser(k, out=narrow)
    elif task == "pre":
        yield from _dense("discriminator_predictions.dense", k)
        yield from linear("discriminator_predictions.dense_prediction", 1, hidden, "other", bias=True)
    elif task:
        yield from _classifier(k, pooled="classifier.dense" if task == "seq" else "")


def _albert_tensors(k: HfConfig) -> Tensors:
    """One block a group, however often it runs (modeling_albert.py)."""
    hidden, narrow, task = k.need("hidden_size"), k.need("embedding_size"), _task(k)
    yield from _words(k, width=narrow)
    yield from linear("encoder.embedding_hidden_mapping_in", hidden, narrow, "embedding", bias=True)
    for i in range((k.layer_count("num_hidden_groups") or 1) * (k.layer_count("inner_group_num") or 1)):
        yield from _block(f"encoder.albert_layer_groups.{i}.", hidden, k.need("intermediate_size"))
    if task in ("", "seq", "pre"):
        yield from _dense("pooler", k)
    if task in ("mlm", "pre"):
        yield from _guesser(k, out=narrow)
    if task == "pre":
        yield from linear("sop_classifier.classifier", _labels(k), hidden, "other", bias=True)
    if task in ("seq", "token", "qa"):
        yield from _classifier(k)


def _mpnet_tensors(k: HfConfig) -> Tensors:
    """Like RoBERTa, with a table of distances that all layers share (modeling_mpnet.py)."""
    task = _task(k)
    yield from _words(k, types=0)
    yield from _blocks(k)
    rows = k.count("relative_attention_num_buckets", 32) or 0
    yield ExpectedTensor("encoder.relative_attention_bias.weight", (rows, k.need("num_attention_heads")), "attention")
    yield from _end(k, task)


def _deberta_v2_tensors(k: HfConfig) -> Tensors:
    """Distances in a table of their own, shared projections, a convolution where asked for (modeling_deberta_v2.py)."""
    hidden, task = k.need("hidden_size"), _task(k)
    if k.get("embedding_size") not in (None, hidden):
        raise MissingKey("an embedding of another width has no rule here")
    yield from _words(k, types=0, positions=k.flag("position_biased_input", default=True))
    yield from _blocks(k)
    yield from _deberta_distances(k, hidden)
    if task in ("mlm", "pre"):
        yield from _guesser(k)
    elif task == "seq":
        yield from _classifier(k, pooled="pooler.dense")
    elif task:
        yield from _classifier(k)


def _deberta_distances(k: HfConfig, hidden: int) -> Tensors:
    if k.flag("relative_attention"):
        most = k.count("max_relative_positions") or k.need("max_position_embeddings")
        rows = (k.count("position_buckets") or most) * 2
        yield ExpectedTensor("encoder.rel_embeddings.weight", (rows, hidden), "embedding")
        if "layer_norm" in str(k.get("norm_rel_ebd", "")):
            yield from norm("encoder.LayerNorm", hidden, ln=True)
        if not k.flag("share_att_key"):
            raise MissingKey("distances with projections of their own have no rule here")
    if kernel := k.count("conv_kernel_size") or 0:
        yield ExpectedTensor("encoder.conv.conv.weight", (hidden, hidden, kernel), "attention")
        yield ExpectedTensor("encoder.conv.conv.bias", (hidden,), "attention")
        yield from norm("encoder.conv.LayerNorm", hidden, ln=True)


def _modernbert_tensors(k: HfConfig) -> Tensors:
    """No biases but the decoder's; the first layer's norm is the embedding's (modeling_modernbert.py)."""
    hidden, width, task = k.need("hidden_size"), k.need("intermediate_size"), _task(k)
    bias = {name: k.flag(f"{name}_bias") for name in ("norm", "attention", "mlp", "classifier")}
    yield ExpectedTensor("embeddings.tok_embeddings.weight", (k.need("vocab_size"), hidden), "embedding")
    yield from norm("embeddings.norm", hidden, ln=bias["norm"])
    for i in range(k.n_layers):
        at = f"layers.{i}."
        for name in ("attn_norm", "mlp_norm") if i else ("mlp_norm",):
            yield from norm(at + name, hidden, ln=bias["norm"])
        yield from linear(f"{at}attn.Wqkv", 3 * hidden, hidden, "attention", bias=bias["attention"])
        yield from linear(f"{at}attn.Wo", hidden, hidden, "attention", bias=bias["attention"])
        yield from linear(f"{at}mlp.Wi", 2 * width, hidden, "mlp", bias=bias["mlp"])
        yield from linear(f"{at}mlp.Wo", hidden, width, "mlp", bias=bias["mlp"])
    yield from norm("final_norm", hidden, ln=bias["norm"])
    if task:
        yield from linear("head.dense", hidden, hidden, "other", bias=bias["classifier"])
        yield from norm("head.norm", hidden, ln=bias["norm"])
    if task in ("mlm", "pre"):
        yield ExpectedTensor("decoder.bias", (k.need("vocab_size"),), "output")
    elif task:
        yield from _classifier(k)


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
            "big_bird convbert data2vec-text deberta ernie esm esmc "
            "eurobert flaubert fnet funnel gte ibert jina_embeddings_v3 layoutlm layoutlmv3 longformer luke "
            "megatron-bert mobilebert mra neomme nomic_bert nystromformer perceiver "
            "roberta-prelayernorm roc_bert squeezebert tapas ultrabert xlm-roberta-xl xmod yoso new "
            "nomic_bert_moe clip siglip dinov2",
            ModelType(encoder=True),
        ),
        "bert": ModelType(encoder=True, tensors=_bert_tensors),
        **named("camembert roberta xlm-roberta", ModelType(encoder=True, tensors=_roberta_tensors)),
        "distilbert": ModelType(encoder=True, tensors=_distilbert_tensors),
        "electra": ModelType(encoder=True, tensors=_electra_tensors),
        "albert": ModelType(encoder=True, tensors=_albert_tensors),
        "mpnet": ModelType(encoder=True, tensors=_mpnet_tensors),
        "deberta-v2": ModelType(encoder=True, tensors=_deberta_v2_tensors),
        "vit": ModelType(encoder=True, tensors=_vit_tensors),
        "modernbert": ModelType(encoder=True, layer_types=_modernbert_decoder_layers, tensors=_modernbert_tensors),
        "modernbert-decoder": ModelType(attention=attention, layer_types=_modernbert_decoder_layers),
        **named("rembert roformer", ModelType(encoder=True, eager=True)),
    }
)
