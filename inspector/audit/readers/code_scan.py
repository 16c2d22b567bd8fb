"""Every file of a folder that may hold code, told apart by its bytes and examined once: see `code.py` for the rules."""

from __future__ import annotations

import re

from inspector.audit.readers.archives import (
    Budget,
    Inflated,
    Member,
    locate,
    open_member,
    tar_members,
    unpacker,
    zip_members,
)
from inspector.audit.readers.pickle_names import is_known_danger
from inspector.audit.readers.pickles import MAX_OPS, Global, scan_pickle
from inspector.audit.subject.records import is_partial_name
from inspector.errors import InspectorError
from inspector.formats.sniff import recognise
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final

    from inspector.audit.subject.records import Subject
    from inspector.sources import Source

    ReadAt = Callable[[int, int], bytes]

MAX_FILES: Final = 2000
MAX_MEMBERS_OPENED: Final = 200
HEAD: Final = 1024
# Names that promise a pickle; what they hold and is none is a finding.
PICKLE_NAMES: Final = (".pkl", ".pickle", ".pt", ".pth", ".dill", ".joblib", ".sav", ".p")
MAYBE_PICKLE: Final = (*PICKLE_NAMES, ".bin", ".ckpt", ".dat", ".data", ".mar", ".nemo", ".npy", ".model")
_TORCH_BIN: Final = re.compile(
    r"(pytorch_model|adapter_model|diffusion_pytorch_model|training_args|optimizer|scheduler|model)[\w.-]*\.bin$"
)
_NOT_WEIGHTS: Final = frozenset({"empty", "lfs", "html", "xml", "json-error", "error-text", "zeros"})
_ARCHIVES: Final = frozenset({"7z", "rar", "zstd"})
# The first instruction of pickles of protocol 0 and 1, which have no magic.
_OLD_STARTS: Final = b"(c]})ILSVFNXUTKMJGBC\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x95\x96"
_TEXT_NAMES: Final = (
    ".md", ".txt", ".py", ".json", ".jsonl", ".yml", ".yaml", ".html", ".csv", ".jinja", ".jinja2", ".gitattributes",
    ".png", ".jpg", ".jpeg", ".gif", ".svg", ".pdf", ".wav", ".mp3", ".mp4", ".parquet",
)  # fmt: skip


class Found(Record):
    """What one file is and what its examination brought.

    `kind`: pickle, torch, numpy, program, archive, keras, broken. `globals`: what its pickles import, all of them.
    `problem`: why it could not be examined to its end. `notes`: what else is odd (members, programs within).
    """

    where: str
    kind: str
    globals: tuple[Global, ...] = ()
    problem: str = ""
    notes: tuple[str, ...] = ()
    objects: bool = False


class _Allowance:
    """What one audit may spend on pickles."""

    def __init__(self) -> None:
        self.ops = MAX_OPS
        self.inflate = Budget()
        self.opened = MAX_MEMBERS_OPENED


