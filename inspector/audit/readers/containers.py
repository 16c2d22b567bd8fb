"""Archives and packed streams: their files one by one, each examined as a file of its own."""

from __future__ import annotations

import json
import re

from inspector.audit.readers.findings import Found
from inspector.audit.readers.keras import MAX_CONFIG, config_faults, is_dense
from inspector.audit.readers.pickle_names import is_danger
from inspector.audit.readers.pickle_search import starts_pickle
from inspector.audit.readers.pickle_values import Global
from inspector.audit.readers.streams import Inflated, held, unpacker
from inspector.audit.readers.tars import TooMany, tar_members
from inspector.audit.readers.zips import TAIL, open_member, read_zip
from inspector.errors import InspectorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from inspector.audit.readers.findings import Allowance, Within
    from inspector.audit.readers.zips import Archive, Member
    from inspector.sources import Source

# The numbers of a checkpoint, by the name that PyTorch gives them.
_STORAGE: Final = re.compile(r"(^|/)(data|constants|tensors)/\d+$")
_MODEL_ARCHIVES: Final = (".pt", ".pth", ".ckpt", ".bin", ".jit", ".ptl", ".mar", ".nemo", ".keras", ".npz", ".skops",
                          ".pkl", ".pickle", ".joblib")  # fmt: skip
# What is opened as a zip archive whatever it begins with: Keras and Python's zipfile look at the end.
BY_END: Final = (".keras", ".skops", ".mar", ".npz", ".zip", ".whl", ".egg", ".jar", ".pyz")
_ZIP_NAMES: Final = (*_MODEL_ARCHIVES, ".zip", ".whl", ".egg", ".jar", ".pyz", ".onnx", ".npy", ".h5")


def is_tar(head: bytes) -> bool:
    """Whether bytes begin with the header of a tar archive of any age: by its checksum, as tarfile decides."""
    digits = head[148:156].partition(b"\0")[0].strip()
    if len(head) < 512 or not digits or set(digits) - set(b"01234567"):
        return False
    return int(digits, 8) == sum(head[:148]) + 8 * 32 + sum(head[156:512])


def is_zip(source: Source, head: bytes, lower: str, *, packed: bool) -> bool:
    """Whether this is read as a zip archive: by its start, or by its end, as Python's zipfile finds it."""
    if head[:4] in {b"PK\3\4", b"PK\5\6"}:
        return True
    if packed or source.size < 22 or not lower.endswith(_ZIP_NAMES):
        return False
    return b"PK\5\6" in source.read_at(max(0, source.size - TAIL), TAIL)


def _escapes(name: str) -> bool:
    return (
        name.startswith(("/", "\\"))
        or ".." in name.replace("\\", "/").split("/")
        or (name[1:2] == ":" and name[:1].isalpha())
    )


def _link_escapes(member: Member) -> bool:
    """Whether a link within an archive leads out of it."""
    if _escapes(member.link) and (member.link.startswith(("/", "\\")) or member.link[1:2] == ":"):
        return True
    depth, below = 0, False
    for part in member.link.replace("\\", "/").split("/"):
        if part == ".." and below:
            return True  # a/..: where a is a link itself, that is somewhere else than it looks
        below = below or part not in {"..", ".", ""}
    for part in [*member.name.replace("\\", "/").split("/")[:-1], *member.link.replace("\\", "/").split("/")]:
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        if depth < 0:
            return True
    return False


def _opened(allowed: Allowance, where: str) -> Found | None:
    """Counts one more file of an archive; a finding where there are too many."""
    allowed.opened -= 1
    if allowed.opened >= 0:
        return None
    return Found(where, "unread", (), "more files in archives than are looked at: the rest was not read")


