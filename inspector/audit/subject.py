"""What an audit looks at, gathered once: the folder's entries, model headers and documents. Nothing else is opened.

Hostile folders are ordinary input: entries are told apart by lstat before anything is opened, links are followed only
inside the folder (and into the blobs of a Hub cache snapshot), sizes are bounded, nothing is executed.
"""

from __future__ import annotations

import os
import stat

from inspector.errors import FormatError, InspectorError, SourceError
from inspector.formats import read
from inspector.formats.sniff import Sniffed, sniff
from inspector.formats.strict_json import decode, scan
from inspector.record import Record
from inspector.sources.cache import blobs_folder
from inspector.sources.local import LocalSource, describe_mode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Final

    from inspector.formats.modelfile import ModelFile
    from inspector.sources import Source

MAX_ENTRIES: Final = 20_000
MAX_DEPTH: Final = 4
MAX_DOCUMENT: Final = 64 << 20
MODEL_SUFFIXES: Final = (".gguf", ".safetensors")
PARTIAL_SUFFIXES: Final = (".incomplete", ".part", ".aria2", ".crdownload", ".download")
PICKLE_SUFFIXES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
TEXT_SUFFIXES: Final = (".jinja", ".jinja2")


class Entry(Record):
    """One name in the folder, told apart without opening it.

    `kind`: file, folder, link-out (a link that leaves), link-broken, link-loop, special (`note` says what), unreadable.
    """

    name: str
    path: str
    kind: str
    size: int = 0
    note: str = ""


class AuditedFile(Record):
    """A weight file: what its bytes are, its header read leniently (`model`), or why it could not be (`error`)."""

    name: str
    path: str
    size: int
    sniffed: Sniffed | None
    model: ModelFile | None
    error: str = ""
    error_kind: str = ""


class Document(Record):
    """A JSON (or template text) file beside the weights: its value, or why there is none."""

    name: str
    size: int
    value: Any
    error: str = ""
    text: str = ""


class Subject(Record):
    """Everything the rules look at. `is_folder`: False when a single file was named, so that its siblings do not count.

    `open_source` opens a file of the subject by name, for rules that need more than headers.
    """

    target: str
    root: str
    is_folder: bool
    entries: tuple[Entry, ...]
    files: tuple[AuditedFile, ...]
    documents: Mapping[str, Document]
    open_source: Callable[[str], Source]
    truncated_listing: bool = False
    sha256: Mapping[str, str] | None = None

    @property
    def models(self) -> tuple[ModelFile, ...]:
        """The headers that could be read."""
        return tuple(f.model for f in self.files if f.model is not None)

    def of_format(self, name: str) -> tuple[AuditedFile, ...]:
        """The files whose header could be read, of one format."""
        return tuple(f for f in self.files if f.model is not None and f.model.format == name)

    def json(self, name: str) -> Any:
        """A document's value, or None where it is absent or unreadable."""
        document = self.documents.get(name)
        return document.value if document else None


def _inside(real: str, folders: tuple[str, ...]) -> bool:
    return any(real == folder or real.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders)


