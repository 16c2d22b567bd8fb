"""The subject of an audit that is not on this machine: headers by ranges, small documents whole."""

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
from inspector.checkpoint.ranged import FIRST_GGUF, FIRST_SAFETENSORS
from inspector.errors import FormatError
from inspector.formats import read
from inspector.formats.sniff import sniff
from inspector.sources.memory import MemorySource
from inspector.sources.parallel import in_order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from inspector.formats.sniff import Sniffed
    from inspector.sources import Source

    Open = Callable[[Entry, int], Source]


def _first(entry: Entry) -> int:
    return FIRST_GGUF if entry.name.lower().endswith(".gguf") else FIRST_SAFETENSORS


def _read_model(entry: Entry, open_file: Open) -> AuditedFile:
    """A header, read leniently. Failures of the network are raised: they are nothing that the file does wrong."""
    found: Sniffed | None = None
    with open_file(entry, _first(entry)) as source:
        try:
            found = sniff(source, head=source.read_some(0, min(512, source.size), 4096))
            model = read(source, strict=False)
            return AuditedFile(entry.name, "", source.size, found, model)
        except FormatError as error:
            return AuditedFile(entry.name, "", source.size, found, None, str(error), "format")


def _read_document(entry: Entry, read_whole: Callable[[Entry], bytes]) -> Document:
    if entry.size > MAX_DOCUMENT:
        return Document(entry.name, entry.size, None, f"{entry.size:,} bytes: more than a document should have")
    return read_document(MemorySource(read_whole(entry), name=entry.name), name=entry.name)


def ranged_subject(
    target: str,
    entries: Sequence[Entry],
    *,
    is_folder: bool,
    complete: bool,
    open_file: Open,
    read_whole: Callable[[Entry], bytes],
    sha256: Mapping[str, str] | None = None,
) -> Subject:
    """What there is to audit of listed files. Tensor values are not read.

    `open_file`: a file by its entry and the bytes of its first range. Raises what the two readers raise.
    """
    by_name = {e.name: e for e in entries}
    weights = [e for e in entries if is_weight_name(e.name) and not is_partial_name(e.name)]
    documents = [e for e in entries if is_document_name(e.name) and not is_weight_name(e.name)]
    return Subject(
        target=target,
        root=os.devnull,  # nothing lies below it
        is_folder=is_folder,
        entries=tuple(entries),
        files=tuple(in_order(lambda e: _read_model(e, open_file), weights)),
        documents={d.name: d for d in in_order(lambda e: _read_document(e, read_whole), documents)},
        open_source=lambda name: open_file(by_name[name], _first(by_name[name])),
        truncated_listing=not complete,
        sha256=sha256,
        memo={},
    )
