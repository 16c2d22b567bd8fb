"""GGUF: the header of one file as it stands, keys and types verbatim; tensor data is never read.

Format: docs/gguf.md of ggml. What is refused, and when: gguf_init_from_reader in gguf.cpp, llama.cpp b11434.
Version 1 had 32-bit counts and lengths; 2 made them 64-bit; 3 added big-endian files. The codes of everything that
can be wrong are the rows of `_gguf_defects.py`.
"""

from __future__ import annotations

import struct
from types import MappingProxyType

from inspector.errors import FormatError, NotAModelFile
from inspector.formats._cursor import Cursor, Stop
from inspector.formats._gguf_raw import RawTensor
from inspector.formats._gguf_values import SCALAR_NAMES, Values
from inspector.formats._strings import check_length
from inspector.formats.modelfile import ModelFile, TensorInfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from inspector.formats.gguf_like import Stretch
    from inspector.formats.modelfile import LongArray
    from inspector.sources import Source

MAGIC = b"GGUF"
OLDEST, NEWEST = 2, 3
DEFAULT_ALIGNMENT = 32
MAX_DIMS = 4  # ggml.h, GGML_MAX_DIMS
MAX_NAME = 63  # ggml.h, GGML_MAX_NAME less its final NUL
# The smallest records: an empty key with a one-byte value; a scalar tensor without a name.
MIN_KV, MIN_TENSOR = 13, 24
# What is refused: hundreds of times what the largest files have.
MAX_KEYS, MAX_TENSORS = 1 << 18, 1 << 17
I64_MAX, U64_MAX = (1 << 63) - 1, (1 << 64) - 1
# Guesses for remote sources: bytes of a tensor record, and of the keys (a chat template) behind the vocabulary.
TENSOR_NBYTES, LAST_KEYS_NBYTES = 80, 16 << 10


class _Header:
    """What has been read so far: a reader that stops half-way still has something to show."""

    def __init__(self, cursor: Cursor, *, strict: bool, like: Stretch | None = None) -> None:
        self.values = Values(cursor, strict=strict)
        self.like = like
        self.metadata: dict[str, Any] = {}
        self.types: dict[str, str] = {}
        self.tensors: tuple[TensorInfo, ...] = ()
        self.version = 0
        self.alignment = DEFAULT_ALIGNMENT
        self.end = 0


def _read_version(cursor: Cursor) -> int:
    """The version; the cursor learns the byte order from it, as llama.cpp does."""
    raw = cursor.take(4)
    version = int.from_bytes(raw, "little")
    if version and not version & 0xFFFF:
        cursor.set_order(">")
        version = int.from_bytes(raw, "big")
    return version


def _check_version(version: int) -> None:
    if version == 1:
        raise Stop("unsupported-version", "GGUF version 1 (32-bit counts), which no current reader takes", 4)
    if not OLDEST <= version <= NEWEST:
        raise Stop("unsupported-version", f"GGUF version {version}; known are {OLDEST} and {NEWEST}", 4)


def _check_count(cursor: Cursor, n: int, what: str, *, most: int, smallest: int, at: int) -> None:
    """Before any loop: is there room for `n` records?"""
    room = cursor.remaining
    if n > most:
        swapped = int.from_bytes(n.to_bytes(8, "little"), "big")
        mixed = "; in the other byte order it would be sensible" if swapped <= most else ""
        raise Stop("absurd-count", f"{n:,} {what}{mixed}", at)
    if n * smallest > room:
        raise Stop("bad-count", f"{n:,} {what} need {n * smallest:,} bytes or more; {room:,} are left", at)


def _read_header(header: _Header) -> None:
    values = header.values
    cursor = values.cursor
    cursor.take(len(MAGIC))
    header.version = _read_version(cursor)
    values.set_order()
    _check_version(header.version)
    if cursor.order == ">":
        values.report("big-endian", "a big-endian file: it loads on big-endian machines only", 4)
    n_tensors, n_kv = cursor.next_u64(), cursor.next_u64()
    _check_count(cursor, n_tensors, "tensors", most=MAX_TENSORS, smallest=MIN_TENSOR, at=8)
    _check_count(cursor, n_kv, "metadata keys", most=MAX_KEYS, smallest=MIN_KV, at=16)
    values.metadata, values.tail = header.metadata, TENSOR_NBYTES * n_tensors + LAST_KEYS_NBYTES
    _read_metadata(header, n_kv)
    header.end = cursor.offset
    header.alignment = _alignment(header, n_tensors)
    _check_count(cursor, n_tensors, "tensors", most=MAX_TENSORS, smallest=MIN_TENSOR, at=8)
    raws: list[RawTensor] = []
    try:
        _read_tensors(values, n_tensors, raws)
    finally:
        header.end = cursor.offset
        if raws:
            header.end += -header.end % header.alignment
        header.tensors = _place(header, raws, complete=len(raws) == n_tensors)


