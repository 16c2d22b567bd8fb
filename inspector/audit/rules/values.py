"""VA: what the weights hold, read only with --deep: in pieces, so that memory stays flat whatever a tensor's size."""

from __future__ import annotations

from inspector.audit.readers.holes import half_written, may_be_zero, unwritten
from inspector.audit.registry import Hit, rule
from inspector.errors import InspectorError
from inspector.record import Record
from inspector.units import format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, Final

    from inspector.audit.subject.records import AuditedFile, Subject
    from inspector.dtypes import Dtype
    from inspector.formats.modelfile import TensorInfo
    from inspector.sources import Source

PIECE: Final = 8 << 20
# Floats by their bits: unsigned type, mask of the exponent, mask of the fraction. An exponent of ones alone is an
# infinity, with a fraction a NaN.
_IEEE: Final[Mapping[str, tuple[str, int, int]]] = {
    "F64": ("u8", 0x7FF0000000000000, 0x000FFFFFFFFFFFFF),
    "F32": ("u4", 0x7F800000, 0x007FFFFF),
    "C64": ("u4", 0x7F800000, 0x007FFFFF),
    "F16": ("u2", 0x7C00, 0x03FF),
    "BF16": ("u2", 0x7F80, 0x007F),
    "F8_E5M2": ("u1", 0x7C, 0x03),
}
# Bytes that are NaN in the 8-bit types without infinities (their sign bit masked out), and in powers of two.
_NAN_BYTES: Final[Mapping[str, tuple[int, int]]] = {
    "F8_E4M3": (0x7F, 0x7F), "F8_E4M3FNUZ": (0xFF, 0x80), "F8_E5M2FNUZ": (0xFF, 0x80), "F8_E8M0": (0xFF, 0xFF),
}  # fmt: skip
# Where the scales of a block lie: (byte, type) each. ggml-common.h; what ggml_validate_row_data looks at (b11434).
# NVFP4 has none here: every byte is a valid scale of its.
_SCALES: Final[Mapping[str, tuple[tuple[int, str], ...]]] = {
    **dict.fromkeys(("Q4_0", "Q5_0", "Q8_0", "IQ4_NL", "IQ4_XS", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S",
                     "IQ1_S", "Q1_0", "Q2_0"), ((0, "F16"),)),
    **dict.fromkeys(("Q4_1", "Q5_1", "Q8_1", "Q4_K", "Q5_K"), ((0, "F16"), (2, "F16"))),
    "Q2_K": ((80, "F16"), (82, "F16")), "Q3_K": ((108, "F16"),), "Q6_K": ((208, "F16"),), "Q8_K": ((0, "F32"),),
    "TQ1_0": ((52, "F16"),), "TQ2_0": ((64, "F16"),), "MXFP4": ((0, "F8_E8M0"),),
}  # fmt: skip
_WIDTHS: Final = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


class Values(Record):
    """What was found in one tensor: how many NaN and infinite elements (or block scales), and whether all is 0."""

    file: str
    name: str
    n_nan: int
    n_inf: int
    all_zero: bool
    of_blocks: bool


def _non_finite(raw: Any, dtype: str, order: str) -> tuple[int, int]:
    """NaN and infinite elements among bytes of one float type."""
    import numpy as np

    if dtype in _NAN_BYTES:
        mask, nan = _NAN_BYTES[dtype]
        return int(np.count_nonzero((raw.view("u1") & mask) == nan)), 0
    if dtype not in _IEEE:
        return 0, 0
    kind, exponent, fraction = _IEEE[dtype]
    bits = raw.view(order + kind)
    special = (bits & bits.dtype.type(exponent)) == exponent
    n = int(np.count_nonzero(special))
    if not n:
        return 0, 0
    n_nan = int(np.count_nonzero(bits[special] & bits.dtype.type(fraction)))
    return n_nan, n - n_nan


def _block_scales(raw: Any, dtype: Dtype, order: str) -> tuple[int, int, bool]:
    """NaN and infinite scales of whole blocks, and whether all scales are 0."""
    import numpy as np

    blocks = raw.reshape(-1, dtype.block_bytes)
    n_nan = n_inf = 0
    zero = True
    if dtype.name == "IQ1_M":  # one half float, spread over the top nibbles of the four 16-bit words at byte 48
        words = np.ascontiguousarray(blocks[:, 48:56]).view(order + "u2").reshape(-1, 4) >> 12
        packed = words[:, 0] | (words[:, 1] << 4) | (words[:, 2] << 8) | (words[:, 3] << 12)
        columns = [(packed.astype(order + "u2").view("u1"), "F16")]
    else:
        columns = [
            (np.ascontiguousarray(blocks[:, at : at + _WIDTHS.get(kind, 1)]).reshape(-1), kind)
            for at, kind in _SCALES.get(dtype.name, ())
        ]
    for column, kind in columns:
        nan, inf = _non_finite(column, kind, order)
        n_nan, n_inf = n_nan + nan, n_inf + inf
        zero = zero and kind in _IEEE and not column.any()
    return n_nan, n_inf, zero and bool(columns)


