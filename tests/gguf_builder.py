"""A GGUF writer that can lie: every count, length, type and offset may be given instead of worked out."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from inspector.dtypes import GGML_DTYPES

U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARR, U64, I64, F64 = range(13)
CODES = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B", U64: "Q", I64: "q", F64: "d"}
NAMES = {
    U8: "u8", I8: "i8", U16: "u16", I16: "i16", U32: "u32", I32: "i32", F32: "f32", BOOL: "bool", STR: "str",
    ARR: "arr", U64: "u64", I64: "i64", F64: "f64",
}  # fmt: skip


@dataclass
class Str:
    """A string whose length word says something else than its bytes."""

    raw: bytes
    length: int | None = None


@dataclass
class Arr:
    """An array; `count` may lie. Elements of an ARR array are `Arr`s."""

    elem: int
    values: tuple[Any, ...] | list[Any] | bytes
    count: int | None = None


@dataclass
class Tensor:
    """Dimensions innermost first, as in the file; `offset` and `n_dims` may lie."""

    name: str | bytes | Str
    dims: tuple[int, ...] = (32,)
    type: int = 0
    offset: int | None = None
    n_dims: int | None = None

    @property
    def nbytes(self) -> int:
        dtype = GGML_DTYPES.get(self.type)
        n = 1
        for dim in self.dims:
            n *= dim
        return 0 if dtype is None or n < 0 else n // dtype.block_elems * dtype.block_bytes


def pack_str(value: str | bytes | Str, order: str = "<") -> bytes:
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    if isinstance(value, Str):
        return struct.pack(order + "Q", len(value.raw) if value.length is None else value.length) + value.raw
    return struct.pack(order + "Q", len(value)) + value


def pack_value(kind: int, value: Any, order: str = "<") -> bytes:
    if kind == STR:
        return pack_str(value, order)
    if kind != ARR:
        return struct.pack(order + CODES[kind], value) if kind in CODES else bytes(value)
    count = len(value.values) if value.count is None else value.count
    head = struct.pack(order + "iQ", value.elem, count)
    if isinstance(value.values, bytes):
        return head + value.values
    if value.elem in CODES:
        return head + struct.pack(f"{order}{len(value.values)}{CODES[value.elem]}", *value.values)
    return head + b"".join(pack_value(value.elem, v, order) for v in value.values)


def pack_kv(key: str | bytes | Str, kind: int, value: Any, order: str = "<") -> bytes:
    return pack_str(key, order) + struct.pack(order + "i", kind) + pack_value(kind, value, order)


def pack_tensor(tensor: Tensor, offset: int, order: str = "<") -> bytes:
    n_dims = len(tensor.dims) if tensor.n_dims is None else tensor.n_dims
    return (
        pack_str(tensor.name, order)
        + struct.pack(order + "I", n_dims)
        + b"".join(struct.pack(order + "q", dim) for dim in tensor.dims)
        + struct.pack(order + "i", tensor.type)
        + struct.pack(order + "Q", offset if tensor.offset is None else tensor.offset)
    )


def build(
    kv: tuple[tuple[Any, int, Any], ...] | list[tuple[Any, int, Any]] = (),
    tensors: tuple[Tensor, ...] | list[Tensor] = (),
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    order: str = "<",
    n_kv: int | None = None,
    n_tensors: int | None = None,
    alignment: int = 32,
    data: bytes | None = None,
    tail: bytes = b"",
) -> bytes:
    """A GGUF file. `alignment` is the one used for writing; `data=None` fills the data section to its right length."""
    head = [magic, struct.pack(order + "I", version)]
    head.append(struct.pack(order + "Q", len(tensors) if n_tensors is None else n_tensors))
    head.append(struct.pack(order + "Q", len(kv) if n_kv is None else n_kv))
    head += [pack_kv(key, kind, value, order) for key, kind, value in kv]
    offset = 0
    for tensor in tensors:
        head.append(pack_tensor(tensor, offset, order))
        offset += -(-tensor.nbytes // alignment) * alignment
    raw = b"".join(head)
    if tensors:
        raw += b"\0" * (-len(raw) % alignment)
    return raw + (bytes(i % 256 for i in range(offset)) if data is None else data) + tail
