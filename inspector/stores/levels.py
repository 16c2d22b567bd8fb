"""One folder's own entries, told apart without opening any; no link is followed out of where the walk began."""

from __future__ import annotations

import os
import stat

from inspector.errors import AccessDenied, NotFound, SourceError
from inspector.record import Record
from inspector.sources.local import describe_mode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

MAX_ENTRIES: Final = 200_000  # of one folder


class File(Record):
    """One entry of a folder: `stamp` changes with it, `problem` says why it must not be opened."""

    name: str
    path: str
    nbytes: int
    stamp: str = ""
    problem: str = ""


class Level(Record):
    """One folder's own entries: its plain files, and the folders below it."""

    path: str
    files: tuple[File, ...]
    folders: tuple[str, ...]
    complete: bool = True

    def names(self) -> set[str]:
        """Names of its files."""
        return {f.name for f in self.files}


def _file(entry: os.DirEntry[str], root: str) -> File | None:
    """An entry as a file; a link is followed inside `root` only. None for what is gone again."""
    try:
        found = entry.stat(follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            real = os.path.realpath(entry.path)
            if not real.startswith(root.rstrip(os.sep) + os.sep):
                return File(entry.name, entry.path, 0, problem="a link that leads out of the folder")
            try:
                found = os.stat(entry.path)
            except OSError:
                return File(entry.name, entry.path, 0, problem="a link that leads nowhere")
            if stat.S_ISDIR(found.st_mode):
                return None  # what it leads to is found where it lies
        if not stat.S_ISREG(found.st_mode):
            return File(entry.name, entry.path, 0, problem=f"{describe_mode(found.st_mode)}, not a file")
    except OSError:
        return None
    return File(entry.name, entry.path, found.st_size, f"mtime:{found.st_mtime_ns}")


def list_level(path: str, root: str = "") -> Level:
    """One folder's own entries, in order of name. `root`: the real path that links must not leave.

    Raises NotFound, AccessDenied, SourceError.
    """
    root = root or os.path.realpath(path)
    files, folders, complete = [], [], True
    try:
        with os.scandir(path) as entries:
            for n, entry in enumerate(entries):
                if n >= MAX_ENTRIES:
                    complete = False
                    break
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif (file := _file(entry, root)) is not None:
                    files.append(file)
    except FileNotFoundError:
        raise NotFound(f"{path}: no such folder") from None
    except PermissionError:
        raise AccessDenied(f"{path}: permission denied") from None
    except OSError as error:
        raise SourceError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    return Level(path, tuple(sorted(files, key=lambda f: f.name)), tuple(sorted(folders)), complete)


def stamp_of(files: Iterable[File]) -> str:
    """What changes when one of the files does, and their sizes; "" where a store does not say."""
    stamps = [(f.stamp, f.nbytes) for f in files]
    return ",".join(f"{stamp}+{nbytes}" for stamp, nbytes in stamps) if all(stamp for stamp, _ in stamps) else ""
