"""Which layer is which: rules that turn a config into one layer type a layer, by transformers' names.

Each rule is read off the `__post_init__` of a configuration class (transformers 5.24.0). A file's own `layer_types`
comes first; a rule speaks only where it is absent, unless `FORCED` says that the class overrides it.
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf_config import LEGACY_LAYER_TYPES, HfConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Final

    Rule = Callable[[HfConfig, int], Sequence[str]]

FULL, SLIDING, CHUNKED = "full_attention", "sliding_attention", "chunked_attention"
INDEXED, LINEAR, CONV = "indexed_attention", "linear_attention", "conv"
HYBRID, HYBRID_SLIDING = "hybrid", "hybrid_sliding"


def _all(kind: str) -> Rule:
    return lambda _k, n: (kind,) * n


def _last_of(period: int, *, key: str = "", other: str = SLIDING, mark: str = FULL) -> Rule:
    """The last layer of every `period` (or of every `key` layers, where the file has that key) is `mark`."""

    def rule(k: HfConfig, n: int) -> Sequence[str]:
        p = (k.count(key) if key else None) or period
        return tuple(other if (i + 1) % p else mark for i in range(n))

    return rule


def _first_of(period: int, *, key: str = "", other: str = SLIDING) -> Rule:
    def rule(k: HfConfig, n: int) -> Sequence[str]:
        p = (k.count(key) if key else None) or period
        return tuple(other if i % p else FULL for i in range(n))

    return rule


def _where(full: Callable[[int, int], bool], *, other: str = SLIDING, mark: str = FULL) -> Rule:
    """`full(i, n)` says which layers are `mark`."""
    return lambda _k, n: tuple(mark if full(i, n) else other for i in range(n))


def by_window(k: HfConfig, n: int) -> Sequence[str]:
    """One window for all layers, where a config has one (cache_utils.py get_layer_types_and_kwargs)."""
    if k.count("sliding_window"):
        return (SLIDING,) * n
    return (CHUNKED if k.count("attention_chunk_size") else FULL,) * n


def _switched_window(k: HfConfig, n: int) -> Sequence[str]:
    """`sliding_window` counts only with `use_sliding_window`, and then from `max_window_layers` on."""
    if not k.flag("use_sliding_window") or not k.count("sliding_window"):
        return (FULL,) * n
    start = k.count("max_window_layers", 0) or 0
    return tuple(SLIDING if i >= start else FULL for i in range(n))


def _qwen2_moe(k: HfConfig, n: int) -> Sequence[str]:
    if not k.flag("use_sliding_window"):
        return (FULL,) * n
    stop = k.count("max_window_layers", 0) or 0
    return tuple(SLIDING if (i + 1) % 2 and i < stop else FULL for i in range(n))


def _dots1(k: HfConfig, n: int) -> Sequence[str]:
    start = k.count("max_window_layers", 0) or 0
    return tuple(SLIDING if k.count("sliding_window") and i >= start else FULL for i in range(n))


def _smollm3(k: HfConfig, n: int) -> Sequence[str]:
    if not k.flag("use_sliding_window") or not k.count("sliding_window"):
        return (FULL,) * n
    interval = k.count("no_rope_layer_interval") or 4
    rope = k.ints("no_rope_layers") or tuple(int((i + 1) % interval != 0) for i in range(n))
    return tuple(FULL if i >= len(rope) or rope[i] else SLIDING for i in range(n))


def _llama4(k: HfConfig, n: int) -> Sequence[str]:
    """1 in `no_rope_layers` means that the layer has rope, and with it chunks."""
    rope = k.ints("no_rope_layers") or ()
    step = k.count("no_rope_layer_interval") or 4
    has_rope = rope if len(rope) >= n else tuple(int((i + 1) % step != 0) for i in range(n))
    return tuple(CHUNKED if has_rope[i] else FULL for i in range(n))


def _exaone4(k: HfConfig, n: int) -> Sequence[str]:
    if not k.count("sliding_window"):
        return (FULL,) * n
    pattern = k.get("sliding_window_pattern")
    if isinstance(pattern, str) and pattern:  # published files write it out: "LLLG"
        return tuple(FULL if pattern[i % len(pattern)] == "G" or i == n - 1 else SLIDING for i in range(n))
    return _last_of(4, key="sliding_window_pattern")(k, n)


def _jamba(k: HfConfig, n: int) -> Sequence[str]:
    period, offset = k.count("attn_layer_period") or 8, k.count("attn_layer_offset", 4)
    return tuple(FULL if i % period == offset else LINEAR for i in range(n))


def _bamba(k: HfConfig, n: int) -> Sequence[str]:
    attention = frozenset(k.ints("attn_layer_indices") or ())
    return tuple(FULL if i in attention else LINEAR for i in range(n))


def _lfm2(k: HfConfig, n: int) -> Sequence[str]:
    listed = k.ints("full_attn_idxs")
    attention = frozenset(range(n) if listed is None else listed)
    return tuple(FULL if i in attention else CONV for i in range(n))


_NEMOTRON_CHARS: Final[Mapping[str, str]] = MappingProxyType({"M": LINEAR, "*": FULL, "-": "mlp", "E": "moe"})


def _nemotron_h(k: HfConfig, n: int) -> Sequence[str]:
    pattern = str(k.get("hybrid_override_pattern") or "")
    return tuple(_NEMOTRON_CHARS.get(c, c) for c in pattern[:n])


def _kimi_linear(k: HfConfig, n: int) -> Sequence[str]:
    """Published files list the layers of each kind, counted from 1."""
    listed = k.sub("linear_attn_config")
    full, kda = listed.get("full_attn_layers"), listed.get("kda_layers")
    if not isinstance(full, list) or not isinstance(kda, list):
        return tuple(FULL if i and i % 4 == 0 else LINEAR for i in range(n))
    return tuple(FULL if i + 1 in full else LINEAR if i + 1 in kda else "unlisted" for i in range(n))


def _zamba(k: HfConfig, n: int) -> Sequence[str]:
    period, offset = k.count("attn_layer_period") or 6, k.count("attn_layer_offset", 4)
    rest = (HYBRID if i % period == offset else LINEAR for i in range(max(n - 3, 0)))
    return ((LINEAR, LINEAR, HYBRID, *rest))[:n]


def _zamba2(_k: HfConfig, n: int) -> Sequence[str]:
    block = (LINEAR,) * 5 + (HYBRID,)
    whole = (LINEAR, *block * 7, *(LINEAR,) * 4, HYBRID, *(LINEAR,) * 3, HYBRID, *(LINEAR,) * 2)
    return whole[:n]  # the class writes out 54 layers; a longer model must list its own


def _recurrent_gemma(k: HfConfig, n: int) -> Sequence[str]:
    blocks = k.strings("block_types") or k.strings("_block_types") or ("recurrent", "recurrent", "attention")
    kinds = {"recurrent": LINEAR, "attention": SLIDING}
    return tuple(kinds.get(blocks[i % len(blocks)], blocks[i % len(blocks)]) for i in range(n))


def _cohere2_moe(k: HfConfig, n: int) -> Sequence[str]:
    dense = min(k.count("first_k_dense_replace", 0) or 0, n)
    first = k.count("prefix_dense_sliding_window_pattern") or 1
    return (*_last_of(first)(k, dense), *_last_of(4, key="sliding_window_pattern")(k, n - dense))


def _dots3_note(k: HfConfig, n: int) -> Sequence[str]:
    full = INDEXED if k.flag("use_dsa", default=True) else FULL
    slides = k.flag("use_sliding_window", default=True)
    return tuple(full if not slides or i < 2 or i % 4 == 1 else SLIDING for i in range(n))


def _inkling(k: HfConfig, n: int) -> Sequence[str]:
    listed = k.ints("local_layer_ids")
    local = frozenset(i for i in range(n) if (i + 1) % 6) if listed is None else frozenset(listed)
    return tuple(HYBRID_SLIDING if i in local else HYBRID for i in range(n))


def _minimax_m3(k: HfConfig, n: int) -> Sequence[str]:
    sparse = k.sub("sparse_attention_config").get("sparse_attention_freq")
    if not isinstance(sparse, list):
        return (FULL,) * n
    return tuple("minimax_m3_sparse" if f else FULL for f in sparse[:n])


def _minimax(k: HfConfig, n: int) -> Sequence[str]:
    listed = k.ints("attn_type_list")  # published files: 1 is softmax attention, 0 lightning
    if listed is not None:
        return tuple(FULL if i < len(listed) and listed[i] else LINEAR for i in range(n))
    return _last_of(2, other=FULL, mark=LINEAR)(k, n)


def _mllama(k: HfConfig, n: int) -> Sequence[str]:
    cross = frozenset(k.ints("cross_attention_layers") or (3, 8, 13, 18, 23, 28, 33, 38))
    return tuple("cross_attention" if i in cross else FULL for i in range(n))


def _modernbert_decoder(k: HfConfig, n: int) -> Sequence[str]:
    return _first_of(3, key="global_attn_every_n_layers")(k, n)


# fmt: off
RULES: Final[Mapping[str, Rule]] = MappingProxyType({
    "afmoe": _last_of(4, key="global_attn_every_n_layers"),
    "axk2": _all(INDEXED), "deepseek_v32": _all(INDEXED), "glm_moe_dsa": _all(INDEXED), "hy_v4": _all(INDEXED),
    "hy_v4_vl_text": _all(INDEXED), "mistral_large4_text": _all(INDEXED),
    "bailing_hybrid": _last_of(5, key="layer_group_size", other=LINEAR),
    "bamba": _bamba,
    "beam": _where(lambda i, n: (i + 1) % 6 == 0 or i == n - 1),
    "cohere2": _last_of(4, key="sliding_window_pattern"),
    "cohere2_moe": _cohere2_moe,
    "cohere_compass_text": _all(FULL),
    "cwm": _first_of(4),
    "diffusion_gemma_text": _last_of(6), "gemma4_text": _last_of(6), "gemma4_unified_text": _last_of(6),
    "embedding_gemma2_text": _last_of(6, key="sliding_window_pattern"),
    "dory": _last_of(4),
    "dots1": _dots1,
    "dots3_note_text": _dots3_note, "dots3_note": _dots3_note,
    "exaone4": _exaone4, "exaone_moe": _exaone4,
    "falcon_h1": _all(HYBRID),
    "falcon_mamba": _all(LINEAR), "mamba": _all(LINEAR), "mamba2": _all(LINEAR), "rwkv": _all(LINEAR),
    "flint": _where(lambda i, n: i < 2 or i % 4 == 1 or i == n - 1),
    "gemma2": _last_of(2), "vaultgemma": _last_of(2), "t5gemma_module": _last_of(2),
    "gemma3_text": _last_of(6, key="sliding_window_pattern"),
    "t5gemma2_text": _last_of(6, key="sliding_window_pattern"),
    "t5gemma2_decoder": _last_of(6, key="sliding_window_pattern"),
    "gemma3n_text": _last_of(5),
    "glm5_next_text": _last_of(4, other=LINEAR, mark=INDEXED),
    "gpt_oss": _last_of(2),
    "granite_swa": _first_of(4), "granitemoe_swa": _first_of(4),
    "granitemoehybrid": _all(LINEAR),
    "inkling_text": _inkling,
    "inkling2_text": _last_of(6, other=HYBRID_SLIDING, mark=HYBRID),
    "inkling2_loop_text": _last_of(6, other=HYBRID_SLIDING, mark=HYBRID),
    "deepseek_v4": _all("compressed_attention"), "qwen4_exp_text": _all("qwen4_exp"),
    "jamba": _jamba,
    "kimi_linear": _kimi_linear,
    "kolibri1": _last_of(5),
    "laguna": _all(FULL), "mellum": _all(FULL), "mistral4": _all(FULL),
    "lara_mini": lambda _k, n: tuple((LINEAR, SLIDING, LINEAR, FULL, SLIDING)[i % 5] for i in range(n)),
    "lfm2": _lfm2, "lfm2_moe": _lfm2,
    "lfm3": lambda _k, n: tuple(FULL if i % 4 == 2 else SLIDING if i % 4 == 0 and i else CONV for i in range(n)),
    "llama4_text": _llama4,
    "mimo_v2_flash": _where(lambda i, _n: i == 0 or (i + 1) % 6 == 0),
    "minimax": _minimax,
    "minimax_m3_vl_text": _minimax_m3,
    "mllama_text_model": _mllama,
    "modernbert": _modernbert_decoder, "modernbert-decoder": _modernbert_decoder,
    "muse_glimmer_text": _where(lambda i, n: (n - 1 - i) % 4 == 0),
    "muse_spark_text": _where(lambda i, n: (n - 1 - i) % 4 == 0),
    "nemotron_h": _nemotron_h,
    "olmo3": _last_of(4),
    "olmo_hybrid": _last_of(4, other=LINEAR),
    "qwen2": _switched_window, "qwen3": _switched_window, "qwen2_vl_text": _switched_window,
    "qwen2_5_vl_text": _switched_window, "qwen2_5_omni_text": _switched_window,
    "qwen2_moe": _qwen2_moe,
    "qwen3_moe": lambda k, n: by_window(k, n) if k.flag("use_sliding_window") else (FULL,) * n,
    "qwen3_5_text": _last_of(4, key="full_attention_interval", other=LINEAR),
    "qwen3_5_moe_text": _last_of(4, key="full_attention_interval", other=LINEAR),
    "qwen3_next": _last_of(4, key="full_attention_interval", other=LINEAR),
    "recurrent_gemma": _recurrent_gemma,
    "smollm3": _smollm3,
    "step3p7_text": _all(FULL),
    "zamba": _zamba, "zamba2": _zamba2,
    "zaya": _all(HYBRID),
    "xlstm": _all(LINEAR),
})
# fmt: on


def _force_last_full(types: Sequence[str]) -> Sequence[str]:
    return (*types[:-1], FULL) if types else types


# Classes that change a file's own list as well.
FORCED: Final[Mapping[str, Callable[[Sequence[str]], Sequence[str]]]] = MappingProxyType(
    {
        "gemma4_text": _force_last_full,
        "gemma4_unified_text": _force_last_full,
        "diffusion_gemma_text": _force_last_full,
        "embedding_gemma2_text": _force_last_full,
        "glm5_next_text": lambda types: tuple(INDEXED if t == FULL else t for t in types),
        "deepseek_v32": lambda types: tuple(INDEXED if t == FULL else t for t in types),
        "glm_moe_dsa": lambda types: tuple(INDEXED if t == FULL else t for t in types),
    }
)


def layer_types(k: HfConfig, n: int) -> tuple[tuple[str, ...], str]:
    """One type a layer, and the key or rule that decided."""
    own = k.strings("layer_types")
    if own is not None and k.model_type == "dory" and "mlp" in own:
        own = own[::2]  # older files list attention and MLP apart (configuration_dory.py)
    if own is not None:
        k.get("layer_types")
        types: Sequence[str] = tuple(LEGACY_LAYER_TYPES.get(t, t) for t in own[:n])
        decided = k.origin.get("layer_types", "layer_types")
    else:
        rule = RULES.get(k.model_type, by_window)
        types, decided = rule(k, n), f"{k.model_type} rule"
    if len(types) < n:
        k.note(f"{decided} names {len(types)} layers of {n}: the rest are unknown")
        types = (*types, *("unlisted",) * (n - len(types)))
    if k.model_type in FORCED:
        types = FORCED[k.model_type](types)
    return tuple(types), decided
