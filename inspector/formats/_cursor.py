"""A window of 64 KiB that slides forward over a source: no byte is read twice, none before it is needed."""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from inspector.sources import Source

# Below 128 KiB the allocator uses its memory again: 512 KiB cost a cold start 8 % in page faults, 4 MiB a third.
# A remote source fetches in steps of its own.
WINDOW = 64 << 10
# The longest header seen is 20 MB. A header that makes us read this much was built to.
MAX_READ = 256 << 20


class Stop(Exception):
    """The header cannot be read any further; `code` names the defect."""

    def __init__(self, code: str, what: str, offset: int | None = None, *, where: str = "") -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.offset = offset
        self.where = where


class Cursor:
    """Reads forward only. `pos` may stand beyond the buffer after a skip; `take` then reads from there.

    `order` is "<" or ">". Raises Stop where the file ends first, or after 256 MiB.
    """

    __slots__ = ("base", "buf", "n_read", "order", "pos", "size", "source", "u64")

    def __init__(self, source: Source, *, head: bytes = b"", base: int = 0, order: str = "<") -> None:
        self.source = source
        self.size = source.size
        self.buf = head
        self.base = base
        self.pos = 0
        self.n_read = 0
        self.set_order(order)

    def set_order(self, order: str) -> None:
        """Byte order of all numbers from here on."""
        self.order = order
        self.u64 = struct.Struct(order + "Q").unpack_from

    @property
    def offset(self) -> int:
        """Where the cursor stands, in bytes from the start of the file."""
        return self.base + self.pos

    @property
    def remaining(self) -> int:
        """Bytes between the cursor and the end of the file."""
        return self.size - self.base - self.pos

    def need(self, n: int) -> None:
        """Have `n` bytes in the buffer from `pos` on."""
        if len(self.buf) - self.pos < n:
            self._slide(n)

    def _slide(self, n: int) -> None:
        rest = self.buf[self.pos :]
        self.base += self.pos
        self.pos = 0
        start = self.base + len(rest)
        if self.base + n > self.size:
            raise Stop("truncated-header", f"the file ends inside its header, after {self.size:,} bytes", self.base)
        if self.n_read > MAX_READ:
            raise Stop("header-too-long", f"the header is longer than {MAX_READ >> 20} MiB", self.base)
        most = min(max(WINDOW, n) - len(rest), self.size - start)
        chunk = self.source.read_some(start, n - len(rest), most)
        self.n_read += len(chunk)
        self.buf = rest + chunk if rest else chunk
        if len(self.buf) < n:
            end = start + len(chunk)
            raise Stop("truncated-header", f"the file ends inside its header, after {end:,} bytes", self.base)

    def take(self, n: int) -> bytes:
        """The next `n` bytes."""
        self.need(n)
        start = self.pos
        self.pos = start + n
        return self.buf[start : start + n]

    def unpack(self, layout: struct.Struct) -> tuple[Any, ...]:
        """The next numbers, as laid out."""
        self.need(layout.size)
        start = self.pos
        self.pos = start + layout.size
        return layout.unpack_from(self.buf, start)

    def next_u64(self) -> int:
        """The next 64-bit count."""
        self.need(8)
        start = self.pos
        self.pos = start + 8
        value: int = self.u64(self.buf, start)[0]
        return value
