"""Registry: how transformers' config.json (5.24.0) becomes layers that keep something. A model_type is one row."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures import hf_caches as caches
from inspector.architectures import hf_types as types
from inspector.architectures.hf_config import HfConfig
from inspector.layers import Cache, CrossCache, KVCache, LatentCache, Layer, StateCache, UnknownCache
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Final


class Row(Record):
    """One model_type. `attention` and `state` name builders in hf_caches.py (`state` "" where no layer has one).

    `encoder`: keeps nothing and sees both ways. `seq2seq`: a decoder that also keeps the encoder's keys and values;
    the names are the keys of its layer count and its heads. `shared`: the last `num_kv_shared_layers` reuse others'.
    `copies`: how often each layer runs, and stores, in one pass. `ref`: the modeling file, where the name differs.
    """

    attention: str = "kv"
    state: str = ""
    encoder: bool = False
    seq2seq: tuple[str, str] | None = None
    shared: bool = False
    generic: bool = False
    note: str = ""


def _rows(names: str, row: Row) -> dict[str, Row]:
    return dict.fromkeys(names.split(), row)


_PLAIN: Final = Row()
# fmt: off
ROWS: Final[Mapping[str, Row]] = MappingProxyType({
    # keys and values in every layer; which slide, hf_types.py says
    **_rows("llama granite olmo olmo2 olmo3 gpt_neox opt bloom mpt gpt2 gptj gpt_neo codegen mistral mixtral phi3 phi "
            "phimoe starcoder2 stablelm qwen2 qwen2_moe qwen3 qwen3_moe smollm3 gemma gemma2 gemma3_text vaultgemma "
            "cohere cohere2 cohere2_moe gpt_oss exaone exaone4 exaone_moe llama4_text glm glm4 glm4_moe ernie4_5 "
            "ernie4_5_moe seed_oss apertus arcee helium hunyuan_v1_dense hunyuan_v1_moe internlm3 internlm2 internlm "
            "jais2 minimax_m2 ministral ministral3 nemotron olmoe flex_olmo persimmon granitemoe granitemoeshared "
            "granite_swa granitemoe_swa solar_open doge diffllama bitnet cwm afmoe nanochat biogpt xglm ctrl cpmant "
            "gpt-sw3 gpt_neox_japanese hyperclovax iquestcoder kolibri1 laguna mellum flint beam sarvam_moe aria_text "
            "apertus1p5_text git dory hy_v3 phi4_multimodal emu3 emu3_text_model fuyu modernbert-decoder "
            "dots1 minimax_m3_vl_text "
            "qwen2_vl_text qwen2_5_vl_text qwen2_5_omni_text qwen3_vl_text qwen3_vl_moe_text qwen3_omni_moe_text "
            "glm4v_text glm4v_moe_text cohere_compass_text baichuan yi aquila xverse orion "
            "megrez step1 olmo1 minicpm trocr got_ocr2", _PLAIN),
    **_rows("falcon RefinedWeb RefinedWebModel", Row(attention="falcon")),
    "gpt_bigcode": Row(attention="gpt_bigcode"),
    "dbrx": Row(attention="dbrx"),
    "jetmoe": Row(attention="jetmoe"),
    "mimo_v2_flash": Row(attention="mimo"),
    **_rows("gemma4_text gemma4_unified_text diffusion_gemma_text embedding_gemma2_text",
            Row(attention="gemma4", shared=True)),
    "gemma3n_text": Row(shared=True),
    "mllama_text_model": Row(attention="mllama_cross"),
    "hrm_text": Row(note="every stack runs H_cycles × (L_cycles + 1) times, each with a cache of its own"),
    # latents
    **_rows("deepseek_v2 deepseek_v3 kimi_k2 axk1 glm4_moe_lite minicpm3 sarvam_mla youtu mistral4 deepseek_vl_v2 "
            "pangu_ultra_moe", Row(attention="latent_or_kv")),
    "longcat_flash": Row(attention="two_latents"),
    **_rows("deepseek_v32 glm_moe_dsa axk2 hy_v4 hy_v4_vl_text", Row(attention="indexed")),
    **_rows("dots3_note dots3_note_text", Row(attention="dots3_note")),
    # states of fixed size, alone or beside attention
    **_rows("mamba falcon_mamba", Row(state="mamba1")),
    "jamba": Row(state="mamba1"),
    "zamba": Row(attention="double_head_dim", state="mamba1"),
    "zamba2": Row(attention="double_head_dim", state="mamba2"),
    **_rows("mamba2 bamba falcon_h1 granitemoehybrid nemotron_h", Row(state="mamba2")),
    **_rows("qwen3_next qwen3_5_text qwen3_5_moe_text olmo_hybrid lara_mini", Row(state="gdn")),
    **_rows("kimi_linear bailing_hybrid", Row(attention="latent", state="kda")),
    "glm5_next_text": Row(attention="indexed", state="kda"),
    **_rows("lfm2 lfm2_moe lfm3", Row(state="shortconv")),
    "minimax": Row(state="lightning"),
    "recurrent_gemma": Row(state="rglru"),
    "rwkv": Row(state="rwkv"),
    "zaya": Row(state="cca"),
    **_rows("inkling_text inkling2_text inkling2_loop_text", Row(attention="swa_heads", state="inkling")),
    # encoders: nothing is kept
    **_rows("albert bert big_bird camembert convbert data2vec-text deberta deberta-v2 distilbert electra ernie esm "
            "esmc "
            "eurobert flaubert fnet funnel gte ibert jina_embeddings_v3 layoutlm layoutlmv3 longformer luke "
            "megatron-bert mobilebert modernbert mpnet mra neomme nomic_bert nystromformer perceiver rembert roberta "
            "roberta-prelayernorm roc_bert roformer squeezebert tapas ultrabert xlm-roberta xlm-roberta-xl "
            "xmod yoso new nomic_bert_moe clip siglip vit dinov2", Row(encoder=True)),
    # encoder-decoders: the decoder's own cache and the encoder's keys and values
    **_rows("t5 mt5 umt5 longt5 switch_transformers", Row(seq2seq=("num_decoder_layers", "num_heads"))),
    **_rows("bart mbart blenderbot blenderbot-small pegasus pegasus_x bigbird_pegasus led m2m_100 marian mvp plbart "
            "nllb-moe whisper fsmt seamless_m4t seamless_m4t_v2 speech_to_text",
            Row(seq2seq=("decoder_layers", "decoder_attention_heads"))),
    "prophetnet": Row(seq2seq=("num_decoder_layers", "num_decoder_attention_heads")),
})
# fmt: on

_STATEFUL: Final = frozenset({types.LINEAR, types.CONV, types.HYBRID, types.HYBRID_SLIDING})
_ATTENTIVE: Final = frozenset(
    {types.FULL, types.SLIDING, types.CHUNKED, types.INDEXED, types.HYBRID, types.HYBRID_SLIDING, "cross_attention"}
)
# What the names alone say, without knowing the architecture.
_GENERIC: Final = frozenset({types.FULL, types.SLIDING, types.CHUNKED})
_EMPTY: Final = frozenset({"moe", "mlp"})
_KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        types.FULL: "full",
        types.SLIDING: "sliding",
        types.CHUNKED: "chunked",
        types.INDEXED: "latent",
        types.HYBRID: "hybrid",
        types.HYBRID_SLIDING: "hybrid",
        types.LINEAR: "recurrent",
        types.CONV: "recurrent",
    }
)


def row_of(k: HfConfig) -> Row | None:
    """The registry's row for a config, or None for a model_type that has none."""
    return ROWS.get(k.model_type)


