"""A folder or file on this machine, gathered once: entries, model headers and documents. Nothing else is opened.

Hostile folders are ordinary input: entries are told apart by lstat before anything is opened, links are followed only
inside the folder (and into the blobs of a Hub cache snapshot), sizes are bounded, nothing is executed.
"""

from __future__ import annotations

import os
import stat

from inspector.audit.subject.records import (
    INDEX_SUFFIX,
    MAX_ENTRIES,
    TEXT_SUFFIXES,
    AuditedFile,
    Document,
    Entry,
    Subject,
    is_document_name,
    is_partial_name,
    is_weight_name,
    paused_gc,
)
from inspector.checkpoint.documents import parse_document
from inspector.errors import FormatError, InspectorError, LimitExceeded, SourceError
from inspector.formats import read
from inspector.formats.sniff import sniff
from inspector.sources.cache import blobs_folder
from inspector.sources.local import LocalSource, describe_mode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

    from inspector.formats.sniff import Sniffed
    from inspector.sources import Source

MAX_DEPTH: Final = 60  # a path of 4,096 bytes has more, but no model's
# Documents are decoded whole, at up to four bytes a character; all of one folder together are held at once. The
# largest honest ones: 1.2 MB (tokenizer_config.json of Gemma), 20 MB (the index of 200,000 tensors).
MAX_DOCUMENT: Final = 8 << 20
MAX_INDEX: Final = 32 << 20
MAX_DOCUMENTS: Final = 16 << 20
MAX_N_DOCUMENTS: Final = 500
# Headers of all files together. The largest models have 210,000 tensors in 25 MiB of headers.
MAX_HEADERS: Final = 48 << 20
MAX_TENSORS: Final = 300_000
_HEX: Final = frozenset("0123456789abcdef")


def _inside(real: str, folders: tuple[str, ...]) -> bool:
    return any(real == folder or real.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders)


def _link_entry(name: str, path: str, allowed: tuple[str, ...]) -> Entry:
    """A symbolic link: a file when it stays inside, else a finding. The target is resolved and never opened here."""
    try:
        mode = os.stat(path).st_mode
        real = os.path.realpath(path)
    except OSError as error:
        import errno

        kind = "link-loop" if error.errno == errno.ELOOP else "link-broken"
        return Entry(name, path, kind, note=_readlink(path))
    if not _inside(real, allowed):
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
    """All entries below a folder, level by level, git's own last; bounded; whether some were left out."""
    entries: list[Entry] = []
    level, later = [("", root)], list[tuple[str, str]]()
    for _ in range(MAX_DEPTH + 1):
        level, later = (level, later) if level else (later, [])
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
                if entry.kind == "folder":
                    (later if name == ".git" else below).append((prefix + name + "/", entry.path))
        level = below
    return entries, bool(level or later)


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


def read_models(entries: Iterable[Entry]) -> tuple[AuditedFile, ...]:
    """The headers of all weight files, until they take more than an audit may hold."""
    files, total, n_tensors = [], 0, 0
    for entry in entries:
        if total > MAX_HEADERS or n_tensors > MAX_TENSORS:
            words = f"not examined: the files before it have {total:,} bytes of headers, {n_tensors:,} tensors"
            files.append(AuditedFile(entry.name, entry.path, entry.size, None, None, words, "limit"))
            continue
        files.append(file := _read_model(entry))
        if file.model is not None:
            # a GGUF's header is nearly all vocabulary, which is walked and not kept
            kept = file.model.header_bytes // (4 if file.model.format == "gguf" else 1)
            total, n_tensors = total + kept, n_tensors + len(file.model.tensors)
    return tuple(files)


def read_document(source: Source, *, name: str) -> Document:
    """A JSON document as transformers reads it, within bounds; a template as text."""
    if source.size > (MAX_INDEX if name.endswith(INDEX_SUFFIX) else MAX_DOCUMENT):
        words = f"{source.size:,} bytes: more than a document should have"
        return Document(name, source.size, None, words, unexamined=True)
    raw = source.read_at(0, source.size)
    if len(raw) < source.size:
        words = f"ends at byte {len(raw):,} while it is read, of {source.size:,}"
        return Document(name, source.size, None, words, unreadable=True)
    if name.endswith(TEXT_SUFFIXES):
        return Document(name, source.size, None, text=raw.decode("utf-8", "surrogateescape"))
    try:
        return Document(name, source.size, parse_document(raw))
    except LimitExceeded as error:
        return Document(name, source.size, None, str(error), unexamined=True)
    except FormatError as error:
        return Document(name, source.size, None, str(error))


