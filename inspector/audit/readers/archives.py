"""Zip and tar archives read just far enough to find the pickles in them: bounded, lenient, nothing written to disk.

Lenient, since loaders are: PyTorch ignores encryption flags and checksums, so neither hides a member here.
"""

from __future__ import annotations

import struct
import zlib

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from inspector.sources import Source

MAX_MEMBERS: Final = 1 << 16
MAX_DIRECTORY: Final = 8 << 20
MAX_INFLATED: Final = 48 << 20


class Member(Record):
    """One file of an archive: `start` is where its (compressed) bytes begin, `method` zip's number (0: as it is)."""

    name: str
    start: int
    packed: int
    size: int
    method: int


class Budget:
    """How many bytes may still be inflated."""

    def __init__(self, left: int = MAX_INFLATED) -> None:
        self.left = left


class Inflated:
    """A compressed run of bytes, read forwards only."""

    def __init__(self, source: Source, start: int, packed: int, decoder: Any, budget: Budget) -> None:
        self.source, self.at, self.end = source, start, start + packed
        self.decoder, self.budget = decoder, budget
        self.buf, self.buf_start = b"", 0
        self.failed = ""

    def _more(self) -> bool:
        tail = getattr(self.decoder, "unconsumed_tail", b"")
        raw = tail or self.source.read_at(self.at, min(1 << 15, self.end - self.at))
        if not tail:
            self.at += len(raw)
        if not raw or self.budget.left <= 0:
            self.failed = self.failed or ("" if self.budget.left > 0 else "it unpacks to more than is looked at")
            return False
        try:
            out = self.decoder.decompress(raw, 1 << 17)
        except Exception as error:  # zlib.error, EOFError, LZMAError, OSError: each library has its own
            self.failed = f"its compression is broken ({type(error).__name__})"
            return False
        self.budget.left -= len(out)
        self.buf += out
        return bool(out) or self.at < self.end

    def read_at(self, offset: int, length: int) -> bytes:
        if offset > self.buf_start:
            drop = offset - self.buf_start
            while len(self.buf) < drop:
                drop -= len(self.buf)
                self.buf_start += len(self.buf)
                self.buf = b""
                if not self._more():
                    return b""
            self.buf = self.buf[drop:]
            self.buf_start = offset
        while len(self.buf) < length and self._more():
            pass
        return self.buf[:length]


def open_member(source: Source, member: Member, budget: Budget) -> tuple[Any, str]:
    """`read_at` over a member's own bytes, or None and why not."""
    if member.method == 0:
        size = min(member.packed, max(source.size - member.start, 0))

        def read_at(offset: int, length: int) -> bytes:
            return source.read_at(member.start + offset, max(0, min(length, size - offset)))

        return read_at, ""
    if member.method == 8:
        decoder = zlib.decompressobj(-15)
        return Inflated(source, member.start, member.packed, decoder, budget).read_at, ""
    return None, f"packed by method {member.method}, which is not looked into"


def _directory(source: Source) -> tuple[bytes, int, str]:
    """The central directory, how many members it claims, and what is wrong."""
    tail_at = max(0, source.size - 65_557)
    tail = source.read_at(tail_at, 65_557)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < 22:
        return b"", 0, "a zip archive without its directory: cut short"
    n, size, start = struct.unpack_from("<HII", tail, at + 10)
    if at >= 20 and tail[at - 20 : at - 16] == b"PK\6\7":
        (end64,) = struct.unpack_from("<Q", tail, at - 12)
        record = source.read_at(end64, 56)
        if record[:4] == b"PK\6\6" and len(record) == 56:
            n, size, start = struct.unpack_from("<QQQ", record, 32)
    if n > MAX_MEMBERS or size > MAX_DIRECTORY:
        return b"", n, f"a zip archive of {n:,} members: more than are looked at"
    raw = source.read_at(start, size)
    if n and raw[:4] != b"PK\1\2":  # something stands before the archive
        raw = source.read_at(max(0, tail_at + at - size), size)
    return raw, n, ""