def _read_metadata(header: _Header, n: int) -> None:
    """All keys; the first of two equal ones counts, as in gguf_find_key."""
    values = header.values
    cursor = values.cursor
    while n > 0:
        n -= 1
        start = cursor.offset
        if len(cursor.buf) - cursor.pos < MIN_KV:
            cursor.source.expect(min(start + values.tail, cursor.size))
        key = values.key()
        if header.like is not None and key == header.like.key and key not in header.metadata:
            n -= _leap(header, header.like, n)
            continue
        value, type_name = values.value(key)
        if key in header.metadata:
            values.report("duplicate-key", "this key is given twice", start, where=key)
            continue
        header.metadata[key] = value
        header.types[key] = type_name


def _leap(header: _Header, like: Stretch, n: int) -> int:
    """Take over a stretch of another header; returns how many keys it has beside the one that has been read."""
    cursor = header.values.cursor
    keys = like.keys_at(cursor.offset + len(like.head))
    if cursor.take(len(like.head)) != like.head or len(keys) > n + 1 or any(k in header.metadata for k, _, _ in keys):
        raise Stop("bad-count", "not the keys of the other header", cursor.offset)
    cursor.pos += like.end - like.start
    cursor.source.leap(cursor.offset, min(cursor.offset + like.rest_nbytes, cursor.size))
    for key, value, type_name in keys:
        header.metadata[key], header.types[key] = value, type_name
    return len(keys) - 1


def _alignment(header: _Header, n_tensors: int) -> int:
    key = "general.alignment"
    report, value = header.values.report, header.metadata.get(key, DEFAULT_ALIGNMENT)
    if key not in header.metadata:
        return DEFAULT_ALIGNMENT
    if header.types[key] != "u32":
        report("bad-alignment", f"of type {header.types[key]}, must be u32", where=key)
    elif not value or value & (value - 1):
        report("bad-alignment", f"{value} is not a power of two", where=key)
    elif n_tensors and value > 0xFFFF and header.end + -header.end % value > header.values.cursor.size:
        report("bad-alignment", f"an alignment of {value:,} leads past the end of the file", where=key)
    else:
        if value % 8 or value > 0xFFFF + 1:
            report("odd-alignment", f"{value:,} is not a multiple of 8 of reasonable size", where=key)
        return int(value)
    return DEFAULT_ALIGNMENT


def _read_tensors(values: Values, n: int, raws: list[RawTensor]) -> None:
    """The tensor records, appended to `raws` one by one."""
    cursor = values.cursor
    order = cursor.order
    u32 = struct.Struct(order + "I")
    tails = tuple(struct.Struct(f"{order}{dims}qiQ") for dims in range(MAX_DIMS + 1))
    seen: set[str] = set()
    for i in range(n):
        if len(cursor.buf) - cursor.pos < TENSOR_NBYTES:
            cursor.source.expect(min(cursor.offset + TENSOR_NBYTES * (n - i) + 4096, cursor.size))
        record = cursor.offset
        name = _tensor_name(values, record)
        if name in seen:
            values.report("duplicate-tensor", "a second tensor of this name", record, where=name)
        seen.add(name)
        n_dims = cursor.unpack(u32)[0]
        tail = cursor.unpack(tails[n_dims] if n_dims <= MAX_DIMS else _long_tail(values, n_dims, name))
        raw = RawTensor(name, tail[-3::-1], tail[-2], tail[-1], record)
        raw.nbytes = _nbytes(values, raw)
        raws.append(raw)


def _tensor_name(values: Values, record: int) -> str:
    cursor = values.cursor
    n = cursor.next_u64()
    pos = cursor.pos
    if n <= MAX_NAME and (raw := cursor.buf[pos : pos + n]).isascii() and len(raw) == n:
        cursor.pos = pos + n
        return raw.decode()  # nearly every name
    if n > MAX_NAME:
        check_length(cursor, n, record)
        name = cursor.take(min(n, 256)).decode("utf-8", "replace")
        values.report("tensor-name-too-long", f"a name of {n:,} bytes; {MAX_NAME} are allowed", record, where=name)
        if n <= 256:
            return name
        cursor.pos += n - 256
        return f"{name}…(+{n - 256:,} bytes at {record:,})"
    raw = cursor.take(n)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        name = raw.decode("utf-8", "surrogateescape")
        values.report("not-utf8", "a tensor name that is not UTF-8", record + 8, where=name)
        return name


def _long_tail(values: Values, n_dims: int, name: str) -> struct.Struct:
    """The layout of a record with too many dimensions, while it is still believable."""
    cursor = values.cursor
    if n_dims > 64:
        raise Stop("too-many-dims", f"{n_dims:,} dimensions; {MAX_DIMS} are allowed", cursor.offset - 4, where=name)
    values.report("too-many-dims", f"{n_dims} dimensions; {MAX_DIMS} are allowed", cursor.offset - 4, where=name)
    return struct.Struct(f"{cursor.order}{n_dims}qiQ")