def _link_entry(name: str, path: str, allowed: tuple[str, ...]) -> Entry:
    """A symbolic link: a file when it stays inside, else a finding. The target is resolved and never opened here."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        import errno

        kind = "link-loop" if error.errno == errno.ELOOP else "link-broken"
        return Entry(name, path, kind, note=_readlink(path))
    if not _inside(os.path.realpath(path), allowed):
        return Entry(name, path, "link-out", note=_readlink(path))
    if stat.S_ISDIR(mode):
        return Entry(name, path, "folder-link")
    if not stat.S_ISREG(mode):
        return Entry(name, path, "special", note=describe_mode(mode))
    return Entry(name, path, "file", os.stat(path).st_size)


def _readlink(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _entry(name: str, path: str, allowed: tuple[str, ...]) -> Entry:
    try:
        info = os.lstat(path)
    except (OSError, ValueError):
        return Entry(name, path, "unreadable")
    if stat.S_ISLNK(info.st_mode):
        return _link_entry(name, path, allowed)
    if stat.S_ISDIR(info.st_mode):
        return Entry(name, path, "folder")
    if not stat.S_ISREG(info.st_mode):
        return Entry(name, path, "special", note=describe_mode(info.st_mode))
    return Entry(name, path, "file", info.st_size)


def list_folder(root: str, allowed: tuple[str, ...]) -> tuple[list[Entry], bool]:
    """All entries below a folder, level by level, bounded in number and depth; whether some were left out."""
    entries: list[Entry] = []
    level = [("", root)]
    for depth in range(MAX_DEPTH + 1):
        below: list[tuple[str, str]] = []
        for prefix, folder in level:
            try:
                names = sorted(os.listdir(folder))
            except OSError as error:
                entries.append(Entry(prefix.rstrip("/") or ".", folder, "unreadable", note=error.strerror or ""))
                continue
            for name in names:
                if len(entries) >= MAX_ENTRIES:
                    return entries, True
                entry = _entry(prefix + name, os.path.join(folder, name), allowed)
                entries.append(entry)
                if entry.kind == "folder" and name not in {".git", ".cache"} and depth < MAX_DEPTH:
                    below.append((prefix + name + "/", entry.path))
        level = below
    return entries, bool(level)


def _read_model(entry: Entry) -> AuditedFile:
    found: Sniffed | None = None
    try:
        with LocalSource(entry.path, name=entry.name) as source:
            found = sniff(source)
            model = read(source, strict=False)
            return AuditedFile(entry.name, entry.path, source.size, found, model)
    except FormatError as error:
        return AuditedFile(entry.name, entry.path, entry.size, found, None, str(error), "format")
    except InspectorError as error:
        return AuditedFile(entry.name, entry.path, entry.size, found, None, str(error), "source")


def read_document(source: Source, *, name: str) -> Document:
    """A JSON document, strictly and within bounds; a template as text."""
    if source.size > MAX_DOCUMENT:
        return Document(name, source.size, None, f"{source.size:,} bytes: more than a document should have")
    raw = source.read_at(0, source.size)
    if name.endswith(TEXT_SUFFIXES):
        return Document(name, source.size, None, text=raw.decode("utf-8", "surrogateescape"))
    try:
        value = scan(decode(raw))
    except FormatError as error:
        return Document(name, source.size, None, str(error))
    return Document(name, source.size, value)


def _local_document(entry: Entry) -> Document:
    try:
        with LocalSource(entry.path, name=entry.name) as source:
            return read_document(source, name=entry.name)
    except SourceError as error:
        return Document(entry.name, entry.size, None, str(error))


def is_weight_name(name: str) -> bool:
    """Whether a name promises model weights, finished or not."""
    lower = name.lower()
    for suffix in PARTIAL_SUFFIXES:
        lower = lower.removesuffix(suffix)
    return lower.endswith(MODEL_SUFFIXES)


def is_document_name(name: str) -> bool:
    """Whether a name is a JSON document or a template at the top of the folder or one level down."""
    return name.count("/") <= 2 and name.lower().endswith((".json", *TEXT_SUFFIXES))


def gather_folder(target: str, root: str) -> Subject:
    """The subject of a local folder (a model's, or a Hub cache snapshot)."""
    blobs = blobs_folder(root)
    allowed = (os.path.realpath(root), *((os.path.realpath(blobs),) if blobs else ()))
    entries, truncated = list_folder(root, allowed)
    if blobs and os.path.isdir(blobs):
        entries += [
            Entry(f"blobs/{n}", os.path.join(blobs, n), "file", os.lstat(os.path.join(blobs, n)).st_size)
            for n in sorted(os.listdir(blobs))[:MAX_ENTRIES]
            if n.endswith(".incomplete")
        ]
    regular = [e for e in entries if e.kind == "file"]
    files = tuple(_read_model(e) for e in regular if is_weight_name(e.name) and not e.name.endswith(PARTIAL_SUFFIXES))
    documents = {e.name: _local_document(e) for e in regular if is_document_name(e.name)}
    paths = {e.name: e.path for e in regular}
    return Subject(
        target,
        root,
        True,
        tuple(entries),
        files,
        documents,
        lambda name: LocalSource(paths[name], name=name),
        truncated,
    )


def gather_file(target: str, path: str) -> Subject:
    """The subject of one file that the user named; a link is followed, since the user named it."""
    name = os.path.basename(path)
    entry = _entry(name, path, (os.path.realpath(path),))
    weights = entry.kind == "file" and not name.lower().endswith((".json", *TEXT_SUFFIXES, *PICKLE_SUFFIXES))
    files = (_read_model(entry),) if weights else ()
    documents = {name: _local_document(entry)} if entry.kind == "file" and is_document_name(name) else {}
    root = os.path.dirname(path) or "."
    return Subject(target, root, False, (entry,), files, documents, lambda n: LocalSource(path, name=n))


def gather(target: str) -> Subject:
    """The subject of a local target. Raises NotFound and other SourceErrors where there is nothing to look at."""
    from inspector.sources.cache import find_snapshot_in, is_repo_folder

    if not os.path.lexists(target):
        LocalSource(target).close()  # raises in the usual words
    if not os.path.isdir(target):
        return gather_file(target, target)
    root = target
    if is_repo_folder(target):
        root = find_snapshot_in(target) or target
    return gather_folder(target, root)
