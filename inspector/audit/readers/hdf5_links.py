"""Where an HDF5 file reaches for other files: links to them, data that lies in them, datasets put together from them.

Every group is walked, of both kinds. HDF5 File Format Specification 3.0: III.A (B-trees), III.C-E (groups, local and
global heaps), III.G (fractal heap), IV.A.2 (messages). Keras follows such links and data when it loads weights
(CVE-2026-1669).
"""

from __future__ import annotations

import struct

from inspector.audit.readers.hdf5 import (
    MAX_MESSAGES,
    NotRead,
    find_base,
    heap_object,
    new_messages,
    old_messages,
    root_header,
)
from inspector.sources import Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

MAX_OBJECTS: Final = 50_000  # 300 layers of Keras have 1,500
MAX_NODES: Final = 1_500_000  # of trees, heaps and headers
MAX_READ: Final = 512 << 20
MAX_FAULTS: Final = 20
MAX_NAME: Final = 1 << 16
_UNDEFINED: Final = (1 << 64) - 1
_LINK_INFO, _LINK, _EXTERNAL, _LAYOUT, _TABLE = 0x02, 0x06, 0x07, 0x08, 0x11
_HARD, _SOFT, _OUTSIDE = 0, 1, 64
_VIRTUAL: Final = 3


class _Counted(Source):
    """A source of which only so much is read."""

    def __init__(self, source: Source) -> None:
        self.source, self.name, self.size, self.left = source, source.name, source.size, MAX_READ

    def read_at(self, offset: int, length: int) -> bytes:
        raw = self.source.read_at(offset, length)
        self.left -= len(raw)
        if self.left < 0:
            raise NotRead("more parts than are looked at")
        return raw


class _File:
    """An HDF5 file that is walked: what is still to be looked at, and what was found."""

    def __init__(self, source: Source, base: int) -> None:
        self.source, self.base = source, base
        self.faults: dict[str, None] = {}
        self.seen: set[int] = set()
        self.todo: list[int] = []
        self.nodes = MAX_NODES

    def read(self, address: int, n: int, magic: bytes = b"") -> bytes:
        """`n` bytes at an address, which must begin with `magic`. Raises NotRead."""
        raw = self.source.read_at(self.base + address, n) if address < 1 << 62 else b""
        if len(raw) < len(magic) or not raw.startswith(magic):
            raise NotRead("damaged")
        return raw

    def count(self) -> None:
        self.nodes -= 1
        if self.nodes < 0:
            raise NotRead("more parts than are looked at")

    def node(self, address: int, n: int, magic: bytes) -> bytes:
        self.count()
        raw = self.read(address, n, magic)
        if len(raw) < n:
            raise NotRead("damaged")
        return raw

    def visit(self, address: int) -> None:
        if address != _UNDEFINED and address not in self.seen:
            if len(self.seen) >= MAX_OBJECTS:
                raise NotRead(f"more than {MAX_OBJECTS:,} groups and datasets")
            self.seen.add(address)
            self.todo.append(address)

    def fault(self, words: str) -> None:
        if len(self.faults) < MAX_FAULTS:
            self.faults[words] = None


def outside(source: Source) -> tuple[tuple[str, ...], str]:
    """What of a file lies in other files, in words, and why not all of it was followed: "" where it was."""
    try:
        base = find_base(source)
        file = _File(_Counted(source), base)
    except NotRead as error:
        return (), str(error)
    problem = ""
    try:
        _superblock(file)
        file.visit(root_header(file.source, base) - base)
        while file.todo:
            _object(file, file.todo.pop())
    except NotRead as error:
        problem = str(error)
    except (struct.error, IndexError):
        problem = "damaged"
    return tuple(file.faults), problem


def _superblock(file: _File) -> None:
    """Files that are one of several: old superblocks say so in a block of their own, which no model has."""
    head = file.source.read_at(file.base, 96)
    if head[8] in {0, 1}:
        (driver,) = struct.unpack_from("<Q", head, 24 + (4 if head[8] else 0) + 24)
        if driver != _UNDEFINED:
            file.fault("the file is one part of several")


