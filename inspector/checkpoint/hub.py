"""Models that are not on this machine: a repository of the Hub, or a file on any server, opened as a folder would be.

The Hub's cache is asked first. Then one listing, pinned to its commit; then headers by ranges, several at a time.
"""

from __future__ import annotations

import os
import threading

from inspector.checkpoint.folder import open_listing
from inspector.checkpoint.gather import Gathering, check_document_size, open_entries
from inspector.checkpoint.listing import Entry, Listing, folders_of
from inspector.checkpoint.local import open_path
from inspector.checkpoint.ranged import FIRST_GGUF, FIRST_SAFETENSORS, RangedGathering, open_named
from inspector.checkpoint.records import Checkpoint
from inspector.errors import AccessDenied, InspectorError, NotAModelFile, NotFound, Offline, SourceError
from inspector.formats.modelfile import ModelFile
from inspector.sources.parallel import in_order
from inspector.stores.names import basename, quant_label, role_of
from inspector.stores.splits import split_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeVar

    from inspector.sources import Source
    from inspector.sources.http import Client
    from inspector.sources.hub import Repo
    from inspector.sources.target import Target

    T = TypeVar("T")
    R = TypeVar("R")


class GatedModel(AccessDenied):
    """A repository whose files need access although its listing is public.

    `models`: name, bytes and quant label of what would be there; `revision`: the listing's commit.
    """

    def __init__(self, what: str, models: tuple[tuple[str, int, str], ...], *, revision: str, hint: str | None) -> None:
        super().__init__(what, hint=hint)
        self.models = models
        self.revision = revision


class _Headers:
    """Headers by content: files that the listing gives one sha256 are the same file under two names, and read once.

    Nothing less proves that two headers are the same: equal names and sizes do not.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._found: dict[str, ModelFile] = {}

    def get(self, sha256: str, read_header: Callable[[], ModelFile]) -> ModelFile:
        with self._lock:
            lock = self._locks.setdefault(sha256, threading.Lock())
        with lock:
            if sha256 not in self._found:
                self._found[sha256] = read_header()
            return self._found[sha256]


class RemoteGathering(RangedGathering):
    """Reads from a repository."""

    def __init__(self, target: str, *, strict: bool, client: Client, repo: Repo, folder: str = "") -> None:
        super().__init__(target, strict=strict)
        self.client = client
        self.repo = repo
        self.folder = folder
        self.revision = repo.sha
        self._headers = _Headers()

    def child(self, name: str, *, folder: bool = False) -> Gathering:
        target = f"{self.target}/{name}" if name else self.target
        inner = f"{self.folder}{name}/" if folder and name else self.folder
        child = RemoteGathering(target, strict=self.strict, client=self.client, repo=self.repo, folder=inner)
        child._headers = self._headers
        return child

    def read_once(self, entry: Entry, read_header: Callable[[], ModelFile]) -> ModelFile:
        found = self._headers.get(entry.sha256, read_header) if entry.sha256 else read_header()
        return found if found.name == entry.name else found.replace(name=entry.name)

    def open(self, entry: Entry) -> Source:
        from inspector.sources.hub import open_file

        source = open_file(self.client, self.repo, self.folder + entry.name, first=self.first_range(entry))
        source.name = entry.name
        return source

    def read(self, entry: Entry, *, most: int) -> bytes:
        from inspector.sources.hub import read_file

        check_document_size(entry.nbytes, most)
        return read_file(self.client, self.repo, self.folder + entry.name)

    def absent(self, name: str) -> NotFound:
        return _no_such_file(name, self.repo)

    def explain(self, error: InspectorError) -> InspectorError:
        if not isinstance(error, AccessDenied) or not (self.repo.gated or "gated" in error.what):
            return error
        models = tuple(
            (f.name, f.size or 0, quant_label(f.name)) for f in self.repo.files.values() if role_of(f.name) == "weights"
        )
        page = f"{self.client.endpoint}/{self.repo.repo}"
        return GatedModel(
            error.what if error.what.startswith(self.repo.repo) else f"{self.repo.repo}: {error.what}",
            models,
            revision=self.repo.sha,
            hint=f"accept the terms at {page}, then log in: hf auth login (or set HF_TOKEN)",
        )


def repo_listing(repo: Repo) -> Listing:
    """The files of a repository as a folder's listing."""
    entries = {
        f.name: Entry(f.name, "", f.size or 0, f.sha256) for f in sorted(repo.files.values(), key=lambda f: f.name)
    }
    return Listing("", entries, folders_of(entries), repo.complete)


def _cache_folder() -> str:
    from huggingface_hub.constants import HF_HUB_CACHE

    return str(HF_HUB_CACHE)


def _cached(target: Target, cache_folder: str, *, strict: bool) -> Checkpoint | InspectorError:
    """What the Hub's cache has, or why that is no answer."""
    from inspector.sources.cache import find_snapshot

    found = find_snapshot(cache_folder, target.repo, target.revision)
    path = os.path.join(found, target.file) if found and target.file else found
    if path is None or not os.path.lexists(path):
        return NotFound(f"{target.text}: not on this machine")
    try:
        return open_path(path, target=target.text, quant=target.quant, strict=strict)
    except (NotFound, NotAModelFile) as error:  # other files of the repository were downloaded
        return error


