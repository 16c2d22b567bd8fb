"""A folder's files, listed within bounds: two levels, ten thousand entries, no link that leads out of the folder."""

from __future__ import annotations

import os
import stat

from inspector.errors import AccessDenied, NotFound, SourceError
from inspector.formats.modelfile import Defect
from inspector.record import Record
from inspector.sources.cache import blobs_folder
from inspector.sources.local import describe_mode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Final

MAX_ENTRIES: Final = 10_000
_HEX: Final = frozenset("0123456789abcdef")


class Entry(Record):
    """One file of a folder: `name` relative to it with "/", bytes, and its sha256 where the Hub's cache knows it.

    `path` is "" for a file that is not on this machine. `problem`: why it must not be opened (a Defect's code and
    words), or None. `stamp`: a store's word for this state of the file (its ETag, a time), or "".
    """

    name: str
    path: str
    nbytes: int
    sha256: str | None = None
    problem: tuple[str, str] | None = None
    stamp: str = ""


class Listing(Record):
    """The files of a folder and of its sub-folders (on disk: the immediate ones); `path` is "" on the Hub.

    `complete` is False where the limit cut it short.
    """

    path: str
    entries: Mapping[str, Entry]
    folders: tuple[str, ...]
    complete: bool = True

    @property
    def root(self) -> list[Entry]:
        """The files of the folder itself."""
        return [e for e in self.entries.values() if "/" not in e.name]

    def under(self, folder: str) -> list[Entry]:
        """The files of one sub-folder."""
        return [e for e in self.entries.values() if e.name.startswith(folder + "/")]

    def below(self, folder: str) -> Listing:
        """The listing of one sub-folder, names relative to it; of the folder's own level only for ""."""
        if not folder:
            return Listing(self.path, {e.name: e for e in self.root}, (), self.complete)
        n = len(folder) + 1
        entries = {e.name[n:]: e.replace(name=e.name[n:]) for e in self.under(folder)}
        return Listing(os.path.join(self.path, folder), entries, folders_of(entries), self.complete)


def folders_of(names: Iterable[str]) -> tuple[str, ...]:
    """The immediate sub-folders that files of these names lie in, hidden ones excepted."""
    return tuple(sorted({name.partition("/")[0] for name in names if "/" in name and name[0] != "."}))


def _is_inside(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip(os.sep) + os.sep)


def _follow(path: str, allowed: tuple[str, ...]) -> tuple[os.stat_result | None, str, tuple[str, str] | None]:
    """Where a link leads: its target's stat and path, or why it must not be followed."""
    real = os.path.realpath(path)
    if not any(_is_inside(real, folder) for folder in allowed):
        return None, real, ("link-outside", "a link that leads out of the folder")
    try:
        return os.stat(path), real, None
    except FileNotFoundError:
        return None, real, ("dangling-link", "a link to a file that is not there")
    except OSError:
        return None, real, ("link-loop", "a link that leads nowhere")


def _entry(name: str, path: str, allowed: tuple[str, ...]) -> Entry | None:
    """One directory entry as a file; None for what is neither a file nor pretends to be one."""
    found: os.stat_result | None = os.lstat(path)
    assert found is not None
    sha256 = None
    if stat.S_ISLNK(found.st_mode):
        found, real, problem = _follow(path, allowed)
        if found is None:
            return Entry(name, path, 0, problem=problem)
        blob = os.path.basename(real)
        sha256 = blob if len(blob) == 64 and _HEX.issuperset(blob) and len(allowed) > 1 else None
        if stat.S_ISDIR(found.st_mode):
            return None
    if not stat.S_ISREG(found.st_mode):
        return Entry(name, path, 0, problem=("special-file", f"{describe_mode(found.st_mode)}, not a file"))
    return Entry(name, path, found.st_size, sha256)


def list_names(path: str, limit: int = MAX_ENTRIES) -> list[tuple[str, bool]]:
    """Names in a folder in order, and whether each is itself a folder (links are not).

    Raises NotFound, AccessDenied, SourceError.
    """
    try:
        with os.scandir(path) as entries:
            first = zip(range(limit), entries, strict=False)
            return sorted((e.name, e.is_dir(follow_symlinks=False)) for _, e in first)
    except FileNotFoundError:
        raise NotFound(f"{path}: no such folder") from None
    except PermissionError:
        raise AccessDenied(f"{path}: permission denied") from None
    except OSError as error:
        raise SourceError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None


def _files(folder: str, prefix: str, names: list[tuple[str, bool]], allowed: tuple[str, ...]) -> Iterator[Entry]:
    for name, is_folder in names:
        if is_folder:
            continue
        try:
            entry = _entry(prefix + name, os.path.join(folder, name), allowed)
        except OSError:  # gone since it was listed
            continue
        if entry is not None:
            yield entry


def list_folder(path: str) -> Listing:
    """List a folder and its immediate sub-folders (hidden ones excepted), in order of name.

    Raises NotFound, AccessDenied, SourceError.
    """
    blobs = blobs_folder(path)
    allowed = tuple(os.path.realpath(folder) for folder in (path, blobs) if folder)
    names = list_names(path, MAX_ENTRIES + 1)
    entries = {e.name: e for e in _files(path, "", names, allowed)}
    folders = tuple(name for name, is_folder in names if is_folder and not name.startswith("."))
    left = MAX_ENTRIES - len(names)
    for folder in folders:
        if left <= 0:
            break
        below = os.path.join(path, folder)
        try:
            inner = list_names(below, left)
        except SourceError:
            continue
        left -= len(inner)
        entries.update({e.name: e for e in _files(below, folder + "/", inner, allowed)})
    return Listing(path, entries, folders, left > 0)


def defect_of(entry: Entry) -> Defect:
    """The finding that an entry's problem is."""
    assert entry.problem is not None
    return Defect(entry.problem[0], entry.problem[1], None, entry.name)
