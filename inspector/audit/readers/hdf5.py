"""The attributes of an HDF5 file's root group: where Keras keeps the layers of a model, as JSON.

HDF5 File Format Specification 3.0: superblocks 0 to 3, object headers 1 and 2, attributes 1 to 3, the global heap.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final

    from inspector.sources import Source

MAGIC: Final = b"\x89HDF\r\n\x1a\n"
MAX_MESSAGES: Final = 2_000
MAX_OF_HEADER: Final = 200_000  # messages of one object
MAX_ATTRIBUTE: Final = 64 << 20
_UNDEFINED: Final = (1 << 64) - 1


class NotRead(Exception):
    """A part of the format that this reader does not know, or that is damaged."""


def find_base(source: Source) -> int:
    """Where the file begins, behind a block that is the user's own. Raises SourceError."""
    base = 0
    while base < min(source.size, 1 << 20) and source.read_at(base, 8) != MAGIC:
        base = base * 2 or 512
    return base


def root_header(source: Source, base: int) -> int:
    """Where the root group's object header is."""
    head = source.read_at(base, 128)
    version = head[8]
    if version in {0, 1}:
        if head[13:15] != b"\x08\x08":
            raise NotRead("offsets of another size")
        at = 24 + (4 if version else 0) + 32 + 8
    elif version in {2, 3}:
        if head[9:11] != b"\x08\x08":
            raise NotRead("offsets of another size")
        at = 12 + 24
    else:
        raise NotRead("a superblock of no known version")
    (address,) = struct.unpack_from("<Q", head, at)
    return base + int(address)


def _messages(
    source: Source,
    block: tuple[int, int],
    head: Callable[[bytes, int], tuple[int, int]],
    width: int,
    goes_on: Callable[[int, int], tuple[int, int]],
) -> Iterator[tuple[int, bytes]]:
    """The messages of a block (its place and length) and of those that it goes on in.

    `head`: kind and length of the message at a place, which takes `width` bytes; `goes_on`: place and length of the
    next block's messages, of what a continuation says.
    """
    blocks = [block]
    n_messages, n_bytes = MAX_OF_HEADER, MAX_ATTRIBUTE
    for _ in range(MAX_MESSAGES):
        if not blocks:
            return
        place, left = blocks.pop(0)
        read = source.read_at(place, min(left, n_bytes))
        n_bytes -= len(read)
        i = 0
        while i + width <= len(read) and n_messages:
            n_messages -= 1
            kind, n = head(read, i)
            body = read[i + width : i + width + n]
            if kind == 0x10 and len(body) >= 16:
                blocks.append(goes_on(*struct.unpack_from("<QQ", body)))
            else:
                yield kind, body
            i += width + n
        if not n_messages or n_bytes <= 0:
            break
    raise NotRead("more messages than are looked at")


def old_messages(source: Source, base: int, at: int) -> Iterator[tuple[int, bytes]]:
    """The messages of an object header of version 1, through its continuations."""
    (size,) = struct.unpack_from("<I", source.read_at(at, 16), 8)

    def head(read: bytes, i: int) -> tuple[int, int]:
        kind, n = struct.unpack_from("<HH", read, i)
        return kind, n

    return _messages(source, (at + 16, size), head, 8, lambda where, length: (base + where, length))


def new_messages(source: Source, base: int, at: int) -> Iterator[tuple[int, bytes]]:
    """The same of version 2: blocks that a continuation leads to have a signature before them and a sum behind."""
    head = source.read_at(at, 64)
    flags = head[5]
    i = 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    size = int.from_bytes(head[i : i + width], "little")
    return _messages(
        source,
        (at + i + width, size),
        lambda read, j: (read[j], int.from_bytes(read[j + 1 : j + 3], "little")),
        4 + (2 if flags & 4 else 0),
        lambda where, length: (base + where + 4, max(length - 8, 0)),
    )


def heap_object(source: Source, base: int, reference: bytes) -> bytes:
    """What a variable-length value refers to in the global heap."""
    n, address, index = struct.unpack_from("<IQI", reference)
    head = source.read_at(base + address, 16)
    if head[:4] != b"GCOL":
        raise NotRead("a value that is not in the heap")
    end = base + address + struct.unpack_from("<Q", head, 8)[0]
    at = base + address + 16
    for _ in range(MAX_MESSAGES):
        entry = source.read_at(at, 16)
        if at >= end or len(entry) < 16:
            break
        number, _, size = struct.unpack("<HH4xQ", entry)
        if number == index and number:
            if n > MAX_ATTRIBUTE:
                raise NotRead(f"a value of {n:,} bytes")
            return source.read_at(at + 16, min(n, size))
        at += 16 + -(-size // 8) * 8
    raise NotRead("a value that is not in the heap")


def _attribute(source: Source, base: int, body: bytes) -> tuple[str, bytes]:
    """An attribute's name and value."""
    version = body[0]
    n_name, n_type, n_space = struct.unpack_from("<HHH", body, 2)
    at = 9 if version == 3 else 8

    def padded(n: int) -> int:
        return -(-n // 8) * 8 if version == 1 else n

    name = body[at : at + n_name].rstrip(b"\0").decode("utf-8", "replace")
    at += padded(n_name)
    kind = body[at] & 15
    value = body[at + padded(n_type) + padded(n_space) :]
    if kind == 9:
        return name, heap_object(source, base, value) if len(value) >= 16 else b""
    return name, value.rstrip(b"\0")


def root_attributes(source: Source) -> dict[str, bytes]:
    """The attributes of the root group. Raises NotRead, SourceError."""
    base = find_base(source)
    try:
        at = root_header(source, base)
        new = source.read_at(at, 4) == b"OHDR"
        found: dict[str, bytes] = {}
        for kind, body in (new_messages if new else old_messages)(source, base, at):
            if kind == 0x0C and len(body) > 8:
                name, value = _attribute(source, base, body)
                found[name] = value
            elif kind == 0x15 and _is_dense(body):
                raise NotRead("attributes in a layout that is not read")
    except (struct.error, IndexError):
        raise NotRead("damaged") from None
    return found


def _is_dense(body: bytes) -> bool:
    """Whether the attributes lie elsewhere, in a heap of their own."""
    at = 2 + (2 if body[1] & 1 else 0)
    return int.from_bytes(body[at : at + 8], "little") != _UNDEFINED