def examine_zip(source: Source, where: str, within: Within) -> Iterator[Found]:
    """All members that any reader sees, what is odd about the archive, and what formats made of zips say."""
    archive = read_zip(source)
    names = {m.name.rsplit("/", 1)[-1] for m in archive.members}
    torch = not names.isdisjoint({"data.pkl", "constants.pkl"})
    yield Found(where, "torch" if torch else "archive")
    if archive.problem:
        yield Found(where, "broken", (), archive.problem)
    model = torch or where.lower().endswith(_MODEL_ARCHIVES)
    for doubt in archive.doubts[:5]:
        yield Found(where, "doubt", (), doubt, severity="" if model else "warning")
    yield from _own_documents(source, archive, where, within.allowed, names)
    for member in archive.members:
        if _escapes(member.name):
            yield Found(where, "escape", (), f"a file named {member.name[:100]!r}")
        if member.kind == "link":
            yield from _zip_link(source, member, where, within.allowed)
            continue
        if torch and _STORAGE.search(member.name):
            yield from _storage(source, member, where, within)
            continue
        if member.name.endswith("/"):
            continue
        if (full := _opened(within.allowed, where)) is not None:
            yield full
            return
        yield from _member(source, member, where, within)


def _zip_link(source: Source, member: Member, where: str, allowed: Allowance) -> Iterator[Found]:
    """A link within a zip archive: what the file holds is where it leads."""
    inside, _ = open_member(source, member, allowed.inflate)
    to = inside.read_at(0, 4096).decode("utf-8", "replace") if inside is not None else ".."
    if inside is None or _link_escapes(member.replace(link=to)):
        yield Found(where, "escape", (), f"a file named {member.name[:100]!r}, a link to {to[:100]!r}")


def _storage(source: Source, member: Member, where: str, within: Within) -> Iterator[Found]:
    """The numbers of a tensor, which PyTorch takes as they are; another reader may take a pickle for one."""
    head = source.read_at(member.start, 64) if member.method == 0 else b""
    if head[:4] != b"PK\3\4" and not starts_pickle(head):
        return
    for found in _member(source, member, where, within):
        if any(g.called and is_danger(g) for g in found.globals):
            yield found


def _member(source: Source, member: Member, where: str, within: Within) -> Iterator[Found]:
    name = f"{where}: {member.name}"
    if member.locked:  # PyTorch's reader takes the bytes as they are all the same
        yield Found(name, "unread", (), "encrypted: what is in it was not read")
    inside, why = open_member(source, member, within.allowed.inflate, name=name)
    if inside is None:
        yield Found(name, "unread", (), why)
        return
    try:
        yield from within.examine(inside, name, within.allowed, depth=within.depth + 1)
    except InspectorError as error:
        yield Found(name, "broken", (), str(error))


def _document(source: Source, member: Member, allowed: Allowance) -> bytes | None:
    """A small document within an archive, or None where it is too large or cannot be unpacked."""
    inside, _ = open_member(source, member, allowed.inflate)
    if inside is None:
        return None
    if isinstance(inside, Inflated):
        return held(inside, MAX_CONFIG)
    return inside.read_at(0, inside.size) if inside.size <= MAX_CONFIG else None


def _own_documents(
    source: Source, archive: Archive, where: str, allowed: Allowance, names: set[str]
) -> Iterator[Found]:
    """Keras's config.json and skops' schema.json say what is built."""
    keras = where.lower().endswith(".keras") or {"config.json", "model.weights.h5"} <= names
    for member in archive.members:
        base = member.name.rsplit("/", 1)[-1]
        if base not in {"config.json", "schema.json"}:
            continue
        raw = _document(source, member, allowed)
        name = f"{where}: {member.name}"
        if raw is None and not keras and base == "config.json":
            continue  # a finding where it is looked into as any other file
        if raw is None:
            yield Found(name, "unread", (), "a configuration that is larger than is read, or cannot be unpacked")
        elif base == "config.json":
            if not keras and b"class_name" not in raw:
                continue
            yield Found(name, "keras")
            for fault in config_faults(raw):
                yield Found(name, "layer", (), fault)
        else:
            yield from _skops(raw, name)


def _skops(raw: bytes, where: str) -> Iterator[Found]:
    """The classes and functions that skops builds again: weighed as a pickle's imports are."""
    if is_dense(raw):
        yield Found(where, "unread", (), "more parts than are looked at")
        return
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return
    found: dict[tuple[str, str], Global] = {}
    stack: list[Any] = [value]
    for _ in range(1_000_000):
        if not stack:
            break
        part = stack.pop()
        if isinstance(part, list):
            stack += part
        elif isinstance(part, dict):
            stack += part.values()
            module, name = part.get("__module__"), part.get("__class__")
            if isinstance(module, str) and isinstance(name, str):
                found.setdefault((module, name), Global(module[:200], name[:200], 0, called=True))
    else:
        yield Found(where, "unread", (), "more parts than are looked at")
    if found:
        yield Found(where, "class", tuple(found.values()))