def _nbytes(values: Values, raw: RawTensor) -> int | None:
    """Bytes of a tensor, or None with a defect noted where gguf.cpp would refuse its shape or type."""
    dtype, n, dim = raw.dtype, 1, 1
    for dim in raw.shape:
        n *= max(0, dim)  # two negative ones must not make a positive
    if dtype is None or not 0 < n <= I64_MAX or len(raw.shape) > MAX_DIMS or dim % dtype.block_elems:
        from inspector.formats._gguf_layout import check_shape

        if not check_shape(values, raw):
            return None
        assert dtype is not None
    nbytes = n // dtype.block_elems * dtype.block_bytes
    if nbytes > U64_MAX:
        values.report("too-many-bytes", f"{nbytes:,} bytes do not fit 64 bits", raw.record, where=raw.name)
        return None
    return nbytes


def _place(header: _Header, raws: list[RawTensor], *, complete: bool) -> tuple[TensorInfo, ...]:
    """Tensors at their place in the file; gguf.cpp wants each exactly behind the one before, padded."""
    start, alignment, running, exact = header.end, header.alignment, 0, True
    tensors = []
    for raw in raws:
        nbytes = raw.nbytes
        exact = exact and raw.offset == running and nbytes is not None
        running += -(-(nbytes or 0) // alignment) * alignment
        words = "" if raw.dtype is not None else _unknown(raw.type_id)
        tensors.append(TensorInfo(raw.name, raw.shape, raw.dtype, start + raw.offset, nbytes, words))
    if complete and (not exact or running > U64_MAX or start + running != header.values.cursor.size):
        from inspector.formats._gguf_layout import check_layout

        return check_layout(header.values, raws, tuple(tensors), start=start, alignment=alignment)
    return tuple(tensors)


def _unknown(type_id: int) -> str:
    from inspector.dtypes import unknown_ggml_type

    return unknown_ggml_type(type_id)


def read_like(source: Source, like: Stretch) -> ModelFile | None:
    """The header of a file that repeats a stretch of another's, or None where anything at all is not as expected."""
    try:
        model = _read(source, strict=True, head=b"", like=like)
    except FormatError:
        model = None
    if model is None or model.defects or like.key not in model.metadata:
        source.leap(0, 0)
        return None
    return model


def read_gguf(source: Source, *, strict: bool = True, head: bytes = b"") -> ModelFile:
    """What the header of a GGUF file says; `head` is what a caller has already read of its beginning.

    Strict: the first defect that a loader would refuse raises FormatError (NotAModelFile, Truncated,
    UnsupportedVersion, LimitExceeded), except a data section that is cut short: see `ModelFile.missing_nbytes`.
    Not strict: all defects are collected, and what could be read is returned. Raises SourceError.
    """
    return _read(source, strict=strict, head=head)


def _read(source: Source, *, strict: bool, head: bytes, like: Stretch | None = None) -> ModelFile:
    cursor = Cursor(source, head=head)
    header = _Header(cursor, strict=strict, like=like)
    try:
        cursor.need(min(len(MAGIC), source.size))
        if cursor.buf[: len(MAGIC)] != MAGIC:
            raise NotAModelFile(f"{source.name}: not a GGUF file", 0)
        _read_header(header)
    except Stop as stop:
        header.values.report(stop.code, stop.what, stop.offset, where=stop.where)
    return ModelFile(
        name=source.name,
        format="gguf",
        version=header.version,
        size=source.size,
        header_bytes=header.end,
        metadata=MappingProxyType(header.metadata),
        tensors=header.tensors,
        metadata_types=MappingProxyType(header.types),
        defects=header.values.all_defects(),
        byte_order="little" if cursor.order == "<" else "big",
        alignment=header.alignment,
        path=source.path,
    )


def read_array(source: Source, array: LongArray, *, byte_order: str = "little") -> Iterator[Any]:
    """The elements of an array that the header reader passed over, one by one, read window by window.

    A "char" array is one string. Raises Truncated where the file has shrunk since.
    """
    order = "<" if byte_order == "little" else ">"
    cursor = Cursor(source, base=array.offset, order=order)
    values = Values(cursor, strict=False)
    try:
        if array.elem == "char":
            yield cursor.take(array.nbytes).decode("utf-8", "surrogateescape")
        elif array.elem in SCALAR_NAMES:
            code, size = SCALAR_NAMES[array.elem]
            for first in range(0, array.length, 4096):
                numbers = values.numbers(code, size, min(4096, array.length - first))
                yield from map(bool, numbers) if array.elem == "bool" else numbers
        else:
            for _ in range(array.length):
                yield cursor.take(cursor.next_u64()).decode("utf-8", "surrogateescape")
    except Stop as stop:
        values.strict = True
        values.report(stop.code, stop.what, stop.offset)


def read_strings(source: Source, array: LongArray, *, byte_order: str = "little") -> Iterator[str]:
    """The strings of a long string array, `surrogateescape` where they are not UTF-8. Raises Truncated."""
    return read_array(source, array, byte_order=byte_order)
