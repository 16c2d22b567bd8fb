"""One table of element types: how many elements make a block, and how many bytes a block takes.

Sizes follow the `static_assert`s of ggml-common.h (llama.cpp b11434) and the dtype list of safetensors 0.8.0
(safetensors/src/tensor.rs). Exact integers only: rounded bits per weight are how other tools go wrong.
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.errors import FormatError
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Final


class Dtype(Record):
    """An element type. `block_elems` elements are stored together in `block_bytes` bytes."""

    name: str
    block_elems: int
    block_bytes: int
    ggml_id: int | None = None
    safetensors: bool = False
    is_float: bool = False
    note: str = ""

    @property
    def bits_per_weight(self) -> float:
        """Bits an element takes, scales included."""
        return self.block_bytes * 8 / self.block_elems

    @property
    def is_block_quantized(self) -> bool:
        """Whether elements share scales (every ggml quant type does)."""
        return self.ggml_id is not None and self.block_elems > 1

    def row_nbytes(self, n_elements: int) -> int:
        """Bytes of a row of `n_elements`, which must fill whole blocks. Raises FormatError."""
        n_blocks, rest = divmod(n_elements, self.block_elems)
        if rest:
            raise FormatError(f"{n_elements} elements do not fill whole {self.name} blocks of {self.block_elems}")
        return n_blocks * self.block_bytes

    def nbytes(self, shape: Iterable[int]) -> int:
        """Bytes of a tensor of this shape (outermost first). Raises FormatError when blocks do not come out even.

        A ggml block lies within one row, so the innermost dimension must be divisible; a safetensors
        sub-byte type only needs the total to fill whole bytes.
        """
        n_elements, innermost = 1, 1
        for dim in shape:
            n_elements *= dim
            innermost = dim
        if self.is_block_quantized and innermost % self.block_elems:
            raise FormatError(
                f"rows of {innermost} elements do not fill whole {self.name} blocks of {self.block_elems}"
            )
        return self.row_nbytes(n_elements)


# fmt: off
# name, elements a block, bytes a block, ggml id, in safetensors, floating point, what it is
_ROWS: Final = (
    Dtype("F32",       1,   4,   0, True,  True,  "IEEE single"),
    Dtype("F16",       1,   2,   1, True,  True,  "IEEE half"),
    Dtype("Q4_0",     32,  18,   2, False, False, "4-bit, one scale"),
    Dtype("Q4_1",     32,  20,   3, False, False, "4-bit, scale and minimum"),
    Dtype("Q5_0",     32,  22,   6, False, False, "5-bit, one scale"),
    Dtype("Q5_1",     32,  24,   7, False, False, "5-bit, scale and minimum"),
    Dtype("Q8_0",     32,  34,   8, False, False, "8-bit, one scale"),
    Dtype("Q8_1",     32,  36,   9, False, False, "8-bit, scale and sum (run-time only)"),
    Dtype("Q2_K",    256,  84,  10, False, False, "2-bit k-quant"),
    Dtype("Q3_K",    256, 110,  11, False, False, "3-bit k-quant"),
    Dtype("Q4_K",    256, 144,  12, False, False, "4-bit k-quant"),
    Dtype("Q5_K",    256, 176,  13, False, False, "5-bit k-quant"),
    Dtype("Q6_K",    256, 210,  14, False, False, "6-bit k-quant"),
    Dtype("Q8_K",    256, 292,  15, False, False, "8-bit k-quant (run-time only)"),
    Dtype("IQ2_XXS", 256,  66,  16, False, False, "2.06-bit codebook"),
    Dtype("IQ2_XS",  256,  74,  17, False, False, "2.31-bit codebook"),
    Dtype("IQ3_XXS", 256,  98,  18, False, False, "3.06-bit codebook"),
    Dtype("IQ1_S",   256,  50,  19, False, False, "1.56-bit codebook"),
    Dtype("IQ4_NL",   32,  18,  20, False, False, "4-bit, non-linear levels"),
    Dtype("IQ3_S",   256, 110,  21, False, False, "3.44-bit codebook"),
    Dtype("IQ2_S",   256,  82,  22, False, False, "2.56-bit codebook"),
    Dtype("IQ4_XS",  256, 136,  23, False, False, "4.25-bit, non-linear levels"),
    Dtype("I8",        1,   1,  24, True,  False, "signed byte"),
    Dtype("I16",       1,   2,  25, True,  False, "signed 16-bit"),
    Dtype("I32",       1,   4,  26, True,  False, "signed 32-bit"),
    Dtype("I64",       1,   8,  27, True,  False, "signed 64-bit"),
    Dtype("F64",       1,   8,  28, True,  True,  "IEEE double"),
    Dtype("IQ1_M",   256,  56,  29, False, False, "1.75-bit codebook"),
    Dtype("BF16",      1,   2,  30, True,  True,  "bfloat16"),
    Dtype("TQ1_0",   256,  54,  34, False, False, "ternary, 1.69 bits"),
    Dtype("TQ2_0",   256,  66,  35, False, False, "ternary, 2.06 bits"),
    Dtype("MXFP4",    32,  17,  39, False, False, "4-bit float, shared exponent"),
    Dtype("NVFP4",    64,  36,  40, False, False, "4-bit float, four 8-bit scales"),
    Dtype("Q1_0",    128,  18,  41, False, False, "1-bit, one scale"),
    Dtype("Q2_0",     64,  18,  42, False, False, "2-bit, one scale"),
    Dtype("BOOL",      1,   1, None, True, False, "one byte a truth value"),
    Dtype("U8",        1,   1, None, True, False, "unsigned byte (often packed quants)"),
    Dtype("U16",       1,   2, None, True, False, "unsigned 16-bit"),
    Dtype("U32",       1,   4, None, True, False, "unsigned 32-bit (often packed quants)"),
    Dtype("U64",       1,   8, None, True, False, "unsigned 64-bit"),
    Dtype("C64",       1,   8, None, True, True,  "complex of two singles"),
    Dtype("F4",        2,   1, None, True, True,  "4-bit float, two a byte"),
    Dtype("F6_E2M3",   4,   3, None, True, True,  "6-bit float, four in three bytes"),
    Dtype("F6_E3M2",   4,   3, None, True, True,  "6-bit float, four in three bytes"),
    Dtype("F8_E5M2",   1,   1, None, True, True,  "8-bit float"),
    Dtype("F8_E4M3",   1,   1, None, True, True,  "8-bit float"),
    Dtype("F8_E8M0",   1,   1, None, True, True,  "8-bit power of two (scales)"),
    Dtype("F8_E4M3FNUZ", 1, 1, None, True, True,  "8-bit float, no negative zero"),
    Dtype("F8_E5M2FNUZ", 1, 1, None, True, True,  "8-bit float, no negative zero"),
)
# Slots of the ggml enumeration whose types were taken out of the format.
REMOVED_GGML_TYPES: Final[Mapping[int, str]] = MappingProxyType({
    4: "Q4_2", 5: "Q4_3", 31: "Q4_0_4_4", 32: "Q4_0_4_8", 33: "Q4_0_8_8",
    36: "IQ4_NL_4_4", 37: "IQ4_NL_4_8", 38: "IQ4_NL_8_8",
})
# fmt: on
# Types that forks of llama.cpp have and it has not; their sizes are not known here. ik_llama.cpp's ggml.h of 2025
# (from 202 on: rows interleaved by four, eight or sixteen), and I2_S, BitNet.cpp's. Types without a name lie between.
_IK_WORDS: Final = """
    97:Q8_0_X4 98:Q8_1_X4 99:Q8_2_X4 133:Q6_0 134:IQ1_BN 135:IQ2_BN 136:Q8_K64 137:IQ2_K 138:IQ3_K 139:IQ4_K 140:IQ5_K
    141:IQ6_K 142:IQ2_TN 143:IQ1_TN 144:IQ4_KS 145:IQ2_KS 146:IQ4_KSS 147:Q8_K16 148:Q8_K32 149:Q8_KR8 150:Q8_K128
    151:Q8_KV 152:IQ5_KS 153:IQ2_KT 154:IQ3_KT 155:IQ4_KT 156:IQ3_KS 157:IQ2_KL 158:IQ1_KT 202:Q4_0_R8 206:Q5_0_R4
    208:Q8_0_R8 210:Q2_K_R4 211:Q3_K_R4 212:Q4_K_R4 213:Q5_K_R4 214:Q6_K_R4 216:IQ2_XXS_R4 217:IQ2_XS_R4
    218:IQ3_XXS_R4 219:IQ1_S_R4 220:IQ4_NL_R4 221:IQ3_S_R4 222:IQ2_S_R4 223:IQ4_XS_R8 229:IQ1_M_R4 230:BF16_R16
    233:Q6_0_R4 335:IQ2_BN_R4 337:IQ2_K_R4 338:IQ3_K_R4 339:IQ4_K_R4 340:IQ5_K_R4 344:IQ4_KS_R4 352:IQ5_KS_R4
    398:Q8_KV_R8 399:Q8_K_R8
    """
FORK_GGML_TYPES: Final[Mapping[int, str]] = MappingProxyType(
    {int(n): name for n, _, name in (word.partition(":") for word in _IK_WORDS.split())}
)
# Numbers that no release of llama.cpp is near, and that forks count in.
_FORKS_FIRST, _FORKS_LAST = 97, 399

DTYPES: Final[Mapping[str, Dtype]] = MappingProxyType({d.name: d for d in _ROWS})
GGML_DTYPES: Final[Mapping[int, Dtype]] = MappingProxyType({d.ggml_id: d for d in _ROWS if d.ggml_id is not None})
SAFETENSORS_DTYPES: Final[Mapping[str, Dtype]] = MappingProxyType({d.name: d for d in _ROWS if d.safetensors})


def is_fork_type(ggml_id: int) -> bool:
    """Whether a type number is one that forks of llama.cpp use, named or not."""
    return _FORKS_FIRST <= ggml_id <= _FORKS_LAST


def unknown_ggml_type(ggml_id: int) -> str:
    """Words for a type number that has no row: a removed or a fork's type by its name, anything else by its number."""
    if ggml_id in REMOVED_GGML_TYPES:
        return f"{REMOVED_GGML_TYPES[ggml_id]} (type {ggml_id}), which was removed from the format"
    if is_fork_type(ggml_id):
        return FORK_GGML_TYPES.get(ggml_id, f"a fork's type {ggml_id}")
    return f"unknown type {ggml_id}"
