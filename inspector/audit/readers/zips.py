"""Zip archives as their readers see them: the central directory, the members' own headers, and where the two differ.

PyTorch, Python's zipfile, Java and unzip each trust another part of the format: what stands in one and not in the
other is looked into as well, and said (APPNOTE.TXT 6.3.10).
"""

from __future__ import annotations

import stat
import struct

from inspector.audit.readers.streams import Budget, Inflated, Region, zip_decoder
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from inspector.sources import Source

MAX_MEMBERS: Final = 1 << 16
MAX_DIRECTORY: Final = 16 << 20
MAX_SEARCHED: Final = 256 << 20  # bytes between members that are searched for further headers
_END: Final = b"PK\5\6"
_LOCAL: Final = b"PK\3\4"
_CENTRAL: Final = b"PK\1\2"
_UNIX: Final = 3  # "made by": whose modes stand in a member's attributes
_LOCKED: Final = 1
TAIL: Final = 65_557  # the longest end record


class Member(Record):
    """One file of an archive. `header`: where its own header begins; `start`: where its bytes do; `method`: 0 as it is.

    `kind`: "file"; "link", in a tar archive with where it leads in `link`; there also "device", "sparse" and "doubt"
    (readers differ: in which way is in `link`). `locked`: encrypted.
    """

    name: str
    start: int
    packed: int
    size: int
    method: int
    header: int = 0
    kind: str = "file"
    link: str = ""
    locked: bool = False


class Archive(Record):
    """All members that any reader may see; why the directory cannot be read; what two readers read differently."""

    members: tuple[Member, ...]
    problem: str = ""
    doubts: tuple[str, ...] = ()


class _Directory(Record):
    raw: bytes
    n: int
    start: int
    shift: int
    end: int
    problem: str = ""
    doubts: tuple[str, ...] = ()


def open_member(source: Source, member: Member, budget: Budget, *, name: str = "") -> tuple[Source | None, str]:
    """A member's own bytes as a source (forwards only where it is packed), or None and why not."""
    if member.method == 0:
        return Region(source, member.start, member.packed, name=name), ""
    decoder, skip, cost = zip_decoder(member.method, source.read_at(member.start, 16))
    if decoder is None:
        return None, f"packed by method {member.method}, which is not looked into"
    inside = Inflated(source, member.start + skip, max(member.packed - skip, 0), decoder, budget, name=name, cost=cost)
    return inside, ""


def _find_directory(source: Source) -> _Directory:
    """The directory that Python's zipfile takes: the last end record of the file."""
    tail_at = max(0, source.size - TAIL)
    tail = source.read_at(tail_at, TAIL)
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < 22:
        return _Directory(b"", 0, 0, 0, source.size, "a zip archive without its directory: cut short")
    n, size, start, n_note = struct.unpack_from("<HIIH", tail, at + 10)
    end = tail_at + at
    if at >= 20 and tail[at - 20 : at - 16] == b"PK\6\7":
        (end64,) = struct.unpack_from("<Q", tail, at - 12)
        record = source.read_at(end64, 56)
        if record[:4] != b"PK\6\6":  # something stands before the archive
            end64 = tail_at + at - 76
            record = source.read_at(max(end64, 0), 56)
        if record[:4] == b"PK\6\6" and len(record) == 56:
            n, size, start = struct.unpack_from("<QQQ", record, 32)
            end = end64
    if n > MAX_MEMBERS or size > MAX_DIRECTORY:
        return _Directory(b"", n, 0, 0, source.size, f"a zip archive of {n:,} members: more than are looked at")
    shift = end - size - start
    doubts = []
    if shift:
        doubts.append(f"its directory is {abs(shift):,} bytes from where it says")
    if tail_at + at + 22 + n_note != source.size:
        doubts.append("bytes behind its end")
    if tail.count(_END, max(0, end - size - tail_at)) > 1:
        doubts.append("more than one directory")
    return _Directory(source.read_at(max(end - size, 0), size), n, start, shift, end, "", tuple(doubts))


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


def _listed(d: _Directory) -> list[Member]:
    """The members of a directory, not yet located."""
    out: list[Member] = []
    raw, at = d.raw, 0
    while at + 46 <= len(raw) and raw[at : at + 4] == _CENTRAL and len(out) <= MAX_MEMBERS:
        flags, method, packed, size, n_name, n_extra, n_note = struct.unpack_from("<8xHH8xIIHHH", raw, at)
        mode, header = struct.unpack_from("<II", raw, at + 38)
        is_link = raw[at + 5] == _UNIX and stat.S_ISLNK(mode >> 16)
        name = raw[at + 46 : at + 46 + n_name].decode("utf-8", "replace")
        extra = raw[at + 46 + n_name : at + 46 + n_name + n_extra]
        size, packed, header = _wide(extra, [size, packed, header])
        kind = "link" if is_link else "file"
        out.append(Member(name, header, packed, size, method, header, kind, "", bool(flags & _LOCKED)))
        at += 46 + n_name + n_extra + n_note
    return out