def _examine(source: Source, tensor: TensorInfo, *, order: str) -> tuple[int, int, bool]:
    import numpy as np

    dtype = tensor.dtype
    assert dtype is not None
    n_nan = n_inf = 0
    zero = True
    piece = PIECE - PIECE % (dtype.block_bytes * 8)
    at, end = tensor.offset, tensor.offset + (tensor.nbytes or 0)
    while at < end:
        data = source.read_at(at, min(piece, end - at))
        if len(data) < min(piece, end - at):
            return n_nan, n_inf, False  # cut short: a finding of its own
        raw = np.frombuffer(data, dtype="u1")
        if dtype.is_block_quantized:
            nan, inf, empty = _block_scales(raw, dtype, order)
        else:
            (nan, inf), empty = _non_finite(raw, dtype.name, order), zero and not raw.any()
        n_nan, n_inf, zero = n_nan + nan, n_inf + inf, zero and empty
        at += len(data)
    return n_nan, n_inf, zero


def _wanted(tensor: TensorInfo) -> bool:
    return tensor.dtype is not None and bool(tensor.nbytes) and (tensor.dtype.is_float or tensor.dtype.block_elems > 1)


def _examine_file(subject: Subject, file: AuditedFile) -> Iterator[Values]:
    model = file.model
    assert model is not None
    order = "<" if model.byte_order == "little" else ">"
    total, done = model.tensors_nbytes, 0
    with subject.open_source(file.name) as source:
        for tensor in model.tensors:
            subject.say(f"reading {file.name}: {format_nbytes(done)} of {format_nbytes(total)}")
            done += tensor.nbytes or 0
            if not _wanted(tensor) or tensor.offset + (tensor.nbytes or 0) > source.size:
                continue
            assert tensor.dtype is not None
            found = _examine(source, tensor, order=order)
            if any(found):
                yield Values(file.name, tensor.name, *found, of_blocks=tensor.dtype.is_block_quantized)


def _is_matrix(subject: Subject, found: Values) -> bool:
    file = next(f for f in subject.files if f.name == found.file)
    assert file.model is not None
    shape = next(t.shape for t in file.model.tensors if t.name == found.name)
    return sum(n > 1 for n in shape) > 1


def _make(subject: Subject) -> tuple[Values, ...]:
    found: list[Values] = []
    for file in subject.files:
        # overlapping tensors would be read over and over: such a file is refused anyway
        if file.model is None or any(d.fatal for d in file.model.defects if d.code != "truncated-data"):
            continue
        try:
            found += _examine_file(subject, file)
        except InspectorError:
            continue  # it could be read when its header was; what is wrong now is no matter of values
    return tuple(found)


def values(subject: Subject) -> tuple[Values, ...]:
    """What was found in all tensors of a subject; read once, whichever rule asks first. Raises nothing."""
    found: tuple[Values, ...] = subject.cached("values", lambda: _make(subject))
    return found


@rule("VA001", "nan-values", severity="warning", needs="values", hint="convert or download the model again")
def nan_values(subject: Subject) -> Iterator[Hit]:
    """
    Weights that are not a number (NaN).

    Why it matters: one NaN makes every answer NaN. Only looked at with --deep.
    """
    for v in values(subject):
        if v.n_nan and not v.of_blocks:
            yield Hit(f"{v.file}: {v.name}", f"{v.n_nan:,} elements are NaN")


@rule("VA002", "infinite-values", severity="warning", needs="values", hint="convert or download the model again")
def infinite_values(subject: Subject) -> Iterator[Hit]:
    """
    Weights that are infinite.

    Why it matters: usually an overflow when the model was converted to 16 bits; the answers become NaN. Masks, which
    are infinite by design, are left out. Only looked at with --deep.
    """
    for v in values(subject):
        if v.n_inf and not v.of_blocks and "mask" not in v.name.lower():
            yield Hit(f"{v.file}: {v.name}", f"{v.n_inf:,} elements are infinite")


@rule("VA003", "all-zero-tensor", severity="warning", needs="values", hint="convert or download the model again")
def all_zero_tensor(subject: Subject) -> Iterator[Hit]:
    """
    A weight matrix of nothing but zeros.

    Why it matters: a hole in the file, from a download or copy that set space aside and did not fill it. Biases, norms
    and the fresh half of an adapter may be zero and are left out. Only looked at with --deep.
    """
    for v in values(subject):
        if v.all_zero and _is_matrix(subject, v) and not may_be_zero(v.name):
            yield Hit(f"{v.file}: {v.name}", "all elements are 0")


@rule("VA004", "broken-scales", severity="warning", needs="values", hint="quantise the model again")
def broken_scales(subject: Subject) -> Iterator[Hit]:
    """
    Block scales of a quantised GGUF tensor that are NaN or infinite.

    Why it matters: every element of such a block is NaN; llama.cpp refuses the file with --check-tensors. Only looked
    at with --deep.
    """
    for v in values(subject):
        if v.of_blocks and (v.n_nan or v.n_inf):
            yield Hit(f"{v.file}: {v.name}", f"{v.n_nan + v.n_inf:,} block scales are NaN or infinite")


@rule(
    "VA005", "never-written-values", severity="error", needs="values", hint="download it again: hf download REPO FILE"
)
def never_written_values(subject: Subject) -> Iterator[Hit]:
    """
    Weights that were never written: the file has its full size, and holes where they should be.

    Why it matters: a download tool set the space aside and did not fill all of it. The model loads and answers
    nonsense. The same as FL016, which is a warning until the values are asked about. Only looked at with --deep.
    """
    for file in subject.files:
        if (found := unwritten(file)) is not None:
            yield Hit(f"{file.name}: {found.first}", f"{found.n_tensors:,} tensors were never written")
    for name, n, size in half_written(subject):
        yield Hit(name, f"{n:,} of {size:,} bytes were never written")
