"""What other families' quantised weights weigh, by the tensors that each writer stores for a matrix.

Sources: bitsandbytes 0.49 (nn/modules.py, functional.py QuantState), AutoGPTQ/GPTQModel and AutoAWQ layouts,
compressed-tensors 0.12, NVIDIA ModelOpt, DeepSeek-V3's block FP8, gpt-oss's MXFP4, PEFT's LoRA.
Rows of tests/quantization/test_layouts.py hold what those writers stored for one layer.
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.dtypes import DTYPES
from inspector.errors import WorkloadError
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Final

    Stored = tuple[str, str, tuple[int, ...]]
    Layout = Callable[[int, int], list[Stored]]


class Scheme(Record):
    """A way to store an N × K weight. `tensors` lists what is stored: (name ending, dtype, shape).

    `group`: K must be divisible by it (0: any K). `note`: what a file may add or leave out.
    """

    name: str
    about: str
    tensors: Layout
    group: int = 0
    note: str = ""


class Predicted(Record):
    """Bytes of a model in one scheme. `nbytes` is their sum; `kept_nbytes`: what stays as it is.

    `skipped`: weights whose rows do not fill the scheme's groups, counted as they are. `grade` is "derived" unless a
    part of the layout varies between writers.
    """

    scheme: str
    quantized_nbytes: int
    kept_nbytes: int
    n_params: int
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    grade: str = "derived"

    @property
    def nbytes(self) -> int:
        """Exact bytes of all tensors, no header."""
        return self.quantized_nbytes + self.kept_nbytes

    @property
    def bits_per_weight(self) -> float | None:
        """Bits over parameters, everything included; None for no parameters."""
        return self.nbytes * 8 / self.n_params if self.n_params else None


class Matrix(Record):
    """A linear weight of `n` rows (outputs) and `k` columns (inputs); `count` of them; `nbytes` as they are now."""

    name: str
    n: int
    k: int
    nbytes: int
    count: int = 1


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def bnb_int8(n: int, k: int) -> list[Stored]:
    """LLM.int8(): a byte a weight, and a scale a row."""
    return [("weight", "I8", (n, k)), ("SCB", "F32", (n,)), ("weight_format", "U8", ())]


def _quant_state_nbytes(n: int, k: int, kind: str, dtype: str, *, nested: bool, offset_digits: int) -> int:
    """The JSON that bitsandbytes stores beside the codes; its length follows from the numbers in it."""
    text = f'{{"quant_type": "{kind}", "blocksize": 64, "dtype": "{dtype}", "shape": [{n}, {k}]'
    if nested:
        text += ', "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": ' + "0" * offset_digits
    return len(text) + 1


def bnb_4bit(kind: str, *, nested: bool) -> Layout:
    """NF4 or FP4 in blocks of 64; `nested`: the scales are quantised too."""

    # Blocks of 64 weights a scale, blocks of 256 scales a nested one; the offset of the nested scales is the mean of
    # the scales, printed in full: 20 characters is a float32's usual length as a Python float, two fewer or more.
    def tensors(n: int, k: int) -> list[Stored]:
        blocks = _ceil(n * k, 64)
        state = _quant_state_nbytes(n, k, kind, "bfloat16", nested=nested, offset_digits=20)
        out: list[Stored] = [
            ("weight", "U8", (_ceil(n * k, 2), 1)),
            ("weight.absmax", "U8" if nested else "F32", (blocks,)),
            ("weight.quant_map", "F32", (16,)),
            (f"weight.quant_state.bitsandbytes__{kind}", "U8", (state,)),
        ]
        if nested:
            out += [("weight.nested_absmax", "F32", (_ceil(blocks, 256),)), ("weight.nested_quant_map", "F32", (256,))]
        return out

    return tensors


def gptq(bits: int, group: int) -> Layout:
    """AutoGPTQ's layout, which packs rows; a group below one is the whole row."""

    def tensors(n: int, k: int) -> list[Stored]:
        groups = _ceil(k, group) if group > 0 else 1
        return [
            ("qweight", "I32", (k * bits // 32, n)),
            ("qzeros", "I32", (groups, n * bits // 32)),
            ("scales", "F16", (groups, n)),
            ("g_idx", "I32", (k,)),
        ]

    return tensors


def awq(bits: int, group: int) -> Layout:
    """AutoAWQ's gemm version, which packs columns."""

    def tensors(n: int, k: int) -> list[Stored]:
        return [
            ("qweight", "I32", (k, n * bits // 32)),
            ("qzeros", "I32", (k // group if group > 0 else 1, n * bits // 32)),
            ("scales", "F16", (k // group if group > 0 else 1, n)),
        ]

    return tensors


def packed_int(bits: int, group: int, *, symmetric: bool = True) -> Layout:
    """compressed-tensors pack-quantized; group 0 is one scale a row, and zero points lie beside asymmetric ones."""

    def tensors(n: int, k: int) -> list[Stored]:
        groups = k // group if group else 1
        zeros: Stored = ("weight_zero_point", "I32", (_ceil(n * bits, 32), groups))
        return [
            ("weight_packed", "I32", (n, _ceil(k * bits, 32))),
            ("weight_scale", "BF16", (n, groups)),
            ("weight_shape", "I64", (2,)),
            *(() if symmetric else (zeros,)),
        ]

    return tensors


def scaled(codes: str, scale: str, shape: Callable[[int, int], tuple[int, ...]], *more: Stored) -> Layout:
    """Codes of one byte and scales of some shape."""

    def tensors(n: int, k: int) -> list[Stored]:
        return [("weight", codes, (n, k)), ("weight_scale", scale, shape(n, k)), *more]

    return tensors


def nvfp4(n: int, k: int) -> list[Stored]:
    """compressed-tensors' NVFP4: a scale for 16 weights, one for the matrix."""
    return [
        ("weight_packed", "U8", (n, k // 2)),
        ("weight_scale", "F8_E4M3", (n, k // 16)),
        ("weight_global_scale", "F32", (1,)),
    ]


def nvfp4_modelopt(n: int, k: int) -> list[Stored]:
    """ModelOpt's NVFP4: the same, and one for the input."""
    return [
        ("weight", "U8", (n, k // 2)),
        ("weight_scale", "F8_E4M3", (n, k // 16)),
        ("weight_scale_2", "F32", ()),
        ("input_scale", "F32", ()),
    ]


def mxfp4(n: int, k: int) -> list[Stored]:
    """MXFP4: an exponent for 32 weights."""
    return [("blocks", "U8", (n, k // 32, 16)), ("scales", "U8", (n, k // 32))]


def mlx(bits: int, group: int) -> Layout:
    """MLX's affine mode: a scale and a bias a group."""

    def tensors(n: int, k: int) -> list[Stored]:
        scale = ("BF16", (n, k // group))
        return [("weight", "U32", (n, k * bits // 32)), ("scales", *scale), ("biases", *scale)]

    return tensors


def bitnet(n: int, k: int) -> list[Stored]:
    """Four ternary weights a byte."""
    return [("weight", "U8", (n // 4, k)), ("weight_scale", "BF16", (1,))]


def quanto(codes: str, *, bits: int = 8) -> Layout:
    """optimum-quanto: 4-bit codes in groups of 128 with a shift, 8-bit codes with a scale a row."""

    def tensors(n: int, k: int) -> list[Stored]:
        scalars: list[Stored] = [("input_scale", "BF16", ()), ("output_scale", "BF16", ())]
        if bits == 8:
            return [("weight._data", codes, (n, k)), ("weight._scale", "BF16", (n, 1)), *scalars]
        groups = (n * k // 128, 1)
        packed: Stored = ("weight._data._data", codes, (n * k * bits // 8,))
        return [packed, ("weight._scale", "BF16", groups), ("weight._shift", "BF16", groups), *scalars]

    return tensors


def per_row(n: int, _k: int) -> tuple[int, ...]:
    """A scale for each output."""
    return (n, 1)


def per_tensor(_n: int, _k: int) -> tuple[int, ...]:
    """One scale."""
    return ()


def blocks(height: int, width: int) -> Callable[[int, int], tuple[int, ...]]:
    """The shape of scales that each cover `height` rows and `width` columns."""
    return lambda n, k: (_ceil(n, height), _ceil(k, width))


_blocks_128 = blocks(128, 128)


def groups_32(n: int, k: int) -> tuple[int, ...]:
    """A scale for 32 weights of a row."""
    return (n, k // 32)


_STATE_NOTE: Final = "a scale's mean is printed into the quant_state, so its length varies by a few bytes a weight"
# fmt: off
_SCHEMES: Final = (
    Scheme("int8",       "LLM.int8(), bitsandbytes", bnb_int8),
    Scheme("nf4",        "NF4, bitsandbytes, blocks of 64", bnb_4bit("nf4", nested=False)),
    Scheme("nf4-dq",     "NF4 with double quantisation (QLoRA's)", bnb_4bit("nf4", nested=True), note=_STATE_NOTE),
    Scheme("fp4",        "FP4, bitsandbytes, blocks of 64", bnb_4bit("fp4", nested=False)),
    Scheme("fp4-dq",     "FP4 with double quantisation", bnb_4bit("fp4", nested=True), note=_STATE_NOTE),
    Scheme("gptq-2bit",  "GPTQ, 2 bits, groups of 128", gptq(2, 128), 128),
    Scheme("gptq",       "GPTQ, 4 bits, groups of 128", gptq(4, 128), 128),
    Scheme("gptq-8bit",  "GPTQ, 8 bits, groups of 128", gptq(8, 128), 128),
    Scheme("awq",        "AWQ (gemm), 4 bits, groups of 128", awq(4, 128), 128),
    Scheme("int4",       "compressed-tensors, 4 bits, groups of 128", packed_int(4, 128), 128),
    Scheme("w8a16",      "compressed-tensors, 8 bits packed, a scale a row", packed_int(8, 0)),
    Scheme("w8a8",       "compressed-tensors, 8-bit integers, a scale a row", scaled("I8", "BF16", per_row)),
    Scheme("fp8",        "FP8, one scale a matrix and one for its input (ModelOpt)",
           scaled("F8_E4M3", "F32", per_tensor, ("input_scale", "F32", ()))),
    Scheme("fp8-channel", "FP8, a scale a row (compressed-tensors)", scaled("F8_E4M3", "BF16", per_row)),
    Scheme("fp8-block",  "FP8, blocks of 128 × 128 (DeepSeek-V3)", scaled("F8_E4M3", "F32", _blocks_128)),
    Scheme("fp8-block-ct", "FP8, blocks of 128 × 128 (compressed-tensors)", scaled("F8_E4M3", "BF16", _blocks_128)),
    Scheme("mxfp8",      "MXFP8, groups of 32 (compressed-tensors)", scaled("F8_E4M3", "U8", groups_32), 32),
    Scheme("mxfp4",      "MXFP4, groups of 32 (gpt-oss)", mxfp4, 32),
    Scheme("nvfp4",      "NVFP4, groups of 16 (compressed-tensors)", nvfp4, 16),
    Scheme("nvfp4-modelopt", "NVFP4, groups of 16 (ModelOpt)", nvfp4_modelopt, 16),
    Scheme("torchao-fp8", "FP8 weights only, a scale a row (torchao)", scaled("F8_E4M3", "F32", per_row)),
    Scheme("quanto-int4", "optimum-quanto, 4 bits, groups of 128", quanto("U8", bits=4), 128),
    Scheme("quanto-int8", "optimum-quanto, 8-bit integers", quanto("I8")),
    Scheme("quanto-fp8", "optimum-quanto, FP8", quanto("F8_E4M3")),
    Scheme("mlx-4bit",   "MLX, 4 bits, groups of 64", mlx(4, 64), 64),
    Scheme("bitnet",     "BitNet, four ternary weights a byte", bitnet),
)
# fmt: on
SCHEMES: Final[Mapping[str, Scheme]] = MappingProxyType({s.name: s for s in _SCHEMES})


def scheme(name: str) -> Scheme:
    """The scheme of this name, in any case. Raises WorkloadError."""
    found = SCHEMES.get(name.lower())
    if found is None:
        raise WorkloadError(f"no scheme {name!r}", hint=f"there are {', '.join(SCHEMES)}")
    return found


def stored_nbytes(scheme_name: str, n: int, k: int) -> int:
    """Bytes of all tensors that a scheme stores for one weight of `n` outputs and `k` inputs. Raises WorkloadError."""
    found = scheme(scheme_name)
    if n <= 0 or k <= 0 or (found.group and k % found.group):
        raise WorkloadError(f"{found.name} needs rows that fill groups of {found.group or 1}: {n} × {k} does not")
    return sum(DTYPES[dtype].nbytes(shape) for _, dtype, shape in found.tensors(n, k))


def predict_layout(
    scheme_name: str, matrices: Iterable[Matrix], *, kept_nbytes: int = 0, kept_params: int = 0
) -> Predicted:
    """What a model weighs in this scheme: `matrices` quantised, `kept_nbytes` (embeddings, norms, head) as they are.

    A weight whose rows do not fill the scheme's groups stays as it is and is named. Raises WorkloadError.
    """
    found, quantized, skipped = scheme(scheme_name), 0, []
    n_params = kept_params
    for m in matrices:
        n_params += m.n * m.k * m.count
        if found.group and m.k % found.group:
            kept_nbytes += m.nbytes * m.count
            skipped.append(m.name)
        else:
            quantized += stored_nbytes(found.name, m.n, m.k) * m.count
    notes = (found.note,) if found.note else ()
    grade = "modelled" if found.note else "derived"
    return Predicted(found.name, quantized, kept_nbytes, n_params, tuple(skipped), notes, grade)


# The projections that PEFT calls all-linear in today's decoders, and QLoRA's paper adapts.
LORA_TARGETS: Final = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def lora_params(matrices: Iterable[Matrix], rank: int, *, targets: Iterable[str] = LORA_TARGETS) -> int:
    """Parameters of a LoRA adapter of this rank: A of rank × k and B of n × rank for each weight of the named modules.

    `targets` are module names, the last word before ".weight" (`q_proj`). Raises WorkloadError for a rank below one.
    """
    if rank < 1:
        raise WorkloadError(f"a LoRA of rank {rank} has no parameters")
    wanted = frozenset(targets)
    chosen = (m for m in matrices if m.name.removesuffix(".weight").rsplit(".", 1)[-1] in wanted)
    return sum(rank * (m.n + m.k) * m.count for m in chosen)


def lora_nbytes(
    matrices: Iterable[Matrix], rank: int, *, targets: Iterable[str] = LORA_TARGETS, dtype: str = "F32"
) -> int:
    """Bytes of a LoRA adapter's tensors (PEFT saves F32 unless the adapter was cast). Raises WorkloadError."""
    if dtype not in DTYPES:
        raise WorkloadError(f"no element type {dtype!r}")
    return DTYPES[dtype].row_nbytes(lora_params(matrices, rank, targets=targets))