def _generic_row(k: HfConfig) -> Row:
    """A plain reading of the usual keys, for a model_type without a row."""
    if k.flag("is_encoder_decoder"):
        return Row(seq2seq=("decoder_layers", "decoder_attention_heads"))
    return Row(attention="latent_or_kv", state="unknown", generic=True)


def _layer_caches(k: HfConfig, row: Row, kind: str, i: int) -> tuple[Cache, ...]:
    if kind in _EMPTY:
        return ()
    if row.generic and kind not in _GENERIC:
        return (UnknownCache(kind),)
    kept: tuple[Cache, ...] = ()
    if kind in _ATTENTIVE:
        builder = "kv" if row.attention == "mllama_cross" and kind != "cross_attention" else row.attention
        kept += caches.ATTENTION[builder](k, kind, i)
    if kind in _STATEFUL:
        state = caches.STATES.get(row.state)
        kept += state(k, kind, i) if state else (UnknownCache(kind),)
    return kept if kind in _ATTENTIVE or kind in _STATEFUL else (UnknownCache(kind),)


def _kind(type_: str, kept: tuple[Cache, ...]) -> str:
    if any(isinstance(c, UnknownCache) for c in kept):
        return "unknown"
    if not kept:
        return "none"
    if any(isinstance(c, LatentCache) for c in kept):
        return "latent"
    if any(isinstance(c, StateCache) for c in kept) and not any(isinstance(c, KVCache) for c in kept):
        return "recurrent"
    return _KINDS.get(type_, "full")


