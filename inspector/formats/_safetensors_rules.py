"""The rules of a safetensors header, one by one: what every defect is called, and which of them loaders refuse.

Verdicts are those of safetensors 0.8.0 (safetensors/src/tensor.rs: `Metadata::validate` and the serde types).
"""

from __future__ import annotations

from inspector.dtypes import SAFETENSORS_DTYPES
from inspector.errors import FormatError
from inspector.formats.modelfile import Defect, TensorInfo
from inspector.formats.strict_json import Pairs, check_tree, exact_int, scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Final

    from inspector.dtypes import Dtype

_U64: Final = (1 << 64) - 1
_SHOWN: Final = 50  # defects of one kind that are listed
# name → (type, bits an element, mask of the offset bits that are zero when aligned)
TYPES: Final[Mapping[str, tuple[Dtype, int, int]]] = {
    d.name: (d, d.block_bytes * 8 // d.block_elems, 0 if d.block_elems > 1 else d.block_bytes - 1)
    for d in SAFETENSORS_DTYPES.values()
}
# Every loader refuses these files, but the header says all it has to say: no reason to stop.
_READ_ON: Final = frozenset({"truncated-data", "unknown-dtype"})


class Defects:
    """What is wrong so far; in strict mode the first defect that leaves no answer is raised instead."""

    def __init__(self, *, strict: bool) -> None:
        self.strict = strict
        self.found: list[Defect] = []
        self._counts: dict[str, int] = {}

    def add(
        self,
        code: str,
        what: str,
        *,
        where: str = "",
        offset: int | None = None,
        fatal: bool = True,
        error: type[FormatError] = FormatError,
    ) -> None:
        if self.strict and fatal and code not in _READ_ON:
            raise error(f"tensor {where!r}: {what}" if where else what, offset)
        n = self._counts[code] = self._counts.get(code, 0) + 1
        if n <= _SHOWN:
            self.found.append(Defect(code, what, offset, where, fatal))

    def done(self) -> tuple[Defect, ...]:
        for code, n in self._counts.items():
            if n > _SHOWN:
                fatal = next(d.fatal for d in self.found if d.code == code)
                self.found.append(Defect(code, f"{n - _SHOWN:,} more of this kind", None, "", fatal))
        return tuple(self.found)


class Contents:
    """What a header holds, before it becomes a ModelFile."""

    __slots__ = ("data_nbytes", "metadata", "tensors")

    def __init__(self, tensors: Sequence[TensorInfo], metadata: Mapping[str, str], data_nbytes: int) -> None:
        self.tensors = tensors
        self.metadata = metadata
        self.data_nbytes = data_nbytes


def note_misaligned(tensors: Sequence[TensorInfo], base: int, defects: Defects) -> None:
    """Note tensors whose data do not start at a multiple of their element's size."""
    for tensor in tensors:
        if tensor.dtype and tensor.nbytes and (tensor.offset - base) & TYPES[tensor.dtype.name][2]:
            what = f"starts at {tensor.offset - base:,} in the data, not a multiple of {tensor.dtype.block_bytes}"
            defects.add("unaligned-tensor", what, where=tensor.name, offset=tensor.offset, fatal=False)


class _Row:
    """One tensor's entry as written: offsets within the data section."""

    __slots__ = ("begin", "dtype", "dtype_name", "end", "name", "shape")

    def __init__(self, name: str, dtype_name: str, shape: tuple[int, ...], begin: int, end: int) -> None:
        self.name = name
        self.dtype_name = dtype_name
        self.dtype = SAFETENSORS_DTYPES.get(dtype_name)
        self.shape = shape
        self.begin = begin
        self.end = end


def read_carefully(text: str, base: int, defects: Defects) -> Contents:
    """The contents of any header, every defect noted. `base`: where data start. Raises JsonError, LimitExceeded."""
    root = scan(text, base=8, pairs_hook=Pairs, parse_int=exact_int)
    check_tree(root)
    if text[:1] != "{":
        what = "white space before the object" if isinstance(root, Pairs) else "the header is not a JSON object"
        defects.add(
            "leading-whitespace" if isinstance(root, Pairs) else "not-an-object",
            what,
            offset=8,
            fatal=not isinstance(root, Pairs),
        )
    metadata: dict[str, str] = {}
    rows: dict[str, _Row] = {}
    n_metadata = 0
    for key, value in root.pairs if isinstance(root, Pairs) else ():
        if key == "__metadata__":
            n_metadata += 1
            _read_metadata(value, metadata, defects)
            continue
        row = _read_row(key, value, defects)
        if key in rows:
            defects.add("duplicate-tensor", "described more than once; the last one counts", where=key, fatal=False)
        if row is not None:
            rows[key] = row
    if n_metadata > 1:
        defects.add("duplicate-metadata", f"__metadata__ is given {n_metadata} times", offset=8)
    _check_names(rows, defects)
    for row in rows.values():
        _check_size(row, defects)
    data_nbytes = _check_layout(sorted(rows.values(), key=lambda r: (r.begin, r.end)), base, defects)
    tensors = [
        TensorInfo(r.name, r.shape, r.dtype, base + r.begin, max(0, r.end - r.begin), "" if r.dtype else r.dtype_name)
        for r in rows.values()
    ]
    note_misaligned(tensors, base, defects)
    return Contents(tuple(tensors), metadata, data_nbytes)


def _check_names(rows: dict[str, _Row], defects: Defects) -> None:
    if "" in rows:
        defects.add("empty-name", "a tensor without a name", fatal=False)


def _read_metadata(value: Any, metadata: dict[str, str], defects: Defects) -> None:
    if value is None:
        defects.add("null-metadata", "__metadata__ is null", offset=8, fatal=False)
        return
    if not isinstance(value, Pairs):
        defects.add("bad-metadata", "__metadata__ is not an object", offset=8)
        return
    for key, text in value.pairs:
        if not isinstance(text, str):
            defects.add("bad-metadata", f"__metadata__ value of {key!r} is not a string", offset=8)
            continue
        if key in metadata:
            what = f"__metadata__ gives {key!r} more than once; the last one counts"
            defects.add("duplicate-metadata-key", what, fatal=False)
        metadata[key] = text


_FIELDS: Final = ("dtype", "shape", "data_offsets")


def _fields(name: str, value: Any, defects: Defects) -> dict[str, Any] | None:
    """The three fields of an entry. serde also reads them from a bare array in this order."""
    if isinstance(value, list) and len(value) == 3:
        defects.add("unusual-spelling", "an array instead of an object", where=name, fatal=False)
        return dict(zip(_FIELDS, value, strict=True))
    if not isinstance(value, Pairs):
        defects.add("bad-tensor", "its description is not an object", where=name)
        return None
    fields: dict[str, Any] = {}
    for key, field in value.pairs:
        if key not in _FIELDS:
            defects.add("unknown-field", f"unknown field {key[:80]!r}", where=name, fatal=False)
        elif key in fields:
            defects.add("duplicate-field", f"{key} is given twice", where=name)
        else:
            fields[key] = field
    for key in _FIELDS:
        if key not in fields:
            defects.add("missing-field", f"no {key}", where=name)
    return fields


def _is_u64(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _U64


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and all(_is_u64(dim) for dim in value)


def _is_dtype(value: Any) -> bool:
    return isinstance(value, str)


def _is_offsets(value: Any) -> bool:
    return _is_shape(value) and len(value) == 2


_FIELD_RULES: Final[tuple[tuple[str, Callable[[Any], bool], str], ...]] = (
    ("dtype", _is_dtype, "a string"),
    ("shape", _is_shape, "an array of whole numbers below 2^64"),
    ("data_offsets", _is_offsets, "two whole numbers below 2^64"),
)


def _read_row(name: str, value: Any, defects: Defects) -> _Row | None:
    fields = _fields(name, value, defects)
    if fields is None or len(fields) < len(_FIELDS):
        return None
    dtype = fields["dtype"]
    if isinstance(dtype, Pairs) and len(dtype.pairs) == 1 and dtype.pairs[0][1] is None:
        fields["dtype"] = dtype.pairs[0][0]  # serde's other spelling of an enumeration
        defects.add("unusual-spelling", "dtype is an object instead of a string", where=name, fatal=False)
    sound = True
    for field, is_sound, words in _FIELD_RULES:
        if not is_sound(fields[field]):
            defects.add("bad-field", f"{field} is not {words}", where=name)
            sound = False
    if not sound:
        return None
    begin, end = fields["data_offsets"]
    return _Row(name, fields["dtype"], tuple(fields["shape"]), begin, end)


def _check_size(row: _Row, defects: Defects) -> None:
    """Elements × bits: each step fits 64 bits (even where a later dimension is 0), fills bytes, equals the extent."""
    if row.dtype is None:
        defects.add("unknown-dtype", f"unknown type {row.dtype_name[:80]!r}", where=row.name)
        return
    n = 1
    for factor in (*row.shape, TYPES[row.dtype.name][1]):
        n *= factor
        if n > _U64:
            defects.add("size-overflow", "its size does not fit 64 bits", where=row.name)
            return
    if n % 8:
        defects.add("partial-byte", f"{n:,} bits of {row.dtype.name} do not fill whole bytes", where=row.name)
    elif row.end >= row.begin and n // 8 != row.end - row.begin:
        what = f"shape and type make {n // 8:,} bytes, its offsets {row.end - row.begin:,}"
        defects.add("size-mismatch", what, where=row.name)


def _check_layout(rows: list[_Row], base: int, defects: Defects) -> int:
    """In order of offsets: no hole, no overlap. Returns where the data ends, in bytes from its start."""
    end = 0
    for row in rows:
        if row.end < row.begin:
            what = f"ends at {row.end:,} before it begins at {row.begin:,}"
            defects.add("offsets-reversed", what, where=row.name, offset=base + row.begin)
            continue
        if row.begin > end:
            what = f"begins at {row.begin:,} of the data, {row.begin - end:,} bytes after the previous tensor's end"
            defects.add("hole", what, where=row.name, offset=base + end)
        elif row.begin < end:
            what = f"begins at {row.begin:,} of the data, {end - row.begin:,} bytes before the previous tensor's end"
            defects.add("overlap", what, where=row.name, offset=base + row.begin)
        end = max(end, row.end)
    return end


def check_extent(size: int, base: int, contents: Contents, defects: Defects) -> None:
    """The data ends where the file does."""
    expected = base + contents.data_nbytes
    if size < expected:
        tensor = next((t.name for t in contents.tensors if t.offset + (t.nbytes or 0) > size), "")
        what = f"{expected - size:,} of {contents.data_nbytes:,} bytes of data are missing"
        defects.add("truncated-data", what, where=tensor, offset=size)
    elif size > expected and not any(d.fatal for d in defects.found):
        what = f"{size - expected:,} bytes after the last tensor belong to none"
        defects.add("trailing-data", what, offset=expected)