def _wide(extra: bytes, sizes: list[int]) -> list[int]:
    """Sizes beyond 4 GiB stand in an extra field, in this order, only those that did not fit."""
    at = 0
    while at + 4 <= len(extra):
        tag, n = struct.unpack_from("<HH", extra, at)
        if tag == 1:
            body = extra[at + 4 : at + 4 + n]
            for i, value in enumerate(sizes):
                if value == 0xFFFFFFFF and len(body) >= 8:
                    sizes[i] = int.from_bytes(body[:8], "little")
                    body = body[8:]
        at += 4 + n
    return sizes


def zip_members(source: Source) -> tuple[list[Member], str]:
    """The members as the directory lists them; where it is missing, as their own headers do."""
    raw, n, problem = _directory(source)
    if problem:
        return list(_by_headers(source)), problem
    out: list[Member] = []
    at = 0
    while at + 46 <= len(raw) and raw[at : at + 4] == b"PK\1\2" and len(out) < n:
        method, packed, size, n_name, n_extra, n_note = struct.unpack_from("<10xH8xIIHHH", raw, at)
        (header,) = struct.unpack_from("<I", raw, at + 42)
        name = raw[at + 46 : at + 46 + n_name].decode("utf-8", "replace")
        extra = raw[at + 46 + n_name : at + 46 + n_name + n_extra]
        size, packed, header = _wide(extra, [size, packed, header])
        out.append(Member(name, header, packed, size, method))
        at += 46 + n_name + n_extra + n_note
    return out, "" if len(out) == n else "a zip archive with a broken directory"


def locate(source: Source, member: Member) -> Member | None:
    """A member with its place past its local header, or None where there is no such header."""
    head = source.read_at(member.start, 30)
    if len(head) < 30 or head[:4] != b"PK\3\4":
        return None
    n_name, n_extra = struct.unpack_from("<HH", head, 26)
    return member.replace(start=member.start + 30 + n_name + n_extra)


def _by_headers(source: Source) -> Iterator[Member]:
    """One header after the other from the start, while their sizes lead to the next; the last runs to the end."""
    at = 0
    for _ in range(1000):
        head = source.read_at(at, 30)
        if len(head) < 30 or head[:4] != b"PK\3\4":
            return
        flags, method, packed, size, n_name, n_extra = struct.unpack_from("<6xHH8xIIHH", head)
        name = source.read_at(at + 30, n_name).decode("utf-8", "replace")
        start = at + 30 + n_name + n_extra
        if flags & 8 or packed == 0xFFFFFFFF or start + packed > source.size:
            yield Member(name, at, max(source.size - start, 0), max(size, source.size), method)
            return
        yield Member(name, at, packed, size, method)
        at = start + packed


def tar_members(source: Source) -> Iterator[Member]:
    """The plain files of a tar archive."""
    at = 0
    for _ in range(2000):
        head = source.read_at(at, 512)
        if len(head) < 512 or not head.strip(b"\0"):
            return
        digits = head[124:136].strip(b" \0")
        if not digits or not digits.isdigit() or set(digits) - set(b"01234567"):
            return
        size = int(digits, 8)
        if head[156:157] in b"0\0":
            yield Member(head[:100].rstrip(b"\0").decode("utf-8", "replace"), at + 512, size, size, 0)
        at += 512 + -(-size // 512) * 512


def unpacker(head: bytes) -> Any:
    """A decoder for a stream that begins so, or None: gzip, zlib, bzip2, xz, lzma as joblib and pandas write them."""
    if head[:2] == b"\x1f\x8b":
        return zlib.decompressobj(31)
    if head[:1] == b"\x78" and head[1:2] in b"\x01\x5e\x9c\xda" and int.from_bytes(head[:2], "big") % 31 == 0:
        return zlib.decompressobj(15)
    if head[:3] == b"BZh":
        import bz2

        return bz2.BZ2Decompressor()
    if head[:6] == b"\xfd7zXZ\0" or head[:3] == b"\x5d\0\0":
        import lzma

        return lzma.LZMADecompressor(memlimit=64 << 20)
    return None