def _shared_from(k: HfConfig, row: Row, n: int) -> int:
    """The first layer that reuses another's keys and values."""
    shared = k.count("num_kv_shared_layers", 0) or 0 if row.shared else 0
    return n - min(shared, n)


def _copies(k: HfConfig, n: int) -> tuple[int, ...]:
    """How often each layer runs in one pass: looped models store anew each time."""
    if k.model_type == "hrm_text":
        return ((k.count("H_cycles", 2) or 1) * ((k.count("L_cycles", 3) or 0) + 1),) * n
    if k.model_type == "dory" and k.get("recurrent_kv_cache_mode", "per_loop") == "per_loop":
        start, stop, times = (
            k.count("n_input_layers", 0) or 0,
            n - (k.count("n_output_layers", 0) or 0),
            "n_recurrent_loops",
        )
    elif k.model_type == "inkling2_loop_text":
        start, stop, times = (
            k.count("loop_layer_index_start", 0) or 0,
            k.count("loop_layer_index_end", n) or 0,
            "loop_num_passes",
        )
    else:
        return (1,) * n
    return tuple((k.count(times, 1) or 1) if start <= i < stop else 1 for i in range(n))


def _n_layers(k: HfConfig) -> int:
    """Layers that the weights have (hrm_text and dory write other counts into `num_hidden_layers`)."""
    if k.model_type == "hrm_text":
        return k.count("num_layers_per_stack") or k.n_layers
    own = k.strings("layer_types") or ()
    return k.n_layers // 2 if k.model_type == "dory" and "mlp" in own else k.n_layers


def moe_layers(k: HfConfig, n: int) -> tuple[bool, ...]:
    """Which layers route tokens to experts."""
    from inspector.architectures.hf_experts import moe_layers as decide

    return decide(k, n)


def _decoder_layers(k: HfConfig, row: Row) -> Iterable[Layer]:
    n = _n_layers(k)
    copies = _copies(k, n)
    kinds, decided = types.layer_types(k, n)
    first_shared = _shared_from(k, row, n)
    moe = moe_layers(k, n)
    for i, type_ in enumerate(kinds):
        kept = _layer_caches(k, row, type_, i) * copies[i]
        ffn = "moe" if moe[i] else "dense"
        window = next((w for c in kept if (w := getattr(c, "window", None))), None)
        if i >= first_shared:
            why = f"{k.prefix}num_kv_shared_layers"
            yield Layer(i, "shared", (), why, k.n_heads, k.n_kv_heads, ffn=ffn, window=window)
            continue
        heads = next((c.n_kv_heads for c in kept if isinstance(c, KVCache)), None)
        attends = bool(kept) and type_ in _ATTENTIVE
        n_heads = k.n_heads if attends else None
        yield Layer(i, _kind(type_, kept), kept, decided, n_heads, heads, ffn=ffn, window=window)


def _seq2seq_layers(k: HfConfig, row: Row) -> Iterable[Layer]:
    layer_key, head_key = row.seq2seq or ("", "")
    n = k.layer_count(layer_key) or k.n_layers
    heads = k.count(head_key) or k.n_heads
    hidden = k.count("hidden_size")
    dim = k.count("d_kv") or (hidden // heads if hidden and heads else None)
    moe = moe_layers(k, n)
    for i in range(n):
        kept: tuple[Cache, ...] = (UnknownCache("attention"),)
        if heads and dim:
            kept = (KVCache(heads, dim, dim), CrossCache(heads, dim, dim))
        yield Layer(i, _kind(types.FULL, kept), kept, layer_key, heads, heads, ffn="moe" if moe[i] else "dense")


def is_encoder(k: HfConfig) -> bool:
    """Whether every token sees every other, so that nothing is kept."""
    row = row_of(k)
    if row is not None and row.encoder:
        return not k.flag("is_decoder")
    return k.get("use_bidirectional_attention") in (True, "all")  # gemma3_text as an embedding model


def read_layers(k: HfConfig) -> tuple[Layer, ...]:
    """One Layer for each layer that runs in ordinary inference; of an encoder-decoder, those of the decoder.

    A layer type that has no rule holds an UnknownCache. Raises MissingKey, LimitExceeded.
    """
    row = row_of(k) or _generic_row(k)
    if is_encoder(k):
        why = f"{k.model_type} is an encoder" if row.encoder else f"{k.prefix}use_bidirectional_attention"
        return tuple(Layer(i, "none", (), why, k.n_heads, k.n_heads) for i in range(k.n_layers))
    if row.seq2seq:
        return tuple(_seq2seq_layers(k, row))
    return tuple(_decoder_layers(k, row))
