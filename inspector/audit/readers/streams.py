"""Bytes behind other bytes: parts of a file, and packed runs that are unpacked as far as they are asked for."""

from __future__ import annotations

import zlib

from inspector.audit.readers.lz4 import MAGIC as LZ4_MAGIC
from inspector.audit.readers.lz4 import Lz4
from inspector.errors import SourceError
from inspector.sources import Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

# zlib unpacks some 500 MB a second, the others a tenth of that: their bytes count tenfold.
MAX_INFLATED: Final = 256 << 20
SLOW: Final = 10
MAX_HELD: Final = 64 << 20  # of a packed file that must be read in any order
MAX_DICTIONARY: Final = 64 << 20


class Budget:
    """How many bytes may still be unpacked, all files of one audit together."""

    def __init__(self, left: int = MAX_INFLATED) -> None:
        self.left = left


class Whole(Source):
    """A source that must hold what it says: a read that comes short raises SourceError."""

    def __init__(self, source: Source) -> None:
        self.source, self.name, self.size = source, source.name, source.size

    def read_at(self, offset: int, length: int) -> bytes:
        raw = self.source.read_at(offset, length)
        if len(raw) < min(length, self.size - offset):
            raise SourceError(f"{self.name}: ends at byte {offset + len(raw):,} while it is read, of {self.size:,}")
        return raw


class Region(Source):
    """`size` bytes of a source from `start`, as a source of their own."""

    def __init__(self, source: Source, start: int, size: int, *, name: str = "") -> None:
        self.source, self.start, self.name = source, start, name or source.name
        self.size = max(0, min(size, source.size - start))

    def read_at(self, offset: int, length: int) -> bytes:
        return self.source.read_at(self.start + offset, max(0, min(length, self.size - offset)))


class Inflated(Source):
    """A packed run of bytes, read forwards only; `failed` says why it stopped, "" where it ended.

    `streams`: whether another packed stream may follow the first, as gzip, bzip2 and xz files allow; `left_over`:
    whether something else does.
    """

    def __init__(
        self, source: Source, start: int, packed: int, decoder: Any, budget: Budget, *, name: str = "", cost: int = 1,
        streams: bool = False,
    ) -> None:  # fmt: skip
        self.source, self.at, self.end = source, start, min(start + packed, source.size)
        self.decoder, self.budget, self.cost, self.streams = decoder, budget, cost, streams
        self.name, self.size = name or source.name, 1 << 62
        self.buf, self.buf_start, self.rest = b"", 0, b""
        self.failed, self.left_over = "", False

    def _raw(self) -> bytes:
        """The next packed bytes; none at the end."""
        raw = self.rest or self.source.read_at(self.at, max(0, min(1 << 15, self.end - self.at)))
        if not self.rest:
            self.at += len(raw)
        self.rest = b""
        return raw

    def _next_stream(self) -> bool:
        """Whether another packed stream stands behind the one that ended."""
        self.rest = self.decoder.unused_data.lstrip(b"\0")
        while not self.rest and self.streams and (raw := self._raw()):
            self.rest = raw.lstrip(b"\0")
        if 0 < len(self.rest) < 16:
            begun, self.rest = self.rest, b""
            self.rest = begun + self._raw()
        decoder, self.cost = unpacker(self.rest)
        if not self.streams or decoder is None:
            self.left_over = bool(self.rest) and self.streams
            return False
        self.decoder = decoder
        return True

    def _more(self) -> bool:
        """Whether the next piece of output, perhaps empty, was added."""
        if self.failed or (self.decoder.eof and not self._next_stream()):
            return False
        tail = getattr(self.decoder, "unconsumed_tail", b"")
        raw = tail or (self._raw() if getattr(self.decoder, "needs_input", True) else b"")
        if not raw and getattr(self.decoder, "needs_input", True):
            return self._last()
        if self.budget.left <= 0:
            self.failed = "it unpacks to more than is looked at"
            return False
        try:
            out = self.decoder.decompress(raw, 1 << 17)
        except Exception as error:  # zlib.error, EOFError, LZMAError, OSError: each library has its own
            self.failed = f"its compression is broken ({type(error).__name__})"
            return False
        self.budget.left -= len(out) * self.cost
        self.buf += out
        return True

    def _last(self) -> bool:
        """What zlib still holds where its input ends."""
        out = self.decoder.flush() if hasattr(self.decoder, "flush") else b""
        self.buf += out
        return bool(out)

    def read_at(self, offset: int, length: int) -> bytes:
        if offset < self.buf_start:
            raise SourceError(f"{self.name}: a packed stream is read forwards only")
        while self.buf_start + len(self.buf) < offset:
            self.buf_start, self.buf = self.buf_start + len(self.buf), b""
            if not self._more():
                return b""
        self.buf, self.buf_start = self.buf[offset - self.buf_start :], offset
        while len(self.buf) < length and self._more():
            pass
        return self.buf[:length]


