"""The safetensors header: eight bytes of length, one JSON object, and the rules that safetensors 0.8.0 enforces.

Rules: `read_metadata`, `Metadata::validate` and the serde types of safetensors/src/tensor.rs.
An honest header takes the short way (`_read_plain`), which proves in one pass that nothing is odd; anything it cannot
vouch for is scanned again by the long way (`read_carefully`), which keeps repeated keys and names every defect.
"""

from __future__ import annotations

from itertools import islice
from types import MappingProxyType

from inspector.errors import LimitExceeded, Truncated
from inspector.formats._safetensors_rules import (
    TYPES,
    Contents,
    Defects,
    check_extent,
    note_misaligned,
    read_carefully,
)
from inspector.formats.modelfile import ModelFile, PackedTensors
from inspector.formats.strict_json import JsonError, decode, scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from inspector.formats.modelfile import Kind
    from inspector.sources import Source

MAX_HEADER: Final = 100_000_000  # the format's own limit (MAX_HEADER_SIZE)
# What we list: 145,000 tensors of usual name length. The reference reader takes a hundred times a header's size.
MAX_LISTED_HEADER: Final = 16 << 20
_FIRST_READ: Final = 128 << 10
_MAX_DATA: Final = 1 << 60  # of the short way: far from where 64-bit counts of bits wrap


def read_safetensors(source: Source, *, strict: bool = True) -> ModelFile:
    """Read a safetensors header: names, types, shapes, exact bytes and places of all tensors, and `__metadata__`.

    Offsets are in bytes from the start of the file. Strict: the first thing that safetensors itself would refuse is
    raised (FormatError, Truncated, LimitExceeded), except two that leave the header readable: missing data
    (`missing_nbytes`, defect `truncated-data`) and a type not known here (`unknown-dtype`). Not strict: all defects are
    collected in `defects` and whatever could be read is returned.
    """
    defects = Defects(strict=strict)
    header = _read_header(source, defects)
    base = 8 + len(header)
    contents = Contents((), {}, 0)
    if header:
        contents = _parse(header, base, defects)
        check_extent(source.size, base, contents, defects)
        if base % 8 and not any(d.fatal for d in defects.found):
            defects.add("unaligned-data", f"tensor data starts at byte {base:,}, not a multiple of 8", fatal=False)
    return ModelFile(
        name=source.name,
        format="safetensors",
        version=1,
        size=source.size,
        header_bytes=min(base, source.size),
        metadata=MappingProxyType(dict(contents.metadata)),
        tensors=contents.tensors,
        metadata_types=MappingProxyType(dict.fromkeys(contents.metadata, "str")),
        defects=defects.done(),
        path=source.path,
    )


def _read_header(source: Source, defects: Defects) -> bytes:
    """The JSON bytes, in one read or two; empty when the length alone is a lie."""
    first = source.read_some(0, 8, _FIRST_READ)
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


def _read_rest(source: Source, first: bytes, length: int, defects: Defects) -> bytes:
    header = first[8 : 8 + length]
    if len(header) < length:
        source.expect(8 + length)
        header += source.read_at(8 + len(header), length - len(header))
    if len(header) < length:  # the file shrank, or its size was a lie
        defects.add("header-cut", f"the header ends after {len(header):,} of {length:,} bytes", error=Truncated)
        return b""
    return header


def _parse(header: bytes, base: int, defects: Defects) -> Contents:
    import gc

    collecting = gc.isenabled()
    gc.disable()  # nothing here can form a cycle, and collecting while building doubles the time
    try:
        text = decode(header, base=8)
        return _read_plain(text, base, defects) or read_carefully(text, base, defects)
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
    return Contents((), {}, 0)


# --- the short way -----------------------------------------------------------------------------------------------


def _n_quotes(text: str) -> int | None:
    """How many quotation marks delimit strings, or None where escapes make that hard to say."""
    if "\\" not in text:
        return text.count('"')
    if "\\u" in text or "\\\\" in text:
        return None
    return text.count('"') - text.count('\\"')


def _no_key_repeats(text: str, root: dict[str, Any], metadata: Mapping[str, str] | None) -> bool:
    """Is every key of the text in the dicts made of it? Python's dict hides repeated ones; counting shows them.

    A tensor of exactly three fields has four colons and ten quotation marks, an entry of `__metadata__` one and four.
    A repeated or a further key adds to both and nothing takes any away, so that equal counts prove that there is none;
    where strings hold colons too, quotation marks are counted.
    """
    n_colons = 4 * len(root) + (0 if metadata is None else 1 + len(metadata))
    if text.count(":") == n_colons:
        return True
    return _n_quotes(text) == 10 * len(root) + (0 if metadata is None else 2 + 4 * len(metadata))


def _read_plain(text: str, base: int, defects: Defects) -> Contents | None:
    """The contents of a header with nothing odd in it, tensors in order of their data, or None."""
    if text[:1] != "{" or ("-" in text and "-0" in text) or ("\\" in text and "\\u" in text):  # half a surrogate pair?
        return None
    try:
        root = scan(text, parse_float=_refuse_float)
        metadata = root.pop("__metadata__", None)
        if not _is_plain_metadata(metadata) or not _no_key_repeats(text, root, metadata) or "" in root:
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


def _plain_tensors(root: dict[str, Any], metadata: Mapping[str, str], base: int, defects: Defects) -> Contents | None:
    """All tensors, if each follows the one before. Raises KeyError, TypeError or ValueError where the types are wrong.

    Few shapes repeat in many tensors, so each is checked once and found again by value. What equals a whole number
    above 1 is one (fractions have been refused by now), but `true` equals 1: shapes with 1 in them are checked each
    time, and so are the first offsets.
    """
    known: dict[tuple[str, tuple[int, ...]], Kind] = {}
    kinds: list[Kind] = []
    add = kinds.append
    end = sizes = masks = 0
    for entry in root.values():
        begin, stop = entry["data_offsets"]
        try:
            kind = known[entry["dtype"], tuple(entry["shape"])]
        except KeyError:
            kind = _kind(entry["dtype"], entry["shape"], known)
            sizes, masks = sizes | kind[2], masks | kind[3]
        if begin != end or stop != end + kind[2]:
            return None
        add(kind)
        end = stop
    if end > _MAX_DATA or not _starts_with_numbers(root):
        return None
    tensors = PackedTensors(tuple(root), kinds, start=base, nbytes=end)
    if sizes & masks:  # a sum of aligned sizes is aligned
        note_misaligned(tensors, base, defects)
    return Contents(tensors, metadata, end)


def _starts_with_numbers(root: dict[str, Any]) -> bool:
    """Only the first two tensors have offsets below 2, which `false` and `true` equal."""
    return all(type(n) is int for entry in islice(root.values(), 2) for n in entry["data_offsets"])


def _kind(dtype_name: str, shape: list[int], known: dict[tuple[str, tuple[int, ...]], Kind]) -> Kind:
    """Type, bytes and alignment of a shape not met before; remembered where equality cannot deceive.

    Raises KeyError, TypeError, ValueError.
    """
    if type(shape) is not list:
        raise TypeError(shape)
    dtype, n, mask = TYPES[dtype_name]
    for dim in shape:
        if type(dim) is not int or dim < 1:
            raise ValueError(dim)
        n *= dim
        if n > _MAX_DATA:
            raise ValueError(n)
    if n % 8:
        raise ValueError(n)
    kind = tuple(shape), dtype, n // 8, mask
    if shape and 1 not in shape:
        known[dtype_name, kind[0]] = kind
    return kind