def _program(head: bytes) -> str:
    """What kind of program these bytes start, or ""."""
    if head[:4] == b"\x7fELF":
        return "a program or library (ELF)"
    if head[:2] == b"MZ" and len(head) > 0x40:
        at = int.from_bytes(head[0x3C:0x40], "little")
        if head[at : at + 4] == b"PE\0\0" or at >= len(head) - 4:
            return "a Windows program or library"
    if head[:4] in {b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe"}:
        return "a macOS program or library"
    if head[:4] == b"\xca\xfe\xba\xbe":
        return "a macOS program or a Java class"
    return ""


def _pickled(head: bytes) -> bool:
    return head[:1] == b"\x80" and head[1:2] in b"\1\2\3\4\5" and len(head) > 2


def _scan(read_at: ReadAt, size: int, where: str, allowed: _Allowance, *, kind: str = "pickle") -> Found:
    scan = scan_pickle(read_at, size, budget=allowed.ops)
    allowed.ops = max(0, allowed.ops - scan.n_ops)
    return Found(where, kind, scan.globals, scan.problem)


def _old_pickle(read_at: ReadAt, size: int, where: str, allowed: _Allowance) -> Found | None:
    """A pickle without a magic: only what runs to its end, or imports something by a plausible name, counts as one."""
    scan = scan_pickle(read_at, size, budget=min(allowed.ops, MAX_OPS))
    names = [g for g in scan.globals if all(p.isidentifier() and p.isascii() for p in g.path.split("."))]
    if not where.lower().endswith(PICKLE_NAMES):  # a list of words may begin like one
        names = [g for g in names if is_known_danger(g)]
    if (scan.n_pickles and scan.end + 64 >= size) or names:
        allowed.ops = max(0, allowed.ops - scan.n_ops)
        return Found(where, "pickle", tuple(names), scan.problem)
    return None


def _numpy(read_at: ReadAt, size: int, where: str, allowed: _Allowance) -> Found:
    """An array of objects is a pickle behind the array's header (numpy/lib/format.py)."""
    head = read_at(0, 12)
    wide = head[6:7] > b"\1"
    n = int.from_bytes(head[8 : 12 if wide else 10], "little")
    start = 12 if wide else 10
    text = read_at(start, min(n, 1 << 16))
    descr = text.partition(b"'fortran_order'")[0]
    if re.search(rb"['\"][|<>=]?O\d*['\"]", descr) is None:
        return Found(where, "numpy")
    body = start + n

    def behind(offset: int, length: int) -> bytes:
        return read_at(body + offset, length)

    found = _scan(behind, max(size - body, 0), where, allowed, kind="numpy")
    return found.replace(objects=True)


def _member(source: Source, member: Member, name: str, allowed: _Allowance) -> Found | None:
    """One file within an archive, where it may be a pickle, an array, a program or another archive."""
    where = f"{name}: {member.name}"
    read_at, why = open_member(source, member, allowed.inflate)
    lower = member.name.lower()
    if read_at is None:
        return Found(where, "pickle", (), why) if lower.endswith(MAYBE_PICKLE) else None
    head = read_at(0, HEAD)
    size = member.size if member.method else min(member.packed, member.size)
    if program := _program(head):
        return Found(where, "program", (), "", (program,))
    if head[:6] == b"\x93NUMPY":
        return _numpy(read_at, size, where, allowed)
    if _pickled(head) or lower.endswith((".pkl", ".pickle")):
        return _scan(read_at, size, where, allowed)
    if head[:4] == b"PK\3\4" or recognise(head).kind in _ARCHIVES:
        return Found(where, "archive", (), "an archive within an archive, which is not looked into")
    if lower.rsplit("/", 1)[-1] == "config.json" and b'"Lambda"' in read_at(0, 1 << 20):
        return Found(where, "keras", (), "", ("a Keras Lambda layer, which is code",))
    old = head[:1] in _OLD_STARTS and not lower.endswith(_TEXT_NAMES) and size < 1 << 20
    return _old_pickle(read_at, size, where, allowed) if head and old else None


_STORAGE: Final = re.compile(r"(^|/)data/\d+$")


def _escapes(name: str) -> bool:
    return name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or name[1:3] == ":\\"


def _zip(source: Source, name: str, allowed: _Allowance) -> Iterator[Found]:
    members, problem = zip_members(source)
    torch = any(m.name.rsplit("/", 1)[-1] in {"data.pkl", "constants.pkl"} for m in members)
    kind = "torch" if torch else "archive"
    odd = tuple(f"a member named {m.name!r}" for m in members if _escapes(m.name))[:3]
    if problem:
        yield Found(name, "broken", (), problem)
    if odd:
        yield Found(name, "archive", (), "paths that leave the archive", odd)
    yield Found(name, kind, notes=("npz",) if name.lower().endswith((".npz", ".keras")) else ())
    for member in members:
        if _STORAGE.search(member.name) or member.name.endswith("/"):
            continue
        allowed.opened -= 1
        if allowed.opened < 0:
            yield Found(name, "broken", (), "more files in archives than are looked at")
            return
        placed = locate(source, member)
        if placed is None:
            yield Found(f"{name}: {member.name}", "broken", (), "not where the archive's directory says")
        elif (found := _member(source, placed, name, allowed)) is not None:
            yield found


def _tar(source: Source, name: str, allowed: _Allowance) -> Iterator[Found]:
    yield Found(name, "archive", notes=("tar",))
    for member in tar_members(source):
        allowed.opened -= 1
        if allowed.opened >= 0 and (found := _member(source, member, name, allowed)) is not None:
            yield found


def _packed(source: Source, name: str, head: bytes, allowed: _Allowance) -> Found | None:
    """A compressed stream: a pickle inside it is scanned as it unpacks."""
    lower = name.lower()
    zlib_only = head[:1] == b"\x78"
    if zlib_only and not lower.endswith((*PICKLE_NAMES, ".z")):
        return None
    decoder = unpacker(head)
    if decoder is None:
        return None
    inside = Inflated(source, 0, source.size, decoder, allowed.inflate)
    start = inside.read_at(0, 512)
    if _pickled(start) or lower.endswith((".pkl.gz", ".joblib.gz", *PICKLE_NAMES)):
        return _scan(inside.read_at, 1 << 62, name, allowed)
    return Found(name, "archive", (), "packed, and not looked into")


def _hdf5(source: Source, name: str) -> Found | None:
    """A Keras file describes its layers as JSON in an attribute near its start."""
    head = source.read_at(0, 4 << 20)
    if re.search(rb'"class_name":\s*"Lambda"', head):
        return Found(name, "keras", (), "", ("a Keras Lambda layer, which is code",))
    return None


def _examine(source: Source, name: str, allowed: _Allowance) -> Iterator[Found]:
    """What one file is, by its bytes; by its name only where bytes do not say."""
    head = source.read_at(0, HEAD)
    kind = recognise(head, size=source.size, name=name).kind if head else "empty"
    found: Found | None = None
    if program := _program(head):
        found = Found(name, "program", (), "", (program,))
    elif head[:2] == b"PK" and kind in {"zip", "torch", "numpy"}:
        yield from _zip(source, name, allowed)
    elif kind == "tar":
        yield from _tar(source, name, allowed)
    elif _pickled(head):
        found = _scan(source.read_at, source.size, name, allowed)
    elif head[:6] == b"\x93NUMPY":
        found = _numpy(source.read_at, source.size, name, allowed)
    elif kind == "hdf5":
        found = _hdf5(source, name)
    elif kind in _ARCHIVES or kind in _NOT_WEIGHTS:
        found = _instead(name, head, kind)
    else:
        found = _packed(source, name, head, allowed) or _by_name(source, name, head, allowed)
    if found is not None:
        yield found


def _instead(name: str, head: bytes, kind: str) -> Found | None:
    """Something else under a checkpoint's name; elsewhere only archives are worth a word."""
    lower = name.lower()
    if lower.endswith((".pt", ".pth", ".pkl", ".pickle")) or _TORCH_BIN.search(lower):
        words = recognise(head).explanation if head else "an empty file"
        return Found(name, "broken", (), f"{words}, where a checkpoint should be")
    return Found(name, "archive", (), "an archive that is not looked into") if kind in _ARCHIVES else None


def _by_name(source: Source, name: str, head: bytes, allowed: _Allowance) -> Found | None:
    """Pickles of the oldest protocols begin like any text: tried only under names that may hold one."""
    lower = name.lower()
    if not lower.endswith(MAYBE_PICKLE) and "." in lower.rsplit("/", 1)[-1]:
        return None
    if head[:1] in _OLD_STARTS and (found := _old_pickle(source.read_at, source.size, name, allowed)) is not None:
        return found
    if lower.endswith((".pkl", ".pickle")):
        return Found(name, "broken", (), f"named as a pickle, and none (it starts with {head[:8].hex(' ')})")
    return None


def _candidates(subject: Subject) -> Iterator[str]:
    """Files to look into: all but model headers that could be read, documents, and git's own."""
    models = {f.name for f in subject.files if f.model is not None}
    n = 0
    for entry in subject.entries:
        if entry.kind != "file" or entry.name in models or entry.name in subject.documents:
            continue
        if entry.name.startswith((".git/", ".cache/", "blobs/")) or is_partial_name(entry.name):
            continue
        if not entry.path and not entry.name.lower().endswith((*MAYBE_PICKLE, ".npz", ".keras")):
            continue  # a remote file: a request each
        n += 1
        if n > MAX_FILES:
            return
        yield entry.name


def examine(subject: Subject) -> tuple[Found, ...]:
    """Everything that was found in a subject's files. Read once; the rules of the family share it."""
    found: tuple[Found, ...] = subject.cached("code", lambda: _examine_all(subject))
    return found


def _examine_all(subject: Subject) -> tuple[Found, ...]:
    out: list[Found] = []
    allowed = _Allowance()
    for name in _candidates(subject):
        try:
            with subject.open_source(name) as source:
                out += _examine(source, name, allowed)
        except (InspectorError, KeyError):
            continue  # what cannot be opened is reported by the rules on files
    return tuple(out)
