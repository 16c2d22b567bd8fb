"""Whether two checkpoints hold the same values: by hashes that are known, by hashing whole files, or byte by byte."""

from __future__ import annotations

import os

from inspector.comparison.records import Change
from inspector.errors import InspectorError
from inspector.formats.modelfile import LongArray
from inspector.record import Record
from inspector.sources.local import LocalSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final

    from inspector.checkpoint import Checkpoint
    from inspector.formats.modelfile import ModelFile, TensorInfo

CHUNK: Final = 4 << 20
HOW: Final = {
    "": "one file", "sha256": "the sha256 that the Hub or its cache gives", "hash": "the sha256 of whole files",
    "values": "every byte of tensors of the same type and shape",
}  # fmt: skip


class Values(Record):
    """`same`: whether values are equal, None where they were not compared; `how`: one of HOW's words; what differs."""

    same: bool | None
    how: str = ""
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()


def compare_values(a: Checkpoint, b: Checkpoint, *, how: str, say: Callable[[str], None] | None = None) -> Values:
    """Whether values are equal. `how`: "" (by what is free), "hash" or "values". Raises SourceError, InspectorError.

    Hashes are of whole files: equal ones settle everything, different ones say that something in the file differs.
    """
    if _same_files(a, b):
        return Values(same=True)
    if how == "values":
        return _by_bytes(a, b, say)
    hashes_a, hashes_b = (_hashes(x, read=how == "hash", say=say) for x in (a, b))
    if hashes_a is None or hashes_b is None:
        return Values(same=None)
    return _by_hashes(a, hashes_a, hashes_b, "sha256" if how == "" else how)


def _same_files(a: Checkpoint, b: Checkpoint) -> bool:
    paths_a, paths_b = ([os.path.realpath(f.path) if f.path else "" for f in x.files] for x in (a, b))
    return paths_a == paths_b and all(paths_a)


def _hashes(x: Checkpoint, *, read: bool, say: Callable[[str], None] | None) -> list[str] | None:
    """The sha256 of each file, or None where one is not known and not to be read."""
    found = []
    for file in x.files:
        known = (x.sha256 or {}).get(file.name, "")
        if len(known) != 64:
            if not read:
                return None
            known = _hash(file, say)
        found.append(known)
    return found


def _open(file: ModelFile) -> LocalSource:
    if not file.path:
        raise InspectorError(f"{file.name}: --hash and --values read whole files", hint="download it: hf download REPO")
    return LocalSource(file.path, name=file.name)


def _hash(file: ModelFile, say: Callable[[str], None] | None) -> str:
    import hashlib

    digest, at = hashlib.sha256(), 0
    with _open(file) as source:
        while chunk := source.read_at(at, CHUNK):
            digest.update(chunk)
            at += len(chunk)
            if say is not None:
                say(f"{file.name}: {at * 100 // max(source.size, 1)} % hashed")
    return digest.hexdigest()


def _by_hashes(a: Checkpoint, hashes_a: list[str], hashes_b: list[str], how: str) -> Values:
    if len(hashes_a) != len(hashes_b):
        return Values(same=None, how=how, notes=("the files are split otherwise: their hashes do not correspond",))
    changes = tuple(
        Change("changed", "values", file.name, x, y)
        for file, x, y in zip(a.files, hashes_a, hashes_b, strict=True)
        if x != y
    )
    return Values(not changes, how, changes)


# --- byte by byte ---------------------------------------------------------------------------------------------------


def _by_bytes(a: Checkpoint, b: Checkpoint, say: Callable[[str], None] | None) -> Values:
    """Tensors that both have in one type and shape, and arrays of metadata that were only counted."""
    if {f.byte_order for f in a.files} != {f.byte_order for f in b.files}:
        return Values(same=None, how="values", notes=("values of two byte orders are not compared",))
    mine, theirs = _places(a), _places(b)
    shared = [n for n in mine if n in theirs and _form(mine[n][1]) == _form(theirs[n][1])]
    changes = []
    for i, name in enumerate(shared):
        if say is not None:
            say(f"{i} of {len(shared)} tensors compared")
        (file_a, t), (file_b, u) = mine[name], theirs[name]
        at = first_difference(file_a, t.offset, file_b, u.offset, t.nbytes or 0)
        if at is not None:
            changes.append(Change("changed", "values", name, f"differs from byte {at:,}", f"of {t.nbytes:,}"))
    changes += _arrays(a, b)
    left_out = max(len(mine), len(theirs)) - len(shared)
    notes = (f"values of {left_out:,} tensors of other types, shapes or names were not compared",) if left_out else ()
    return Values(not changes, "values", tuple(changes), notes)


def _places(x: Checkpoint) -> dict[str, tuple[ModelFile, TensorInfo]]:
    return {t.name: (file, t) for file in x.files for t in file.tensors}


def _form(t: TensorInfo) -> tuple[object, ...]:
    return t.shape, t.dtype.name if t.dtype else t.dtype_name, t.nbytes


def _arrays(a: Checkpoint, b: Checkpoint) -> Iterator[Change]:
    for key, value in a.metadata.items():
        other = b.metadata.get(key)
        if not (isinstance(value, LongArray) and isinstance(other, LongArray)) or value.nbytes != other.nbytes:
            continue
        at = first_difference(a.files[0], value.offset, b.files[0], other.offset, value.nbytes)
        if at is not None:
            yield Change("changed", "values", key, f"differs from byte {at:,}", f"of {value.nbytes:,}")


def first_difference(a: ModelFile, at_a: int, b: ModelFile, at_b: int, n: int) -> int | None:
    """The first of `n` bytes that differs between two places, or None. Bytes that a file lacks differ."""
    with _open(a) as left, _open(b) as right:
        for start in range(0, n, CHUNK):
            size = min(CHUNK, n - start)
            x, y = left.read_at(at_a + start, size), right.read_at(at_b + start, size)
            if x != y:
                return start + next(
                    (i for i, (p, q) in enumerate(zip(x, y, strict=False)) if p != q), min(len(x), len(y))
                )
    return None
