"""What a GGUF is called and what it is: the quant its name and its `general.file_type` claim, and what tensors hold."""

from __future__ import annotations

from types import MappingProxyType

from inspector.quantization.mix_targets import BASE_TYPES, FALLBACK, FILE_TYPES
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Final

    from inspector.checkpoint import Checkpoint
    from inspector.formats.modelfile import TensorInfo

# MXFP4 is for experts only; everything else, and a model without experts altogether, gets Q8_0. IQ3_XS takes the
# type below its base for most of the attention and, with experts, for FFN gate and up.
_KIN: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"MXFP4_MOE": ("Q8_0",), "IQ3_XS": ("IQ3_XXS",), "Q8_K_XL": ("F16", "BF16")}
)
_GUESSED: Final = 1024  # a bit that old loaders set when the file did not say
_WEIGHTS_OUTSIDE: Final = ("token_embd", "output.", "per_layer_token_embd", "position_embd")


class Share(Record):
    """How many elements, and what part of all of them (thousandths, rounded down), one element type holds."""

    dtype: str
    n_elements: int
    nbytes: int
    permille: int


class QuantLabel(Record):
    """What is claimed and what is there.

    `claimed`: the claim that counts (the file name's, else `general.file_type`'s), None where there is none;
    `actual`: the mix by what most of its blocks are made of ("Q4_K, 87 % of parameters"); `honest`: whether the
    claim describes the tensors (None: no claim to judge); `words`: one phrase for people.
    """

    claimed: str | None
    claimed_by_name: str | None
    claimed_by_key: str | None
    actual: str
    shares: tuple[Share, ...]
    honest: bool | None
    words: str


def quant_label(checkpoint: Checkpoint) -> QuantLabel:
    """The claims of a GGUF beside what its tensors are."""
    name = checkpoint.files[0].name if checkpoint.files else checkpoint.target
    return judge(checkpoint.tensors, name=name, file_type=checkpoint.metadata.get("general.file_type"))


def judge(tensors: Iterable[TensorInfo], *, name: str = "", file_type: object = None) -> QuantLabel:
    """The claims of a file name and a `general.file_type` beside what tensors are."""
    tensors = tuple(tensors)
    shares, inside = share_by_type(tensors), share_by_type(body(tensors))
    by_name, by_key = label_in_name(name), label_of_key(file_type)
    claimed = by_name or by_key
    honest = is_honest(claimed, body(tensors)) if claimed is not None and inside else None
    actual = actual_label(inside or shares, shares)
    return QuantLabel(claimed, by_name, by_key, actual, shares, honest, _words(claimed, honest, actual, shares))


def body(tensors: Iterable[TensorInfo]) -> tuple[TensorInfo, ...]:
    """The matrices inside the blocks: what a quant label is about (embedding and head often are kept finer)."""
    return tuple(t for t in tensors if len(t.shape) > 1 and not t.name.startswith(_WEIGHTS_OUTSIDE))


def share_by_type(tensors: Iterable[TensorInfo]) -> tuple[Share, ...]:
    """Element types by the parameters that they hold, most first."""
    counts: dict[str, list[int]] = {}
    for t in tensors:
        row = counts.setdefault(t.dtype.name if t.dtype is not None else t.dtype_name or "unknown", [0, 0])
        row[0] += t.n_elements
        row[1] += t.nbytes or 0
    total = sum(n for n, _ in counts.values())
    ordered = sorted(counts.items(), key=lambda item: (-item[1][0], item[0]))
    return tuple(Share(dtype, n, nbytes, n * 1000 // total if total else 0) for dtype, (n, nbytes) in ordered)


def actual_label(inside: tuple[Share, ...], shares: tuple[Share, ...]) -> str:
    """The element type that most of the blocks are made of, and its part of all parameters."""
    if not inside:
        return "no tensors"
    main = inside[0].dtype
    permille = next((s.permille for s in shares if s.dtype == main), 0)
    return f"{main}, {permille / 10:.0f} % of parameters"


def is_honest(claimed: str, tensors: Iterable[TensorInfo]) -> bool | None:
    """Whether blocks made like this may be called `claimed`; None for a name that is not known.

    A mix keeps its name while its base type is about the most common one in the blocks: mixes lift single tensors
    (attention V, FFN down), never most of the model. What llama-quantize falls back to counts as the base type where
    rows do not divide into 256. Dynamic mixes (UD-, _XL) choose types tensor by tensor: half the bits more or less.
    """
    base = BASE_TYPES.get(claimed.removeprefix("UD-"))
    if base is None:
        return None
    counts: dict[str, int] = {}
    for t in tensors:
        name = t.dtype.name if t.dtype is not None else ""
        kin = (name in _KIN.get(claimed, ()) and (base != "MXFP4" or "_exps" not in t.name)) or (
            t.shape[-1] % 256 != 0 and name == FALLBACK.get(base)
        )
        counts[base if kin else name] = counts.get(base if kin else name, 0) + t.n_elements
    # phi-3's fused tensors are the extreme of the honest: Q3_K_L keeps 447 thousandths of Q3_K beside 526 of Q5_K
    if counts.get(base, 0) * 5 >= max(counts.values(), default=0) * 4:
        return True
    if claimed.startswith("UD-") or claimed.endswith("_XL"):
        bits, expected = _bits(share_by_type(tensors)), _base_bits(base)
        return expected * 2 <= bits * 3 and bits * 2 <= expected * 3
    return False


def _bits(shares: tuple[Share, ...]) -> float:
    n = sum(s.n_elements for s in shares)
    return sum(s.nbytes for s in shares) * 8 / n if n else 0.0


def _base_bits(base: str) -> float:
    from inspector.dtypes import DTYPES

    return DTYPES[base].bits_per_weight


def label_of_key(file_type: object) -> str | None:
    """The name of a `general.file_type` number; None where there is none or llama.cpp has no name for it."""
    if not isinstance(file_type, int) or isinstance(file_type, bool) or file_type < 0:
        return None
    return FILE_TYPES.get(file_type & ~_GUESSED)


def label_in_name(name: str) -> str | None:
    """The quant label that a file name carries, the last where it has several: `UD-Q4_K_XL`, `IQ3_XXS`, `F16`."""
    stem = name.rpartition("/")[2].rpartition("\\")[2]
    stem = stem[:-5] if stem.lower().endswith(".gguf") else stem
    pieces = stem.upper().replace(".", "-").replace(" ", "-").split("-")
    for i in range(len(pieces) - 1, -1, -1):
        label = _label_at_end(pieces[i])
        if label is not None:
            return f"UD-{label}" if i and pieces[i - 1] == "UD" else label
    return None


def _label_at_end(piece: str) -> str | None:
    """The longest known label that ends a piece of a name (`MODEL_Q4_K_M` ends in Q4_K_M)."""
    while piece:
        if piece in BASE_TYPES:
            return piece
        piece = piece.partition("_")[2]
    return None


def _words(claimed: str | None, honest: bool | None, actual: str, shares: tuple[Share, ...]) -> str:
    if claimed is None:
        return actual
    if honest is not False:
        return claimed
    main = max(shares, key=lambda s: s.n_elements, default=None)
    if main is None:
        return claimed
    return f"named {claimed}, but {main.permille / 10:.0f} % of parameters are {main.dtype}"
