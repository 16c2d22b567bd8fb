"""Which element type llama-quantize gives a tensor: the rules, as tables.

Source: src/llama-quant.cpp of llama.cpp b11434 (`tensor_allows_quantization`, `tensor_get_category`,
`llama_tensor_get_type_impl`, `tensor_type_fallback`, `tensor_requires_imatrix`).
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Final

# fmt: off
# A tensor whose name holds one of these stays as it is, whatever the target.
_KEPT_ANYWHERE: Final = (
    "_norm.weight",
    "ffn_gate_inp.weight", "ffn_gate_tid2eid.weight",            # routing
    "altup", "laurel", "per_layer_model_proj",                   # Gemma 3n
    "ssm_conv1d", "shortconv.conv.weight",                       # short convolutions
    "indexer.k_proj.weight", "indexer.q_proj.weight",            # block selectors
    "time_mix_first.weight",
    "time_mix_w0.weight", "time_mix_w1.weight", "time_mix_w2.weight",
    "time_mix_v0.weight", "time_mix_v1.weight", "time_mix_v2.weight",
    "time_mix_a0.weight", "time_mix_a1.weight", "time_mix_a2.weight",
    "time_mix_g1.weight", "time_mix_g2.weight",
    "time_mix_decay_w1.weight", "time_mix_decay_w2.weight", "time_mix_lerp_fused.weight",
    "attn_rel_b.weight",                                         # relative positions (T5)
    ".position_embd", "sam.pos_embd", "sam.neck.", "sam.net_",   # vision and audio towers
    ".rel_pos", ".patch_embd", ".patch_merger",
    "a.rvq.codebook", "mm.a.code_embd",
)
_KEPT_WHOLE_NAMES: Final = ("position_embd.weight", "token_types.weight")
_KEPT_BY_ARCH: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({
    "glm5-next": (
        "hc_", "indexer.attn_q_b", "indexer.attn_k", "indexer.proj", "indexer_compressor_gate",
        "indexer_compressor_ape", "ssm_f_a.weight", "ssm_f_b.weight", "ssm_g_a.weight", "ssm_g_b.weight",
        "ssm_beta.weight", "attn_kv_a_mqa.weight", "attn_k_b.weight", "attn_v_b.weight",
    ),
})
# Tensors to which an architecture gives Q8_0 at every quantised target.
_ALWAYS_Q8: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({
    "glm5-next": ("attn_q_a", "attn_q_b", "nextn.eh_proj"),
})

# The kinds that the rules know, and the first words that name each.
TOKEN_EMBD: Final = "token_embd"  # noqa: S105 - a tensor, not a secret
OUTPUT: Final = "output"
ATTN_V: Final = "attn_v"
ATTN_K: Final = "attn_k"
ATTN_Q: Final = "attn_q"
ATTN_OUT: Final = "attn_output"
FFN_UP: Final = "ffn_up"
FFN_GATE: Final = "ffn_gate"
FFN_DOWN: Final = "ffn_down"
OTHER: Final = "other"
_EMBEDDINGS: Final = ("token_embd.weight", "per_layer_token_embd.weight")
_CATEGORIES: Final = (
    # Fused projections and MLA's K/V expansion count as V, the projection that suffers most.
    ("attn_qkv.weight", ATTN_V), ("attn_kv_b.weight", ATTN_V), ("attn_v.weight", ATTN_V),
    ("attn_k.weight", ATTN_K), ("attn_q.weight", ATTN_Q), ("attn_output.weight", ATTN_OUT),
    ("ffn_up", FFN_UP), ("ffn_gate", FFN_GATE), ("ffn_down", FFN_DOWN),
)
_NEED_IMATRIX: Final = frozenset({"IQ3_XXS", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ1_M", "IQ1_S"})
# fmt: on


class Refusal(Exception):
    """llama-quantize stops here; the text is its reason."""


class Model(Record):
    """What the rules look at in the whole model, and which tensor of its kind is at hand.

    `gqa`: query heads a K/V head in the first layer (None: the engine has no heads to count, and aborts when asked).
    `i` of `n`: the layer (or the count of such tensors so far) against the number of layers (or of such tensors).
    """

    arch: str
    gqa: int | None
    n_experts: int
    is_70b: bool
    imatrix: bool
    i: int = 0
    n: int = 0


def category(name: str) -> str:
    """The kind of a tensor, by its GGUF name."""
    if name == "output.weight":
        return OUTPUT
    if name in _EMBEDDINGS:
        return TOKEN_EMBD
    return next((kind for words, kind in _CATEGORIES if words in name), OTHER)


def may_quantize(name: str, shape: tuple[int, ...], arch: str, *, leave_output: bool) -> bool:
    """Whether llama-quantize touches the tensor at all. `shape` is outermost first."""
    # ggml counts dimensions up to the outermost that is not 1, and quantises matrices and stacks of them only.
    if all(dim == 1 for dim in shape[:-1]):
        return False
    # The engine compares two positions, so a name of five characters without "weight" (-1 == -1) passes too.
    if name.rfind("weight") != len(name) - 6:
        return False
    if name in _KEPT_WHOLE_NAMES or (leave_output and name == "output.weight"):
        return False
    return not any(words in name for words in _KEPT_ANYWHERE + _KEPT_BY_ARCH.get(arch, ()))


def requires_imatrix(name: str, dtype: str, to: str) -> bool:
    """Whether llama-quantize refuses to write this tensor so without an importance matrix."""
    if name == "output.weight" or name in _EMBEDDINGS:
        return False
    return dtype in _NEED_IMATRIX or (dtype == "Q2_K" and to == "Q2_K_S")


def more_bits(i: int, n: int) -> bool:
    """The layers that get more bits: the first and last eighth, and every third between."""
    return i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2


def _always(_: Model) -> bool:
    return True


def _gqa4(m: Model) -> bool:
    if m.gqa is None:
        raise Refusal("the heads of a projector are not known to llama-quantize: this type asks for them and aborts")
    return m.gqa >= 4


def _gqa4_or_experts4(m: Model) -> bool:
    return _gqa4(m) or m.n_experts >= 4


def _experts8(m: Model) -> bool:
    # Mixtral: with eight experts the attention is so small a part that more bits there cost nothing.
    return m.n_experts == 8


def _no_imatrix(m: Model) -> bool:
    return not m.imatrix


def _falcon(m: Model) -> bool:
    return m.arch == "falcon"


def _first_two(m: Model) -> bool:
    return m.i < 2


def _first_four(m: Model) -> bool:
    return m.i < 4


def _eighth(m: Model) -> bool:
    return m.i < m.n // 8


def _sixteenth(m: Model) -> bool:
    return m.i < m.n // 16


def _middle(m: Model) -> bool:
    return m.n // 8 <= m.i < 7 * m.n // 8


def _more(m: Model) -> bool:
    return more_bits(m.i, m.n)


def _eighth_no_imatrix(m: Model) -> bool:
    return _eighth(m) and not m.imatrix


def _eighth_imatrix(m: Model) -> bool:
    return _eighth(m) and m.imatrix


def _not_falcon_or_more(m: Model) -> bool:
    return not _falcon(m) or _more(m)


def _not_falcon_eighth(m: Model) -> bool:
    return not _falcon(m) and _eighth(m)


def _falcon_sixteenth(m: Model) -> bool:
    return _falcon(m) and _sixteenth(m)


def _falcon_more(m: Model) -> bool:
    return _falcon(m) and _more(m)


def _eighth_or_experts8_more(m: Model) -> bool:
    return _eighth(m) or (_experts8(m) and _more(m))


if TYPE_CHECKING:
    Rule = tuple[str, Callable[[Model], bool], str]

# (targets or "*", condition, type): the first row that holds wins; no row, or an empty type, keeps the default.
# The targets below 3 bits have rules of their own.
TINY: Final = frozenset({"IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ1_S", "IQ1_M"})
# fmt: off
TINY_RULES: Final[Mapping[str, tuple[Rule, ...]]] = MappingProxyType({
    ATTN_V: (
        ("IQ2_XXS IQ2_XS IQ2_S IQ2_M IQ1_S IQ1_M", _gqa4_or_experts4, "Q4_K"),
        ("IQ2_S IQ2_M",                 _always, "IQ3_S"),
        ("IQ2_XXS IQ2_XS IQ1_S IQ1_M",  _always, "Q2_K"),
    ),
    ATTN_K: (("IQ2_XXS IQ2_XS IQ2_S IQ2_M IQ1_S IQ1_M", _experts8, "Q4_K"),),
    FFN_DOWN: (
        ("IQ2_S IQ2_M",                 _eighth, "IQ3_S"),
        ("IQ2_XXS IQ2_XS IQ1_S IQ1_M",  _eighth, "Q2_K"),
    ),
    ATTN_OUT: (
        ("IQ2_XXS IQ2_XS IQ2_S IQ2_M IQ1_S IQ1_M", _experts8, "Q5_K"),
        ("IQ1_S IQ1_M",                 _always, "IQ2_XXS"),
        ("IQ2_S IQ2_M",                 _always, "IQ3_S"),
    ),
})
RULES: Final[Mapping[str, tuple[Rule, ...]]] = MappingProxyType({
    TOKEN_EMBD: (
        ("IQ2_XXS IQ2_XS IQ1_S IQ1_M",  _always, "Q2_K"),
        ("IQ2_S IQ2_M IQ3_XXS",         _always, "IQ3_S"),
        ("TQ1_0 TQ2_0 Q2_0",            _always, "Q4_K"),
    ),
    ATTN_V: (
        ("Q2_K",                        _gqa4, "Q4_K"),
        ("Q2_K",                        _always, "Q3_K"),
        ("Q2_K_S",                      _gqa4, "Q4_K"),
        ("IQ3_XXS",                     _gqa4, "Q4_K"),
        ("IQ3_XXS",                     _no_imatrix, "IQ3_S"),
        ("IQ3_XS IQ3_S",                _gqa4, "Q4_K"),
        ("IQ3_M",                       _always, "Q4_K"),
        ("Q3_K_M",                      _first_two, "Q5_K"),
        ("Q3_K_M",                      _always, "Q4_K"),
        ("Q3_K_L",                      _always, "Q5_K"),
        ("IQ4_NL IQ4_XS",               _gqa4, "Q5_K"),
        ("Q4_K_M Q5_K_M",               _more, "Q6_K"),
        ("Q4_K_S",                      _first_four, "Q5_K"),
    ),
    ATTN_K: (
        ("*",                           _experts8, "Q8_0"),
        ("IQ3_XS",                      _always, "IQ3_XXS"),
        ("IQ3_XXS",                     _always, "IQ2_S"),
    ),
    ATTN_Q: (
        ("IQ3_XS",                      _always, "IQ3_XXS"),
        ("IQ3_XXS",                     _always, "IQ2_S"),
    ),
    FFN_DOWN: (
        ("Q2_K",                        _always, "Q3_K"),
        ("Q2_K_S",                      _eighth, "Q4_K"),
        ("IQ3_XXS",                     _eighth_no_imatrix, "Q4_K"),
        ("IQ3_XXS",                     _no_imatrix, "Q3_K"),
        ("Q3_K_M",                      _sixteenth, "Q5_K"),
        ("Q3_K_M",                      _not_falcon_or_more, "Q4_K"),
        ("IQ3_M",                       _eighth_or_experts8_more, "Q4_K"),
        ("Q3_K_L",                      _falcon, "Q4_K"),
        ("Q3_K_L",                      _always, "Q5_K"),
        ("Q4_K_M",                      _falcon_sixteenth, "Q6_K"),
        ("Q4_K_M",                      _falcon_more, "Q5_K"),
        ("Q4_K_M",                      _falcon, "Q4_K"),
        ("Q4_K_M Q5_K_M",               _more, "Q6_K"),
        ("IQ4_NL IQ4_XS",               _eighth_no_imatrix, "Q5_K"),
        ("Q4_K_S",                      _not_falcon_eighth, "Q5_K"),
        ("Q4_0",                        _eighth_imatrix, "Q4_1"),
        ("Q5_0",                        _eighth_imatrix, "Q5_1"),
    ),
    ATTN_OUT: (
        ("Q3_K_L",                      _falcon, "Q4_K"),
        ("*",                           _falcon, ""),
        ("Q2_K IQ3_XS IQ3_XXS Q3_K_S Q3_K_M IQ4_NL Q4_K_S Q4_K_M IQ3_S IQ3_M IQ4_XS", _experts8, "Q5_K"),
        ("*",                           _experts8, ""),
        ("Q2_K",                        _always, "Q3_K"),
        ("IQ3_XXS",                     _always, "IQ3_S"),
        ("Q3_K_M IQ3_M",                _always, "Q4_K"),
        ("Q3_K_L",                      _always, "Q5_K"),
    ),
    FFN_GATE: (("IQ3_XS",               _middle, "IQ3_XXS"),),
    FFN_UP: (("IQ3_XS",                 _middle, "IQ3_XXS"),),
})
# fmt: on
# Output matrices (and embeddings that serve as one) of these targets take Q5_K; all others Q6_K.
_OUTPUT_Q5: Final = TINY | {"IQ3_XXS"}


def by_rule(rules: tuple[Rule, ...], to: str, model: Model, default: str) -> str:
    """The type of the first rule that holds, or the default."""
    for targets, holds, dtype in rules:
        if (targets == "*" or to in targets.split()) and holds(model):
            return dtype or default
    return default


def output_dtype(to: str, arch: str, default: str, *, fits: bool) -> str:
    """The output matrix's type. `fits`: its rows fill whole blocks of the default type."""
    if to == "MXFP4_MOE" or arch == "falcon" or not fits:
        return "Q8_0"
    if to in _OUTPUT_Q5:
        return "Q5_K"
    return default if default == "Q8_0" else "Q6_K"


def mxfp4_dtype(kind: str, shape: tuple[int, ...], arch: str) -> str:
    """MXFP4 for stacked experts, Q8_0 for the rest. Ling 3's stacked MLA projections are not experts."""
    stacked = len(shape) >= 3 and shape[-3] > 1
    return "MXFP4" if stacked and (arch != "bailingmoe3" or kind in {FFN_UP, FFN_GATE, FFN_DOWN}) else "Q8_0"


def after_attn_v(dtype: str, model: Model) -> str:
    """What large models add for V: 70B models at least Q5_K in place of Q3_K and Q4_K, eight experts Q8_0."""
    if _experts8(model):
        return "Q8_0"
    return "Q5_K" if model.is_70b and dtype in {"Q3_K", "Q4_K"} else dtype


def always_q8(name: str, arch: str) -> bool:
    """Whether the architecture gives this tensor Q8_0 whatever the (quantised) target."""
    return any(words in name for words in _ALWAYS_Q8.get(arch, ()))
