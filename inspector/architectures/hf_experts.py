"""Which layers route tokens to experts, how many experts there are, and how many a token uses."""

from __future__ import annotations

from types import MappingProxyType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Final

    from inspector.architectures.hf_config import HfConfig

    Rule = Callable[[HfConfig, int], Sequence[bool]]

SPARSE: Final = frozenset({"sparse", "moe", "hash_moe"})


def experts(k: HfConfig) -> tuple[int | None, int | None]:
    """Routed experts of a layer, and how many of them a token uses; None where the model has none."""
    if k.model_type == "dbrx":
        own = k.sub("ffn_config")
        n, used = own.get("moe_num_experts", 4), own.get("moe_top_k", 1)
        return (n, used) if isinstance(n, int) and isinstance(used, int) else (None, None)
    n, used = k.count("num_experts"), k.count("num_experts_per_tok")
    if k.model_type.startswith("gemma4") and not k.flag("enable_moe_block"):
        return None, None
    return (n, used) if n else (None, None)


def _from_first(key: str, default: int, *, freq: str = "") -> Rule:
    """Dense up to layer `key`, and routed from there on (every `freq`-th, where that key exists)."""

    def rule(k: HfConfig, n: int) -> Sequence[bool]:
        first = k.count(key, default) or 0
        listed = k.get(freq) if freq else None
        if isinstance(listed, list):
            return tuple(i >= first and i < len(listed) and bool(listed[i]) for i in range(n))
        step = (k.count(freq) if freq else None) or 1
        return tuple(i >= first and i % step == 0 for i in range(n))

    return rule


def _qwen(k: HfConfig, n: int) -> Sequence[bool]:
    dense = frozenset(k.ints("mlp_only_layers") or ())
    step = k.count("decoder_sparse_step") or 1
    return tuple(i not in dense and (i + 1) % step == 0 for i in range(n))


def _jamba(k: HfConfig, n: int) -> Sequence[bool]:
    period, offset = k.count("expert_layer_period") or 2, k.count("expert_layer_offset", 1)
    return tuple(i % period == offset for i in range(n))


def _llama4(k: HfConfig, n: int) -> Sequence[bool]:
    listed = k.ints("moe_layers")
    step = k.count("interleave_moe_layer_step") or 1
    moe = frozenset(range(step - 1, n, step) if listed is None else listed)
    return tuple(i in moe for i in range(n))


def _ernie(k: HfConfig, n: int) -> Sequence[bool]:
    start, step = k.count("moe_layer_start_index", 1) or 0, k.count("moe_layer_interval") or 1
    end = k.get("moe_layer_end_index")
    last = end if isinstance(end, int) and end >= 0 else n - 1
    return tuple((i + 1) % step == 0 and start <= i <= last for i in range(n))


def _nemotron_h(k: HfConfig, n: int) -> Sequence[bool]:
    from inspector.architectures.hf_types import layer_types

    return tuple(t == "moe" for t in layer_types(k, n)[0])


def _step3(k: HfConfig, n: int) -> Sequence[bool]:
    listed = k.get("moe_layers_enum")
    words = listed.split(",") if isinstance(listed, str) else [str(v) for v in listed or range(3, n)]
    moe = frozenset(int(w) for w in words if w.strip().isdecimal() and len(w) < 10)
    return tuple(i in moe for i in range(n))


def _each(names: str, rule: Rule) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


# fmt: off
RULES: Final[Mapping[str, Rule]] = MappingProxyType({
    **_each("qwen2_moe qwen3_moe qwen3_next qwen3_vl_moe_text qwen3_omni_moe_text", _qwen),
    **_each("deepseek_v2 deepseek_v3 deepseek_v32 kimi_k2 glm_moe_dsa glm4_moe glm4v_moe_text dots1 "
            "axk1 axk2 glm4_moe_lite dots3_note dots3_note_text mistral4 mistral_large4_text sarvam_mla "
            "sarvam_moe kimi_linear unlimited_ocr_text",
            _from_first("first_k_dense_replace", 1, freq="moe_layer_freq")),
    **_each("bailing_hybrid exaone_moe cohere2_moe", _from_first("first_k_dense_replace", 0)),
    "afmoe": _from_first("num_dense_layers", 0), "lfm2_moe": _from_first("num_dense_layers", 0),
    "hy_v3": _from_first("first_k_dense_replace", 1), "hy_v4": _from_first("first_k_dense_replace", 1),
    "laguna": _from_first("first_k_dense_replace", 1), "mimo_v2_flash": _from_first("", 1, freq="moe_layer_freq"),
    "beam": _from_first("first_k_dense_replace", 3), "glm5_next_text": _from_first("first_k_dense_replace", 3),
    "inkling_text": _from_first("dense_mlp_idx", 0),
    "flint": lambda k, n: tuple(i not in (k.ints("mlp_only_layers") or (0, 1)) for i in range(n)),
    "jamba": _jamba, "llama4_text": _llama4, "ernie4_5_moe": _ernie, "nemotron_h": _nemotron_h,
    "step3p7_text": _step3,
})
# fmt: on


def moe_layers(k: HfConfig, n: int) -> tuple[bool, ...]:
    """Which of `n` layers route: the file's own list, else the architecture's rule, else all or none."""
    n_experts, _ = experts(k)
    if not n_experts:
        return (False,) * n
    own = k.strings("mlp_layer_types")
    if own is not None:
        return tuple(i < len(own) and own[i] in SPARSE for i in range(n))
    rule = RULES.get(k.model_type)
    return tuple(rule(k, n)) if rule else (True,) * n