def held(stream: Inflated, limit: int = MAX_HELD) -> bytes | None:
    """All bytes of a stream, or None where they are more than are held at once or cannot be unpacked."""
    pieces: list[bytes] = []
    total = 0
    while piece := stream.read_at(total, 1 << 16):
        pieces.append(piece)
        total += len(piece)
        if total > limit:
            return None
    return None if stream.failed else b"".join(pieces)


def _is_lzma(head: bytes) -> bool:
    """Whether bytes begin as the .lzma format does, which has no magic: as xz tells it (liblzma, alone_decoder.c)."""
    if len(head) < 14 or head[0] >= 225 or head[13] != 0:
        return False
    dictionary, size = int.from_bytes(head[1:5], "little"), int.from_bytes(head[5:13], "little")
    steps = dictionary >> (dictionary.bit_length() - 2) if dictionary > 3 else 0
    round_ = dictionary >= 4096 and dictionary == steps << (dictionary.bit_length() - 2)
    return (round_ or dictionary == 0xFFFFFFFF) and (size == (1 << 64) - 1 or size < 1 << 38)


def unpacker(head: bytes) -> tuple[Any, int]:
    """A decoder for a stream that begins so and what a byte of it costs, or None.

    gzip, zlib, bzip2, xz, lzma and LZ4, as joblib, pandas and tarfile write them.
    """
    if head[:4] == LZ4_MAGIC:
        return Lz4(), SLOW
    if head[:2] == b"\x1f\x8b":
        return zlib.decompressobj(31), 1
    if head[:1] == b"\x78" and head[1:2] in b"\x01\x5e\x9c\xda" and int.from_bytes(head[:2], "big") % 31 == 0:
        return zlib.decompressobj(15), 1
    if head[:3] == b"BZh":
        import bz2

        return bz2.BZ2Decompressor(), SLOW
    if head[:6] == b"\xfd7zXZ\0" or _is_lzma(head):
        import lzma

        return lzma.LZMADecompressor(memlimit=MAX_DICTIONARY + (16 << 20)), SLOW
    return None, 1


def zip_decoder(method: int, head: bytes) -> tuple[Any, int, int]:
    """A decoder for a member of a zip archive, how many bytes of a header it has, and its cost; None for other methods.

    The methods of Python's zipfile: 8 deflate, 12 bzip2, 14 lzma (APPNOTE.TXT 4.4.5, 5.8.8).
    """
    if method == 8:
        return zlib.decompressobj(-15), 0, 1
    if method == 12:
        import bz2

        return bz2.BZ2Decompressor(), 0, SLOW
    if method == 14 and len(head) >= 9:
        import lzma

        n = int.from_bytes(head[2:4], "little")
        coder, size = head[4], int.from_bytes(head[5:9], "little")
        if n == 5 and coder < 225 and size <= MAX_DICTIONARY:
            filters: list[dict[str, Any]] = [
                {"id": lzma.FILTER_LZMA1, "dict_size": max(size, 4096), "lc": coder % 9, "lp": coder // 9 % 5,
                 "pb": coder // 45}
            ]  # fmt: skip
            try:
                return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters), 4 + n, SLOW
            except lzma.LZMAError:
                return None, 0, 1
    return None, 0, 1