def _object(file: _File, address: int) -> None:
    """The messages of one group or dataset."""
    start = file.read(address, 16)
    if start[:4] != b"OHDR" and start[:1] != b"\1":
        raise NotRead("damaged")
    messages = new_messages if start[:4] == b"OHDR" else old_messages
    for kind, body in messages(file.source, file.base, file.base + address):
        file.count()
        if kind == _TABLE and len(body) >= 16:
            _old_group(file, *struct.unpack_from("<QQ", body))
        elif kind == _LINK_INFO:
            _dense_group(file, body)
        elif kind == _LINK:
            _link(file, body)
        elif kind == _EXTERNAL:
            _external_data(file, body)
        elif kind == _LAYOUT and body[0] >= 4 and body[1] == _VIRTUAL:
            _virtual(file, body)


def _name(raw: bytes) -> str:
    return repr(raw.partition(b"\0")[0].decode("utf-8", "replace")[:120])


def _link(file: _File, body: bytes) -> None:
    """One link: to an object of this file, to a path, or to another file."""
    flags, i = body[1], 2
    kind = _HARD
    if flags & 8:
        kind, i = body[i], i + 1
    i += (8 if flags & 4 else 0) + (1 if flags & 16 else 0)
    width = 1 << (flags & 3)
    n = int.from_bytes(body[i : i + width], "little")
    i += width + n
    if kind == _HARD:
        file.visit(*struct.unpack_from("<Q", body, i))
    elif kind == _OUTSIDE:
        (size,) = struct.unpack_from("<H", body, i)
        file.fault(f"a link to the file {_name(body[i + 3 : i + 2 + size])}")
    elif kind != _SOFT:
        file.fault("a link of a kind that only programs know which define it")


def _old_group(file: _File, tree: int, _: int) -> None:
    """A group as a B-tree of tables of names."""
    todo = [tree]
    while todo:
        address = todo.pop()
        head = file.node(address, 24, b"TREE")
        level, n = head[5], struct.unpack_from("<H", head, 6)[0]
        raw = file.read(address + 24, 16 * n + 8)
        children = [struct.unpack_from("<Q", raw, 16 * i + 8)[0] for i in range(n)]
        if level:
            todo += children
            continue
        for child in children:
            (count,) = struct.unpack_from("<H", file.node(child, 8, b"SNOD"), 6)
            table = file.read(child + 8, 40 * count)
            for i in range(count):
                _, header, cached = struct.unpack_from("<QQI", table, 40 * i)
                if cached != 2:  # a path, which has no header
                    file.visit(header)


def _external_data(file: _File, body: bytes) -> None:
    """A dataset whose bytes lie in other files."""
    used, heap = struct.unpack_from("<HQ", body, 6)
    (segment,) = struct.unpack_from("<Q", file.read(heap, 32, b"HEAP"), 24)
    for i in range(min(used, MAX_FAULTS)):
        (at,) = struct.unpack_from("<Q", body, 16 + 24 * i)
        file.fault(f"data that lies in the file {_name(file.read(segment + at, 256))}")
    if not used:
        raise NotRead("a list of other files that is empty")


def _virtual(file: _File, body: bytes) -> None:
    """A dataset put together from others: the first that is named stands for all."""
    block = heap_object(file.source, file.base, struct.pack("<I", MAX_NAME) + body[2:14])
    file.fault(f"a dataset put together from {_name(block[9:])} and perhaps others")


# --- groups of many links: a fractal heap of link messages, and a B-tree of their places in it -----------------------


def _dense_group(file: _File, body: bytes) -> None:
    i = 2 + (8 if body[1] & 1 else 0)
    heap, names = struct.unpack_from("<QQ", body, i)
    if heap == _UNDEFINED:
        return
    table = _Heap(file, heap)
    for record in _records(file, names):
        _link(file, table.object(record[4:]))


