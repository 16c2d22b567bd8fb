"""Quant types by name: what `llama-quantize` takes, with what llama.cpp itself publishes about each, and older names.

The one table of them: file-type numbers, base element types and fallbacks of labels, mixes and sizes are read from it.
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.errors import WorkloadError
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final


class QuantTarget(Record):
    """One quantisation that can be asked for.

    `ftype`: the number kept in `general.file_type`; `dtype`: what most tensors get. `ppl_delta`: how much perplexity
    rose over the unquantised `ppl_model`, as printed by llama-quantize (None: nothing published);
    `published_size` is that model's size in the same table ("4.58G"). `needs_imatrix`: the mix holds element types that
    llama-quantize refuses to write without an importance matrix.
    """

    name: str
    ftype: int
    dtype: str
    about: str
    published_size: str | None = None
    ppl_delta: float | None = None
    ppl_model: str | None = None
    needs_imatrix: bool = False
    alias_of: str | None = None


_L3: Final = "Llama-3-8B"

# Names, numbers, sizes and perplexities: QUANT_OPTIONS of tools/quantize/quantize.cpp. Default element types:
# llama_ftype_get_default_type of src/llama-quant.cpp. The order is theirs: a number means its first row.
# fmt: off
_ROWS: Final = (
    QuantTarget("Q1_0",      40, "Q1_0",    "1.125 bits a weight"),
    QuantTarget("Q2_0",      41, "Q2_0",    "2.25 bits a weight, groups of 64"),
    QuantTarget("Q4_0",       2, "Q4_0",    "4-bit blocks, one scale", "4.34G", 0.4685, _L3),
    QuantTarget("Q4_1",       3, "Q4_1",    "4-bit blocks, scale and minimum", "4.78G", 0.4511, _L3),
    QuantTarget("MXFP4_MOE", 38, "MXFP4",   "experts in MXFP4, the rest in Q8_0"),
    QuantTarget("Q5_0",       8, "Q5_0",    "5-bit blocks, one scale", "5.21G", 0.1316, _L3),
    QuantTarget("Q5_1",       9, "Q5_1",    "5-bit blocks, scale and minimum", "5.65G", 0.1062, _L3),
    QuantTarget("IQ2_XXS",   19, "IQ2_XXS", "2.06 bits a weight", needs_imatrix=True),
    QuantTarget("IQ2_XS",    20, "IQ2_XS",  "2.31 bits a weight", needs_imatrix=True),
    QuantTarget("IQ2_S",     28, "IQ2_XS",  "2.5 bits a weight", needs_imatrix=True),
    QuantTarget("IQ2_M",     29, "IQ2_S",   "2.7 bits a weight", needs_imatrix=True),
    QuantTarget("IQ1_S",     24, "IQ1_S",   "1.56 bits a weight", needs_imatrix=True),
    QuantTarget("IQ1_M",     31, "IQ1_M",   "1.75 bits a weight", needs_imatrix=True),
    QuantTarget("TQ1_0",     36, "TQ1_0",   "ternary, 1.69 bits a weight"),
    QuantTarget("TQ2_0",     37, "TQ2_0",   "ternary, 2.06 bits a weight"),
    QuantTarget("Q2_K",      10, "Q2_K",    "2-bit k-quant mix", "2.96G", 3.5199, _L3),
    QuantTarget("Q2_K_S",    21, "Q2_K",    "2-bit k-quant, small", "2.96G", 3.1836, _L3, needs_imatrix=True),
    QuantTarget("IQ3_XXS",   23, "IQ3_XXS", "3.06 bits a weight", needs_imatrix=True),
    QuantTarget("IQ3_S",     26, "IQ3_S",   "3.44 bits a weight"),
    QuantTarget("IQ3_M",     27, "IQ3_S",   "3.66 bits a weight, mix"),
    QuantTarget("Q3_K",      12, "Q3_K",    "another name for Q3_K_M", "3.74G", 0.6569, _L3, alias_of="Q3_K_M"),
    QuantTarget("IQ3_XS",    22, "IQ3_S",   "3.3 bits a weight", needs_imatrix=True),
    QuantTarget("Q3_K_S",    11, "Q3_K",    "3-bit k-quant, small", "3.41G", 1.6321, _L3),
    QuantTarget("Q3_K_M",    12, "Q3_K",    "3-bit k-quant mix, medium", "3.74G", 0.6569, _L3),
    QuantTarget("Q3_K_L",    13, "Q3_K",    "3-bit k-quant mix, large", "4.03G", 0.5562, _L3),
    QuantTarget("IQ4_NL",    25, "IQ4_NL",  "4.5 bits a weight, non-linear levels"),
    QuantTarget("IQ4_XS",    30, "IQ4_XS",  "4.25 bits a weight, non-linear levels"),
    QuantTarget("Q4_K",      15, "Q4_K",    "another name for Q4_K_M", "4.58G", 0.1754, _L3, alias_of="Q4_K_M"),
    QuantTarget("Q4_K_S",    14, "Q4_K",    "4-bit k-quant mix, small", "4.37G", 0.2689, _L3),
    QuantTarget("Q4_K_M",    15, "Q4_K",    "4-bit k-quant mix, medium", "4.58G", 0.1754, _L3),
    QuantTarget("Q5_K",      17, "Q5_K",    "another name for Q5_K_M", "5.33G", 0.0569, _L3, alias_of="Q5_K_M"),
    QuantTarget("Q5_K_S",    16, "Q5_K",    "5-bit k-quant, small", "5.21G", 0.1049, _L3),
    QuantTarget("Q5_K_M",    17, "Q5_K",    "5-bit k-quant mix, medium", "5.33G", 0.0569, _L3),
    QuantTarget("Q6_K",      18, "Q6_K",    "6-bit k-quant", "6.14G", 0.0217, _L3),
    QuantTarget("Q8_0",       7, "Q8_0",    "8-bit blocks, one scale", "7.96G", 0.0026, _L3),
    QuantTarget("F16",        1, "F16",     "half precision", "14.00G", 0.0020, "Mistral-7B"),
    QuantTarget("BF16",      32, "BF16",    "bfloat16", "14.00G", -0.0050, "Mistral-7B"),
    QuantTarget("F32",        0, "F32",     "single precision", "26.00G", None, "7B"),
    QuantTarget("COPY",       0, "F32",     "every tensor copied as it is"),
)
# fmt: on

QUANT_TARGETS: Final[Mapping[str, QuantTarget]] = MappingProxyType({t.name: t for t in _ROWS})

# fmt: off
# Numbers of `enum llama_ftype` (include/llama.h, b11434) that llama-quantize does not take (any more).
_FILE_ONLY: Final = (
    (4, "Q4_1_SOME_F16", "Q4_1"), (33, "Q4_0_4_4", "Q4_0"), (34, "Q4_0_4_8", "Q4_0"), (35, "Q4_0_8_8", "Q4_0"),
    (39, "NVFP4", "NVFP4"),
)
# Names in use that no file-type number stands for.
_OTHER_NAMES: Final = (
    ("Q2_K_L", "Q2_K"), ("Q2_K_XL", "Q2_K"), ("Q3_K_XL", "Q3_K"), ("Q4_K_L", "Q4_K"), ("Q4_K_XL", "Q4_K"),
    ("Q5_K_L", "Q5_K"), ("Q5_K_XL", "Q5_K"), ("Q6_K_L", "Q6_K"), ("Q6_K_XL", "Q6_K"), ("Q8_K_XL", "Q8_0"),
    ("Q8_0_L", "Q8_0"), ("MXFP4", "MXFP4"), ("FP16", "F16"), ("FP32", "F32"),
)
# Rows that do not fill a block of the type on the left get the type on the right (tensor_type_fallback,
# src/llama-quant.cpp).
FALLBACK: Final[Mapping[str, str]] = MappingProxyType({
    "IQ1_S": "IQ4_NL", "IQ1_M": "IQ4_NL", "IQ2_XXS": "IQ4_NL", "IQ2_XS": "IQ4_NL", "IQ2_S": "IQ4_NL",
    "IQ3_XXS": "IQ4_NL", "IQ3_S": "IQ4_NL", "IQ4_XS": "IQ4_NL",
    "Q2_0": "Q4_0", "Q2_K": "Q4_0", "Q3_K": "Q4_0", "TQ1_0": "Q4_0", "TQ2_0": "Q4_0",
    "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0",
})
# fmt: on
_MIXES: Final = tuple(t for t in _ROWS if t.name != "COPY")  # COPY is a wish, not a mix that a file could be named by
# What a `general.file_type` number means: the mix itself, not another name for it.
FILE_TYPES: Final[Mapping[int, str]] = MappingProxyType(
    {**{t.ftype: t.name for t in _MIXES if t.alias_of is None}, **{n: name for n, name, _ in _FILE_ONLY}}
)
# The element type that most tensors of a mix have, by every name that files carry.
BASE_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {**{t.name: t.dtype for t in _MIXES}, **{name: base for _, name, base in _FILE_ONLY}, **dict(_OTHER_NAMES)}
)


def quant_target(text: str) -> QuantTarget:
    """The target of a name in any case, or of llama.cpp's file-type number. Raises WorkloadError.

    An alias gives its own row; `alias_of` names the mix it stands for.
    """
    found = QUANT_TARGETS.get(text.upper())
    if found is None and text.isascii() and text.isdecimal() and len(text) <= 4:
        found = next((t for t in _ROWS if t.ftype == int(text)), None)
    if found is None:
        near = [name for name in QUANT_TARGETS if text and name.startswith(text.upper())][:4]
        hint = f"did you mean {', '.join(near)}?" if near else f"it takes {', '.join(QUANT_TARGETS)}"
        raise WorkloadError(f"llama-quantize has no type {text!r}", hint=hint)
    return found
