"""Tar archives as Python's tarfile reads them: octal and base-256 sizes, pax and GNU headers, every kind of file."""

from __future__ import annotations

from inspector.audit.readers.zips import Member

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Final

    from inspector.sources import Source

MAX_MEMBERS: Final = 20_000
MAX_PAX: Final = 1 << 20
# tarfile.REGULAR_TYPES: plain, old plain, contiguous, GNU sparse; an unknown kind is read as a plain file as well.
_LINKS: Final = b"12"
_DEVICES: Final = b"346"
MAX_BEHIND: Final = 128 << 20  # zeros behind the end that are looked at
_WITHOUT_DATA: Final = b"123456"  # links, devices, folders, pipes: their size field means nothing


class TooMany(Exception):
    """More members, or longer headers, than are looked at."""


def _number(field: bytes) -> int | None:
    """A number as tarfile.nti reads it; None where it is none."""
    if field[:1] in (b"\x80", b"\xff"):
        value = int.from_bytes(field[1:], "big")
        return value if field[:1] == b"\x80" else value - (1 << (8 * (len(field) - 1)))
    text = field.partition(b"\0")[0].strip()
    try:
        return int(text or b"0", 8)
    except ValueError:
        return None


def _pax(raw: bytes) -> dict[str, str]:
    """The records of an extended header: `length key=value` lines."""
    out: dict[str, str] = {}
    at = 0
    while at < len(raw):
        digits, _, _ = raw[at : at + 20].partition(b" ")
        if not digits.isdigit() or int(digits) < len(digits) + 3:
            break
        record = raw[at + len(digits) + 1 : at + int(digits) - 1]
        key, _, value = record.partition(b"=")
        out[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        at += int(digits)
    return out


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")


def _name(head: bytes, own: Mapping[str, str]) -> str:
    """A member's name: from the extended header, or from its own, with what stands before it in POSIX's form."""
    prefix = _text(head[345:500]) if head[257:262] == b"ustar" and head[263:265] == b"00" else ""
    return own.get("GNU.sparse.name") or own.get("path") or (f"{prefix}/" if prefix else "") + _text(head[:100])


def _behind_map(source: Source, head: bytes, body: int) -> int:
    """Where the data of GNU's sparse file begin: its map may go on in further blocks."""
    more = head[482:483]
    while more == b"\1":
        more = source.read_at(body + 504, 1)
        body += 512
    return body


def _doubt(words: str, at: int) -> Member:
    return Member("", at, 0, 0, 0, at, "doubt", words)


def _kind(kind: bytes, own: Mapping[str, str], *, without: bool) -> str:
    """What a member is, "" for a folder."""
    if not without:
        return "sparse" if kind == b"S" or any(key.startswith("GNU.sparse") for key in own) else "file"
    return "link" if kind in _LINKS else "device" if kind in _DEVICES else ""


def _pax_size(text: str) -> int:
    """A size of an extended header as tarfile takes it: 0 where it is no number."""
    try:
        return int(text) if len(text) < 20 else 0
    except ValueError:
        return 0


def _behind_end(source: Source, at: int) -> int:
    """Where something stands behind the zeros that end an archive, or -1; after too many zeros, where they go on."""
    for _ in range(MAX_BEHIND >> 20):
        raw = source.read_at(at, 1 << 20)
        if left := raw.lstrip(b"\0"):
            return at + (len(raw) - len(left)) // 512 * 512
        if len(raw) < 1 << 20:
            return -1
        at += len(raw)
    return at if source.read_at(at, 1) else -1


def _member(source: Source, head: bytes, at: int, size: int, own: Mapping[str, str]) -> tuple[list[Member], int]:
    """What one header says is there, perhaps with a doubt before it; and where the next one stands."""
    found: list[Member] = []
    kind, body = head[156:157], at + 512
    without = bool(kind) and kind in _WITHOUT_DATA
    if "size" in own:
        told = _pax_size(own["size"])
        if not without and (told < 0 or size not in {0, told} or not own["size"].isdigit()):
            found.append(_doubt("two sizes of one file: readers differ", at))
        size = max(told, 0)
    if kind == b"S":
        body = _behind_map(source, head, body)
    if what := _kind(kind, own, without=without):
        link = own.get("linkpath") or _text(head[157:257]) if without else ""
        n = 0 if without else size
        found.append(Member(_name(head, own), body, n, n, 0, at, what, link))
    return found, body + (0 if without else -(-size // 512) * 512)


def tar_members(source: Source) -> Iterator[Member]:
    """The files and links of an archive, in order. Raises TooMany where it is left before its end."""
    at = 0
    pax: dict[str, str] = {}
    shared: dict[str, str] = {}
    for _ in range(MAX_MEMBERS):
        head = source.read_at(at, 512)
        if len(head) < 512:
            return
        if not head.strip(b"\0"):
            at = _behind_end(source, at)
            if at < 0:
                return
            yield _doubt("something behind its end: tar goes on where Python's reader stops", at)
            if not source.read_at(at, 1).strip(b"\0"):
                return
            continue
        size, kind = _number(head[124:136]), head[156:157]
        if size is None or size < 0:
            yield _doubt("a size that is no number: readers differ in whether it ends there", at)
            return
        body = at + 512
        if kind in b"xgXLK" and kind:
            if size > MAX_PAX:
                raise TooMany(f"a header of {size:,} bytes within it")
            raw = source.read_at(body, size)
            if kind in b"LK":
                pax["path" if kind == b"L" else "linkpath"] = _text(raw)
            elif kind == b"g":
                shared.update(_pax(raw))
            else:
                pax.update(_pax(raw))
            at = body + -(-size // 512) * 512
            continue
        found, at = _member(source, head, at, size, {**shared, **pax})
        pax = {}
        yield from found
    raise TooMany(f"more than {MAX_MEMBERS:,} files in it")
