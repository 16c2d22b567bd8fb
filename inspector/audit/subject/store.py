"""The subject of an audit at an address that fsspec understands: headers by ranges, small documents whole."""

from __future__ import annotations

import os

from inspector.audit.subject.local import MAX_DOCUMENT, read_document
from inspector.audit.subject.records import (
    AuditedFile,
    Document,
    Entry,
    Subject,
    is_document_name,
    is_partial_name,
    is_weight_name,
)
from inspector.checkpoint.remote import list_store
from inspector.errors import FormatError
from inspector.formats import read
from inspector.formats.sniff import sniff
from inspector.sources.filesystems import FilesystemSource, Remote, connect, read_whole, stat
from inspector.sources.memory import MemorySource
from inspector.sources.parallel import in_order
from inspector.stores.names import matches_tag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from inspector.formats.sniff import Sniffed
    from inspector.sources.target import Target

_FIRST: Final = 16 << 10
_FIRST_GGUF: Final = 1 << 20


def _source(at: Remote, entry: Entry) -> FilesystemSource:
    first = _FIRST_GGUF if entry.name.lower().endswith(".gguf") else _FIRST
    return FilesystemSource(at.fs, f"{at.path}/{entry.name}", name=entry.name, size=entry.size, first=first)


def _read_model(at: Remote, entry: Entry) -> AuditedFile:
    """A header, read leniently. Failures of the store are raised: they are nothing that the file does wrong."""
    found: Sniffed | None = None
    with _source(at, entry) as source:
        try:
            found = sniff(source, head=source.read_some(0, min(512, source.size), 4096))
            model = read(source, strict=False)
            return AuditedFile(entry.name, "", source.size, found, model)
        except FormatError as error:
            return AuditedFile(entry.name, "", source.size, found, None, str(error), "format")


def _read_document(at: Remote, entry: Entry) -> Document:
    if entry.size > MAX_DOCUMENT:
        return Document(entry.name, entry.size, None, f"{entry.size:,} bytes: more than a document should have")
    raw = read_whole(at.fs, f"{at.path}/{entry.name}", name=entry.name, size=entry.size)
    return read_document(MemorySource(raw, name=entry.name), name=entry.name)


def store_subject(target: Target) -> Subject:
    """What there is to audit at an address. Tensor values are not read.

    Raises NotFound, AccessDenied, Unreachable; InspectorError with what to install.
    """
    at = connect(target.url)
    found = stat(at)
    complete = True
    if found.is_folder:
        listing = list_store(at)
        complete = listing.complete
        entries = [Entry(e.name, "", "file", e.nbytes) for e in listing.entries.values()]
        if target.quant:
            entries = [e for e in entries if not is_weight_name(e.name) or matches_tag(e.name, target.quant)]
    else:
        at = Remote(at.fs, at.path.rpartition("/")[0], at.url.rpartition("/")[0])
        entries = [Entry(found.name, "", "file", found.nbytes or 0)]
    by_name = {e.name: e for e in entries}
    weights = [e for e in entries if is_weight_name(e.name) and not is_partial_name(e.name)]
    documents = [e for e in entries if is_document_name(e.name) and not is_weight_name(e.name)]
    return Subject(
        target=target.text,
        root=os.devnull,  # nothing lies below it
        is_folder=found.is_folder,
        entries=tuple(entries),
        files=tuple(in_order(lambda e: _read_model(at, e), weights)),
        documents={d.name: d for d in in_order(lambda e: _read_document(at, e), documents)},
        open_source=lambda name: _source(at, by_name[name]),
        truncated_listing=not complete,
        memo={},
    )