def _is_whole(found: Checkpoint | InspectorError) -> bool:
    return isinstance(found, Checkpoint) and bool(found.files) and not found.missing and not found.missing_nbytes


def open_remote(
    target: Target,
    *,
    strict: bool = True,
    cache_folder: str | None = None,
    client: Client | None = None,
    progress: Callable[[str], None] | None = None,
) -> Checkpoint:
    """Open what a Hub or url target names: from the Hub's cache where all of it is there, else over the network.

    `cache_folder`: default huggingface_hub's (HF_HUB_CACHE, HF_HOME). Raises NotFound, GatedModel, AccessDenied,
    SeveralModels, Offline, RateLimited, Unreachable, FormatError.
    """
    from inspector.sources.http import Client

    if target.kind == "url":
        return _open_url(target, client or Client(progress=progress), strict=strict)
    cached = _cached(target, cache_folder or _cache_folder(), strict=strict)
    if isinstance(cached, Checkpoint) and _is_whole(cached):
        return cached
    client = client or Client(progress=progress)
    if client.offline:
        return _offline(target, cached)
    from inspector.sources.hub import fetch_listing

    repo = fetch_listing(client, target.repo, target.revision)
    return open_repo(client, repo, target, strict=strict)


def _offline(target: Target, cached: Checkpoint | InspectorError) -> Checkpoint:
    if isinstance(cached, Checkpoint):
        return cached
    what = f"{target.text}: not in the Hub's cache, and the network is switched off (HF_HUB_OFFLINE)"
    raise Offline(what, hint=cached.hint) from None


def open_repo(client: Client, repo: Repo, target: Target, *, strict: bool = True) -> Checkpoint:
    """Open the model that a target names in a listed repository. Raises as `open_remote`."""
    gathering = RemoteGathering(target.text, strict=strict, client=client, repo=repo)
    listing = repo_listing(repo)
    if not listing.complete:
        gathering.notes.append("the repository has more files than are listed: some may have been overlooked")
    try:
        if target.file:
            return open_named(target.file, target.quant, listing, gathering)
        gathering.load(listing, target.quant)
        return open_listing(listing, gathering, target.quant)
    except AccessDenied as error:
        raise gathering.explain(error) from None


def _no_such_file(name: str, repo: Repo) -> NotFound:
    from inspector.sources.target import near_names

    near = near_names(name, repo.files) or near_names(basename(name), repo.files)
    hint = "did you mean " + " or ".join(near) + "?" if near else None
    return NotFound(f"{repo.repo} has no file {name} at {repo.revision or 'main'}", hint=hint)


def reopen(
    target: Target,
    checkpoint: Checkpoint,
    name: str,
    *,
    cache_folder: str | None = None,
    client: Client | None = None,
) -> Source:
    """A file of a checkpoint that was opened from the Hub, its cache or an address, by the file's name there."""
    from inspector.sources.cache import find_snapshot
    from inspector.sources.http import Client
    from inspector.sources.hub import Repo, RepoFile, open_file
    from inspector.sources.local import LocalSource
    from inspector.sources.ranges import RangeSource

    if target.kind == "url":
        return RangeSource(client or Client(), target.url, name=name)
    folder = target.file or ""
    if "." in basename(folder):  # a file was named: its folder
        folder = folder.rpartition("/")[0]
    path = f"{folder}/{name}" if folder else name
    found = find_snapshot(cache_folder or _cache_folder(), target.repo, checkpoint.revision or target.revision)
    if found and os.path.lexists(local := os.path.join(found, path)):
        return LocalSource(local, name=name)
    size = next((f.size for f in checkpoint.files if f.name == name), None)
    repo = Repo(target.repo, target.revision, checkpoint.revision or "main", {path: RepoFile(path, size)})
    return open_file(client or Client(), repo, path)


# --- files on any server -------------------------------------------------------------------------------------------


class _UrlGathering(Gathering):
    """Reads files by their addresses, `Entry.path`; sizes are learnt from the answers."""

    def __init__(self, target: str, *, strict: bool, client: Client) -> None:
        super().__init__(target, strict=strict)
        self.client = client

    def open(self, entry: Entry) -> Source:
        from inspector.sources.ranges import RangeSource

        first = FIRST_GGUF if entry.name.lower().endswith(".gguf") else FIRST_SAFETENSORS
        return RangeSource(self.client, entry.path, name=entry.name, first=first)

    def each(self, work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        return in_order(work, items)


def _open_url(target: Target, client: Client, *, strict: bool) -> Checkpoint:
    """A plain https address; of a split file, all parts, whose addresses differ in the number only."""
    from urllib.parse import unquote

    if client.offline:
        raise Offline(f"{basename(target.url)}: the network is switched off (HF_HUB_OFFLINE)")
    path = target.url.partition("#")[0]
    address, mark, query = path.partition("?")
    stem, _, last = address.rpartition("/")
    gathering = _UrlGathering(target.text, strict=strict, client=client)
    split = split_name(last)
    names = [last]
    if split and split[2] <= 1000:
        suffix = last.rpartition(".")[2]
        names = [f"{split[0]}-{i:05d}-of-{split[2]:05d}.{suffix}" for i in range(1, split[2] + 1)]
    entries = [Entry(unquote(name), f"{stem}/{name}{mark}{query}", 0) for name in names]
    if any(not e.name.isprintable() for e in entries):
        raise SourceError("not the address of a file")
    return open_entries(entries, gathering)
