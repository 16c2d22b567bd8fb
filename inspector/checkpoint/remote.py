"""Models in any store that fsspec knows: a file or a folder, listed one level down, headers read by ranges."""

from __future__ import annotations

from inspector.checkpoint.folder import open_listing
from inspector.checkpoint.gather import check_document_size
from inspector.checkpoint.listing import MAX_ENTRIES, Entry, Listing
from inspector.checkpoint.ranged import RangedGathering, open_named
from inspector.checkpoint.stored import open_found
from inspector.errors import NotFound, SourceError
from inspector.sources.filesystems import Remote, RemoteEntry, connect, list_remote, open_source, read_whole, stat
from inspector.sources.target import Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from inspector.checkpoint.gather import Gathering
    from inspector.checkpoint.records import Checkpoint
    from inspector.sources import Source
    from inspector.stores.records import FoundModel

MOST_FOLDERS = 100  # of one folder that are listed, a request each


class StoreGathering(RangedGathering):
    """Reads from a store; names are relative to `at`."""

    def __init__(self, target: str, *, strict: bool, at: Remote, say: Callable[[str], None] | None = None) -> None:
        super().__init__(target, strict=strict)
        self.at = at
        self.say = say

    def child(self, name: str, *, folder: bool = False) -> Gathering:
        inner = StoreGathering(f"{self.target}/{name}" if name else self.target, strict=self.strict, at=self.at)
        inner.folder = f"{self.folder}{name}/" if folder and name else self.folder
        inner.say, inner.like = self.say, self.like
        return inner

    def open(self, entry: Entry) -> Source:
        path = f"{self.at.path}/{self.folder}{entry.name}"
        first = self.first_range(entry)
        return open_source(
            self.at.fs, path, name=entry.name, size=entry.nbytes, stamp=entry.stamp, first=first, say=self.say
        )

    def read(self, entry: Entry, *, most: int) -> bytes:
        check_document_size(entry.nbytes, most)
        return read_whole(self.at.fs, f"{self.at.path}/{self.folder}{entry.name}", name=entry.name, size=entry.nbytes)


def _entries(found: Iterable[RemoteEntry], folder: str = "") -> dict[str, Entry]:
    """The files of a remote folder, by their names from where the listing begins."""
    return {
        f"{folder}{e.name}": Entry(f"{folder}{e.name}", "", e.nbytes or 0, stamp=e.stamp)
        for e in found
        if not e.is_folder
    }


def list_store(at: Remote) -> Listing:
    """The files of a remote folder and of its sub-folders, within the bounds of a folder on disk."""
    found, complete = list_remote(at, most=MAX_ENTRIES)
    entries = _entries(found)
    folders = tuple(e.name for e in found if e.is_folder and not e.name.startswith("."))
    left = MAX_ENTRIES - len(found)
    for name in folders[:MOST_FOLDERS]:
        if left <= 0:
            break
        try:
            inner, whole = list_remote(Remote(at.fs, f"{at.path}/{name}", f"{at.url}/{name}"), most=left)
        except SourceError:
            continue
        left, complete = left - len(inner), complete and whole
        entries.update(_entries(inner, f"{name}/"))
    return Listing("", entries, folders, complete and left > 0 and len(folders) <= MOST_FOLDERS)


def open_in_store(target: Target, *, strict: bool, progress: Callable[[str], None] | None = None) -> Checkpoint:
    """The model at an address: a file with its other parts, or a folder.

    Raises NotFound, AccessDenied, SeveralModels, FormatError, Unreachable; InspectorError with what to install.
    """
    at = connect(target.url)
    found = stat(at)
    if found.is_folder:
        gathering = StoreGathering(target.text, strict=strict, at=at, say=progress)
        listing = list_store(at)
        if not listing.complete:
            gathering.notes.append("the folder has more entries than are listed: files may have been overlooked")
        gathering.load(listing, target.quant)
        try:
            return open_listing(listing, gathering, target.quant)
        except NotFound as error:
            return _open_below(target, error, strict=strict, progress=progress)
    return _open_file(target, at, found, strict=strict, progress=progress)


def _open_below(
    target: Target, lacking: NotFound, *, strict: bool, progress: Callable[[str], None] | None
) -> Checkpoint:
    """The one model that lies further down; of several, all of them."""

    def open_one(model: FoundModel) -> Checkpoint:
        here = Target(model.target, "remote", url=model.target)
        return open_in_store(here, strict=strict, progress=progress)

    return open_found(
        target.url.rstrip("/"), target=target.text, quant=target.quant, open_one=open_one, lacking=lacking
    )


def reopen(target: Target, name: str) -> Source:
    """A file of a checkpoint that was opened from an address, by its name there. Raises SourceError."""
    at = connect(target.url)
    found = stat(at)
    if found.is_folder:
        at = Remote(at.fs, f"{at.path}/{name}", f"{at.url}/{name}")
    elif found.name != name:
        at = Remote(at.fs, f"{at.path.rpartition('/')[0]}/{name}", f"{at.url.rpartition('/')[0]}/{name}")
    file = stat(at)
    return open_source(at.fs, at.path, name=name, size=file.nbytes or 0, stamp=file.stamp)


def _open_file(
    target: Target, at: Remote, file: RemoteEntry, *, strict: bool, progress: Callable[[str], None] | None
) -> Checkpoint:
    folder, _, name = at.path.rpartition("/")
    above = Remote(at.fs, folder, at.url.rpartition("/")[0])
    gathering = StoreGathering(target.text, strict=strict, at=above, say=progress)
    listing = Listing("", _entries([file]), ())
    if not name.lower().endswith(".gguf") or "-of-" in name:  # whose other parts and documents lie beside it
        try:
            found, _ = list_remote(above, most=MAX_ENTRIES)
            listing = Listing("", _entries(found), ())
        except SourceError:  # a folder that may be read and not listed
            pass
    if name not in listing.entries:
        raise NotFound(f"{target.text}: no such file")
    return open_named(name, target.quant, listing, gathering)