def examine_tar(source: Source, where: str, within: Within) -> Iterator[Found]:
    """The files of a tar archive, as they come."""
    yield Found(where, "archive")
    links: set[str] = set()
    try:
        for member in tar_members(source):
            if member.kind == "doubt":
                yield Found(where, "doubt", (), member.link)
                continue
            if member.kind == "device":
                yield Found(where, "escape", (), f"a device or pipe named {member.name[:100]!r}")
                continue
            if member.kind == "sparse":
                yield Found(f"{where}: {member.name}", "unread", (), "a sparse file, which is not put together here")
            if links and not links.isdisjoint(_parents(member.name)):
                yield Found(where, "escape", (), f"a file behind a link, {member.name[:100]!r}")
            if _escapes(member.name) or (member.kind == "link" and _link_escapes(member)):
                to = f", a link to {member.link[:100]!r}" if member.link else ""
                yield Found(where, "escape", (), f"a file named {member.name[:100]!r}{to}")
            if member.kind == "link":
                links.add(member.name.removeprefix("./").rstrip("/"))
                continue
            if (full := _opened(within.allowed, where)) is not None:
                yield full
                return
            if member.start + member.size > source.size:
                yield Found(f"{where}: {member.name}", "broken", (), "it breaks off within the archive")
            yield from _tar_member(source, member, where, within)
    except TooMany as error:
        yield Found(where, "unread", (), f"{error}: the rest was not read")
    if failed := getattr(source, "failed", ""):
        yield Found(where, "unread", (), failed)


def _parents(name: str) -> list[str]:
    """The folders above a file, the outermost last."""
    parts = name.removeprefix("./").split("/")[:-1]
    return ["/".join(parts[:i]) for i in range(len(parts), 0, -1)][:100]


def _tar_member(source: Source, member: Member, where: str, within: Within) -> Iterator[Found]:
    """A file of a tar archive. In a packed one it is read forwards, so that what needs order is held in memory."""
    if not isinstance(source, Inflated):
        yield from _member(source, member, where, within)
        return
    from inspector.audit.readers.streams import MAX_HELD
    from inspector.sources.memory import MemorySource

    name = f"{where}: {member.name}"
    if member.size > MAX_HELD:
        head = MemorySource(source.read_at(member.start, 1024), name=name)
        if next(iter(within.examine(head, name, within.allowed, depth=within.depth + 1)), None) is not None:
            yield Found(name, "unread", (), f"{member.size:,} bytes in a packed archive: more than are held at once")
        return
    raw = source.read_at(member.start, member.size)
    if len(raw) < member.size and not source.failed:
        yield Found(name, "broken", (), "it breaks off within the archive")
    yield from within.examine(MemorySource(raw, name=name), name, within.allowed, depth=within.depth + 1)


def joblib_start(head: bytes) -> int:
    """Where zlib's stream begins in a file of joblib before 0.10 (numpy_pickle_compat.py, read_zfile); else 0."""
    if head[:4] != b"ZF0x":
        return 0
    return 22 if head[21:22] == b" " else 21


def examine_packed(source: Source, where: str, within: Within) -> Iterator[Found]:
    """What a packed stream holds: a pickle is followed as it unpacks, an archive file by file."""
    head = source.read_at(0, 1024)
    start = joblib_start(head)
    decoder, cost = unpacker(head[start:])
    if isinstance(source, Inflated):
        raw = held(source)
        if raw is None:
            yield Found(where, "unread", (), "packed twice, and larger than is held at once")
            return
        from inspector.sources.memory import MemorySource

        source = MemorySource(raw, name=where)
    inside = Inflated(
        source, start, source.size - start, decoder, within.allowed.inflate, name=where, cost=cost, streams=True
    )
    n = 0
    for found in within.examine(inside, where, within.allowed, depth=within.depth + 1):
        n += 1
        yield found
    if inside.left_over:
        yield Found(where, "doubt", (), "bytes behind what is packed")
    if not n:
        yield Found(where, "archive")