def _local_document(entry: Entry) -> Document:
    try:
        with LocalSource(entry.path, name=entry.name) as source:
            return read_document(source, name=entry.name)
    except SourceError as error:
        return Document(entry.name, entry.size, None, str(error), unreadable=True)


def read_documents(entries: Iterable[Entry]) -> dict[str, Document]:
    """All documents of a folder, until there are more than an audit may hold."""
    documents: dict[str, Document] = {}
    total = 0
    for entry in entries:
        weight = entry.size // 2 if entry.name.endswith(INDEX_SUFFIX) else entry.size
        total += weight
        if total > MAX_DOCUMENTS or len(documents) >= MAX_N_DOCUMENTS:
            total -= weight
            words = "not examined: too many documents, or too large ones, before it"
            documents[entry.name] = Document(entry.name, entry.size, None, words, unexamined=True)
        else:
            documents[entry.name] = _local_document(entry)
    return documents


def _unfinished(blobs: str) -> list[Entry]:
    """Downloads into a Hub cache that broke off, and the finished blobs of the same name."""
    try:
        with os.scandir(blobs) as found:
            names = {e.name for _, e in zip(range(MAX_ENTRIES), found, strict=False)}
    except OSError:
        return []
    entries = []
    for name in sorted(n for n in names if n.endswith(".incomplete")):
        path = os.path.join(blobs, name)
        entries.append(_entry(f"blobs/{name}", path, (os.path.realpath(blobs),)))
        whole = name.removesuffix(".incomplete")
        if whole in names or whole.partition(".")[0] in names:
            entries.append(Entry(f"blobs/{whole}", path, "file"))
    return entries


def _blob_hashes(entries: Iterable[Entry], blobs: str) -> dict[str, str]:
    """What a Hub cache says that files hash to: the names of the blobs that they are links to."""
    real_blobs = os.path.realpath(blobs)
    hashes = {}
    for e in entries:
        folder, blob = os.path.split(os.path.realpath(e.path))
        if folder == real_blobs and len(blob) in (40, 64) and _HEX.issuperset(blob):
            hashes[e.name] = blob
    return hashes


def gather_folder(target: str, root: str) -> Subject:
    """The subject of a local folder (a model's, or a Hub cache snapshot)."""
    blobs = blobs_folder(root)
    allowed = (os.path.realpath(root), *((os.path.realpath(blobs),) if blobs else ()))
    entries, truncated = list_folder(root, allowed)
    regular = [e for e in entries if e.kind == "file"]
    paths = {e.name: e.path for e in regular}
    return Subject(
        target=target,
        root=root,
        is_folder=True,
        entries=(*entries, *(_unfinished(blobs) if blobs else ())),
        files=read_models(e for e in regular if is_weight_name(e.name) and not is_partial_name(e.name)),
        documents=read_documents(e for e in regular if is_document_name(e.name)),
        open_source=lambda name: LocalSource(paths[name], name=name),
        truncated_listing=truncated,
        sha256=_blob_hashes(regular, blobs) if blobs else None,
        memo={},
    )


def gather_file(target: str, path: str) -> Subject:
    """The subject of one file that the user named; a link is followed, since the user named it."""
    name = os.path.basename(path)
    entry = _entry(name, path, (os.path.realpath(path),))
    is_document = entry.kind == "file" and name.lower().endswith((".json", *TEXT_SUFFIXES))
    return Subject(
        target=target,
        root=os.path.dirname(path) or ".",
        is_folder=False,
        entries=(entry,),
        files=(_read_model(entry),) if entry.kind == "file" and not is_document and _is_model(entry) else (),
        documents={name: _local_document(entry)} if is_document else {},
        open_source=lambda n: LocalSource(path, name=n),
        memo={},
    )


def _is_model(entry: Entry) -> bool:
    """Whether a file is a GGUF or safetensors file, or should be one by its name."""
    if is_weight_name(entry.name):
        return True
    try:
        with LocalSource(entry.path, name=entry.name) as source:
            return sniff(source).is_model
    except InspectorError:
        return False


def gather(target: str) -> Subject:
    """The subject of a local target. Raises NotFound and other SourceErrors where there is nothing to look at."""
    if not os.path.lexists(target):
        LocalSource(target).close()  # raises in the usual words
    with paused_gc():
        return _gather_path(target)


def _gather_path(target: str) -> Subject:
    from inspector.sources.cache import find_snapshot_in, is_repo_folder

    if not os.path.isdir(target):
        return gather_file(target, target)
    root = target
    if is_repo_folder(target):
        root = find_snapshot_in(target) or target
    return gather_folder(target, root)