def _local(source: Source, at: int) -> tuple[Member, int] | None:
    """The member whose own header stands here, and its flags."""
    head = source.read_at(at, 30)
    if len(head) < 30 or head[:4] != _LOCAL:
        return None
    flags, method, packed, size, n_name, n_extra = struct.unpack_from("<6xHH8xIIHH", head)
    rest = source.read_at(at + 30, n_name + n_extra)
    name = rest[:n_name].decode("utf-8", "replace")
    size, packed = _wide(rest[n_name:], [size, packed])
    start = at + 30 + n_name + n_extra
    return Member(name, start, packed, size, method, at, locked=bool(flags & _LOCKED)), flags


def _place(source: Source, member: Member, shift: int) -> tuple[Member | None, str]:
    """A listed member at its place, and in which way its own header says something else."""
    found = _local(source, member.header + shift)
    if found is None:
        return None, ""
    own, flags = found
    placed = member.replace(start=own.start, header=own.header, locked=member.locked or own.locked)
    if own.name != member.name:
        return placed, f"{member.name!r} calls itself {own.name!r}"
    if own.method != member.method:
        return placed, f"{member.name!r} is packed in another way than the directory says"
    if not flags & 8 and (own.packed, own.size) != (member.packed, member.size):
        return placed, f"{member.name!r} has another size than the directory says"
    return placed, ""


def _unlisted(covered: list[tuple[int, int]], end: int) -> Iterator[tuple[int, int]]:
    """The runs of bytes before `end` that no listed member takes."""
    at = 0
    for first, last in sorted(covered):
        if first > at:
            yield at, min(first, end)
        at = max(at, last)
    if at < end:
        yield at, end


def _hidden(source: Source, runs: Iterator[tuple[int, int]], doubts: list[str]) -> Iterator[Member]:
    """Members that stand in the file and not in the directory: one header after the other; a second directory."""
    left = MAX_SEARCHED
    n = 0
    for first, last in runs:
        at = first
        while at < last and left > 0 and n < MAX_MEMBERS:
            raw = source.read_at(at, min(1 << 20, last - at))
            left -= len(raw)
            if _END in raw:
                doubts.append("more than one directory")
            place = raw.find(_LOCAL)
            if place < 0:
                if len(raw) < 1 << 20:
                    break
                at += len(raw) - 3
                continue
            found = _local(source, at + place)
            if found is None:
                at += place + 4
                continue
            n += 1
            own, flags = found
            open_end = bool(flags & 8) or own.packed == 0xFFFFFFFF or own.start + own.packed > source.size
            packed = max(last - own.start, 0) if open_end else own.packed
            yield own.replace(packed=packed, size=max(own.size, packed))
            at = own.start if open_end else max(own.start + own.packed, at + place + 4)


def read_zip(source: Source) -> Archive:
    """All members of an archive, listed or not, and what is odd about it."""
    d = _find_directory(source)
    if d.problem:
        return Archive(tuple(_hidden(source, iter([(0, source.size)]), [])), d.problem)
    listed = _listed(d)
    problem = "" if len(listed) == d.n else "a zip archive with a broken directory"
    doubts = list(d.doubts)
    members: list[Member] = []
    covered: list[tuple[int, int]] = []
    names: set[str] = set()
    for m in listed:
        placed, doubt = _place(source, m, d.shift)
        if placed is None:
            problem = problem or f"{m.name!r} is not where the archive's directory says"
            continue
        if doubt:
            doubts.append(doubt)
        if m.name in names:
            doubts.append(f"{m.name!r} is there twice")
        names.add(m.name)
        members.append(placed)
        covered.append((placed.header, placed.start + placed.packed))
    hidden = list(_hidden(source, _unlisted(covered, d.end - len(d.raw)), doubts))
    if hidden:
        doubts.append(f"{hidden[0].name!r} stands in it and not in its directory")
    if not hidden and covered and min(covered)[0]:
        doubts.append("bytes before its first member")
    overlap = any(b[0] < a[1] for a, b in zip(sorted(covered), sorted(covered)[1:], strict=False))
    if overlap:
        doubts.append("members that overlap")
    return Archive(tuple(members + hidden), problem, tuple(dict.fromkeys(doubts)))