class _Heap:
    """A fractal heap: objects by their offsets, in blocks that double in size row by row."""

    def __init__(self, file: _File, address: int) -> None:
        head = file.node(address, 144, b"FRHP")
        self.file = file
        (filters,) = struct.unpack_from("<H", head, 7)
        if filters:
            raise NotRead("links that are packed")
        self.width: int
        self.start: int
        self.root: int
        self.width, self.start, self.largest, bits = struct.unpack_from("<HQQH", head, 110)
        self.root, self.rows = struct.unpack_from("<QH", head, 132)
        self.n_offset = (bits + 7) // 8
        if not self.width or not self.start or self.largest < self.start:
            raise NotRead("damaged")
        self.direct_rows = (self.largest // self.start).bit_length() + 1

    def object(self, number: bytes) -> bytes:
        """What a heap's own number of an object refers to."""
        if number[0] & 0x30 == 0x20:  # tiny: it stands in the number itself
            return number[1 : 2 + (number[0] & 15)]
        if number[0] & 0x30:
            raise NotRead("a link longer than a block")
        at = int.from_bytes(number[1 : 1 + self.n_offset], "little")
        n = int.from_bytes(number[1 + self.n_offset :], "little")
        return self.file.read(self.place(at), min(n, MAX_NAME))

    def size(self, row: int) -> int:
        """Bytes of a block of a row."""
        return self.start << max(row - 1, 0)

    def place(self, at: int) -> int:
        """The address of a byte of the heap."""
        block, rows = self.root, self.rows
        for _ in range(64):
            if not rows:
                return block + at
            row = (at // (self.width * self.start)).bit_length()
            if row >= rows:
                break
            at -= self.width * self.size(row) if row else 0  # the rows before it are as long together
            column, at = divmod(at, self.size(row))
            entry = block + 5 + 8 + self.n_offset + 8 * (row * self.width + column)
            self.file.node(block, 5, b"FHIB")
            (block,) = struct.unpack("<Q", self.file.node(entry, 8, b""))
            rows = 0 if row < self.direct_rows else row_count(self.size(row), self.width, self.start)
        raise NotRead("damaged")


def row_count(size: int, width: int, start: int) -> int:
    """Rows of an indirect block that covers `size` bytes of its heap."""
    return (size // (width * start)).bit_length()


def _records(file: _File, address: int) -> Iterator[bytes]:
    """The records of a B-tree of version 2, in no order."""
    head = file.node(address, 34, b"BTHD")
    node, record, depth = struct.unpack_from("<IHH", head, 6)
    root, n = struct.unpack_from("<QH", head, 16)
    if record < 5 or depth > 20 or node < 64:
        raise NotRead("damaged")
    most = (node - 10) // record
    width = _n_bytes(most)
    sums, total = [0], most  # bytes that the sum of records below a child takes, level by level
    for level in range(1, depth + 1):
        pointer = 8 + width + sums[level - 1]
        most = (node - 10 - pointer) // (record + pointer)
        total = (most + 1) * total + most
        sums.append(_n_bytes(total))
    todo = [(root, n, depth)] if n else []
    while todo:
        at, count, level = todo.pop()
        raw = file.node(at, min(node, MAX_MESSAGES << 8), b"BTIN" if level else b"BTLF")
        yield from (raw[6 + i * record : 6 + (i + 1) * record] for i in range(count))
        pointer = 8 + width + sums[level - 1] if level else 0
        for i in range(count + 1 if level else 0):
            place = 6 + count * record + i * pointer
            (child,) = struct.unpack_from("<Q", raw, place)
            todo.append((child, int.from_bytes(raw[place + 8 : place + 8 + width], "little"), level - 1))


def _n_bytes(most: int) -> int:
    return (most.bit_length() - 1) // 8 + 1
