"""The safetensors header: eight bytes of length, one JSON object, and the rules that safetensors 0.8.0 enforces.

Rules: `read_metadata`, `Metadata::validate` and the serde types of safetensors/src/tensor.rs.
An honest header takes the short way (`_read_plain`), which proves in one pass that nothing is odd; anything it cannot
vouch for is scanned again by the long way (`_read_carefully`), which keeps repeated keys and names every defect.
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.dtypes import SAFETENSORS_DTYPES
from inspector.errors import FormatError, LimitExceeded, Truncated
from inspector.formats.modelfile import Defect, ModelFile, TensorInfo
from inspector.formats.strict_json import JsonError, Pairs, check_tree, decode, exact_int, scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Final

    from inspector.dtypes import Dtype
    from inspector.sources import Source

MAX_HEADER: Final = 100_000_000  # the format's own limit (MAX_HEADER_SIZE)
# What we list: 145,000 tensors of usual name length. The reference reader takes a hundred times a header's size.
MAX_LISTED_HEADER: Final = 16 << 20
_FIRST_READ: Final = 128 << 10
_U64: Final = (1 << 64) - 1
_MAX_DATA: Final = 1 << 60  # of the short way: far from where 64-bit counts of bits wrap
_SHOWN: Final = 50  # defects of one kind that are listed

# name → (type, bits an element, mask of the offset bits that are zero when aligned)
_TYPES: Final[Mapping[str, tuple[Dtype, int, int]]] = {
    d.name: (d, d.block_bytes * 8 // d.block_elems, 0 if d.block_elems > 1 else d.block_bytes - 1)
    for d in SAFETENSORS_DTYPES.values()
}
# Every loader refuses these files, but the header says all it has to say: no reason to stop.
_READ_ON: Final = frozenset({"truncated-data", "unknown-dtype"})


class _Defects:
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


class _Contents:
    """What a header holds, before it becomes a ModelFile."""

    __slots__ = ("data_nbytes", "metadata", "tensors")

    def __init__(self, tensors: list[TensorInfo], metadata: Mapping[str, str], data_nbytes: int) -> None:
        self.tensors = tensors
        self.metadata = metadata
        self.data_nbytes = data_nbytes


def read_safetensors(source: Source, *, strict: bool = True) -> ModelFile:
    """Read a safetensors header: names, types, shapes, exact bytes and places of all tensors, and `__metadata__`.

    Offsets are in bytes from the start of the file. Strict: the first thing that safetensors itself would refuse is
    raised (FormatError, Truncated, LimitExceeded), except two that leave the header readable: missing data
    (`missing_nbytes`, defect `truncated-data`) and a type not known here (`unknown-dtype`). Not strict: all defects are
    collected in `defects` and whatever could be read is returned.
    """
    defects = _Defects(strict=strict)
    header = _read_header(source, defects)
    base = 8 + len(header)
    contents = _Contents([], {}, 0)
    if header:
        contents = _parse(header, base, defects)
        _check_extent(source.size, base, contents, defects)
        if base % 8 and not any(d.fatal for d in defects.found):
            defects.add("unaligned-data", f"tensor data starts at byte {base:,}, not a multiple of 8", fatal=False)
    return ModelFile(
        name=source.name,
        format="safetensors",
        version=1,
        size=source.size,
        header_bytes=min(base, source.size),
        metadata=MappingProxyType(dict(contents.metadata)),
        tensors=tuple(contents.tensors),
        metadata_types=MappingProxyType(dict.fromkeys(contents.metadata, "str")),
        defects=defects.done(),
    )


def _read_header(source: Source, defects: _Defects) -> bytes:
    """The JSON bytes, in one read or two; empty when the length alone is a lie."""
    first = source.read_at(0, _FIRST_READ)
    if len(first) < 8:
        defects.add("header-too-short", f"{len(first)} bytes: shorter than the length of a header", error=Truncated)
        return b""
    length = int.from_bytes(first[:8], "little")
    if length > MAX_HEADER:
        what = f"a header of {length:,} bytes: the format allows {MAX_HEADER:,}"
        defects.add("header-too-long", what, offset=0, error=LimitExceeded)
    elif 8 + length > source.size:
        what = f"the header takes {length:,} bytes, the file has {max(0, source.size - 8):,} left"
        defects.add("header-cut", what, offset=0, error=Truncated)
    elif length < 2:
        defects.add("header-empty", f"a header of {length} bytes cannot hold an object", offset=0)
    elif length > MAX_LISTED_HEADER:
        what = f"a header of {length:,} bytes: more than {MAX_LISTED_HEADER:,} are not listed"
        defects.add("header-not-listed", what, offset=0, error=LimitExceeded)
    else:
        return _read_rest(source, first, length, defects)
    return b""


def _read_rest(source: Source, first: bytes, length: int, defects: _Defects) -> bytes:
    header = first[8 : 8 + length]
    if len(header) < length:
        source.expect(8 + length)
        header += source.read_at(8 + len(header), length - len(header))
    if len(header) < length:  # the file shrank, or its size was a lie
        defects.add("header-cut", f"the header ends after {len(header):,} of {length:,} bytes", error=Truncated)
        return b""
    return header


def _parse(header: bytes, base: int, defects: _Defects) -> _Contents:
    import gc

    collecting = gc.isenabled()
    gc.disable()  # nothing here can form a cycle, and collecting while building doubles the time
    try:
        text = decode(header, base=8)
        return _read_plain(text, base, defects) or _read_carefully(text, base, defects)
    except JsonError as error:
        if defects.strict:
            raise
        defects.add(error.code, error.what, offset=error.offset)
    except LimitExceeded as error:
        if defects.strict:
            raise
        defects.add("header-not-listed", error.what, offset=8)
    finally:
        if collecting:
            gc.enable()
    return _Contents([], {}, 0)


# --- the short way -----------------------------------------------------------------------------------------------


def _n_quotes(text: str) -> int | None:
    """How many quotation marks delimit strings, or None where escapes make that hard to say."""
    if "\\" not in text:
        return text.count('"')
    if "\\u" in text or "\\\\" in text:
        return None
    return text.count('"') - text.count('\\"')


def _read_plain(text: str, base: int, defects: _Defects) -> _Contents | None:
    """The contents of a header with nothing odd in it, tensors in order of their data, or None.

    Python's dict hides repeated keys; counting quotation marks shows them: a tensor of exactly three fields has ten,
    an entry of `__metadata__` four.
    """
    n_quotes = _n_quotes(text)
    if n_quotes is None or text[:1] != "{" or ("-" in text and "-0" in text):
        return None
    try:
        root = scan(text, parse_float=_refuse_float)
        metadata = root.pop("__metadata__", None)
        n_quotes -= 10 * len(root) + (0 if metadata is None else 2 + 4 * len(metadata))
        if n_quotes or "" in root or not _is_plain_metadata(metadata):
            return None
        return _plain_tensors(root, metadata or {}, base, defects)
    except (JsonError, KeyError, TypeError, ValueError, AttributeError):
        return None


def _refuse_float(digits: str) -> float:
    raise ValueError(digits)


def _is_plain_metadata(metadata: Any) -> bool:
    if metadata is None:
        return True
    return type(metadata) is dict and all(type(value) is str for value in metadata.values())


def _plain_tensors(root: dict[str, Any], metadata: Mapping[str, str], base: int, defects: _Defects) -> _Contents | None:
    """All tensors, if each follows the one before. Raises KeyError, TypeError or ValueError where the types are wrong.

    Few shapes repeat in many tensors, so each is checked once and found again by value. What equals a whole number
    above 1 is one (fractions have been refused by now), but `true` equals 1: shapes and offsets with 0 or 1 in them
    are checked each time.
    """
    tensors: list[TensorInfo] = []
    add, info = tensors.append, TensorInfo
    known: dict[tuple[str, tuple[int, ...]], tuple[Dtype, int, int]] = {}
    end = misaligned = 0
    for name, entry in root.items():
        begin, stop = entry["data_offsets"]
        key = entry["dtype"], tuple(entry["shape"])
        found = known.get(key)
        if found is None:
            found = _plain_type(key[0], entry["shape"], known)
        dtype, nbytes, mask = found
        if begin != end or stop != end + nbytes or len(entry) != 3:
            return None
        if end < 2 and not (type(begin) is int and type(stop) is int):
            return None
        misaligned |= end & mask
        add(info(name, key[1], dtype, base + end, nbytes))
        end += nbytes
    if end > _MAX_DATA:
        return None
    if misaligned:
        _note_misaligned(tensors, base, defects)
    return _Contents(tensors, metadata, end)


def _plain_type(
    dtype_name: str, shape: list[int], known: dict[tuple[str, tuple[int, ...]], tuple[Dtype, int, int]]
) -> tuple[Dtype, int, int]:
    """Type, bytes and alignment of a shape not met before; remembered where equality cannot deceive."""
    if type(shape) is not list:
        raise TypeError(shape)
    dtype, bits, mask = _TYPES[dtype_name]
    n, deceptive = bits, not shape
    for dim in shape:
        if type(dim) is not int or dim < 1:
            raise ValueError(dim)
        deceptive |= dim == 1
        n *= dim
        if n > _MAX_DATA:
            raise ValueError(n)
    if n % 8:
        raise ValueError(n)
    if not deceptive:
        known[dtype_name, tuple(shape)] = dtype, n // 8, mask
    return dtype, n // 8, mask


def _note_misaligned(tensors: list[TensorInfo], base: int, defects: _Defects) -> None:
    for tensor in tensors:
        if tensor.dtype and tensor.nbytes and (tensor.offset - base) & _TYPES[tensor.dtype.name][2]:
            what = f"starts at {tensor.offset - base:,} in the data, not a multiple of {tensor.dtype.block_bytes}"
            defects.add("unaligned-tensor", what, where=tensor.name, offset=tensor.offset, fatal=False)


# --- the long way ------------------------------------------------------------------------------------------------


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


def _read_carefully(text: str, base: int, defects: _Defects) -> _Contents:
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
    _note_misaligned(tensors, base, defects)
    return _Contents(tensors, metadata, data_nbytes)


def _check_names(rows: dict[str, _Row], defects: _Defects) -> None:
    if "" in rows:
        defects.add("empty-name", "a tensor without a name", fatal=False)


def _read_metadata(value: Any, metadata: dict[str, str], defects: _Defects) -> None:
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


def _fields(name: str, value: Any, defects: _Defects) -> dict[str, Any] | None:
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


def _read_row(name: str, value: Any, defects: _Defects) -> _Row | None:
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


def _check_size(row: _Row, defects: _Defects) -> None:
    """Elements × bits: each step fits 64 bits (even where a later dimension is 0), fills bytes, equals the extent."""
    if row.dtype is None:
        defects.add("unknown-dtype", f"unknown type {row.dtype_name[:80]!r}", where=row.name)
        return
    n = 1
    for factor in (*row.shape, _TYPES[row.dtype.name][1]):
        n *= factor
        if n > _U64:
            defects.add("size-overflow", "its size does not fit 64 bits", where=row.name)
            return
    if n % 8:
        defects.add("partial-byte", f"{n:,} bits of {row.dtype.name} do not fill whole bytes", where=row.name)
    elif row.end >= row.begin and n // 8 != row.end - row.begin:
        what = f"shape and type make {n // 8:,} bytes, its offsets {row.end - row.begin:,}"
        defects.add("size-mismatch", what, where=row.name)


def _check_layout(rows: list[_Row], base: int, defects: _Defects) -> int:
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


def _check_extent(size: int, base: int, contents: _Contents, defects: _Defects) -> None:
    """The data ends where the file does."""
    expected = base + contents.data_nbytes
    if size < expected:
        tensor = next((t.name for t in contents.tensors if t.offset + (t.nbytes or 0) > size), "")
        what = f"{expected - size:,} of {contents.data_nbytes:,} bytes of data are missing"
        defects.add("truncated-data", what, where=tensor, offset=size)
    elif size > expected and not any(d.fatal for d in defects.found):
        what = f"{size - expected:,} bytes after the last tensor belong to none"
        defects.add("trailing-data", what, offset=expected)
