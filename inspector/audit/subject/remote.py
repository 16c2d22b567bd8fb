"""The subject of an audit on the Hub: headers by ranges, small documents whole, everything else by its listing."""

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
from inspector.errors import FormatError, NotFound
from inspector.formats import read
from inspector.formats.sniff import sniff
from inspector.sources.hub import fetch_listing, open_file, read_file
from inspector.sources.memory import MemorySource
from inspector.sources.parallel import in_order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from inspector.formats.sniff import Sniffed
    from inspector.sources.http import Client
    from inspector.sources.hub import Repo
    from inspector.sources.target import Target

_FIRST_SAFETENSORS: Final = 16 << 10
_FIRST_GGUF: Final = 1 << 20


def _chosen(repo: Repo, target: Target) -> list[str]:
    """The names that a target means: a file's, a folder's, those that a quant tag matches and all documents, or all."""
    from inspector.stores.names import matches_tag

    names = sorted(repo.files)
    if target.file:
        inside = [name for name in names if name == target.file or name.startswith(target.file + "/")]
        if not inside:
            raise NotFound(f"{repo.repo} has no file {target.file}")
        return inside
    if target.quant:
        return [n for n in names if not is_weight_name(n) or matches_tag(n, target.quant)]
    return names


def _read_model(client: Client, repo: Repo, name: str) -> AuditedFile:
    """A header, read leniently. Failures of the network are raised: they are nothing that the file does wrong."""
    found: Sniffed | None = None
    first = _FIRST_GGUF if name.lower().endswith(".gguf") else _FIRST_SAFETENSORS
    with open_file(client, repo, name, first=first) as source:
        try:
            found = sniff(source, head=source.read_some(0, min(512, source.size), 4096))
            model = read(source, strict=False)
            return AuditedFile(name, "", source.size, found, model)
        except FormatError as error:
            return AuditedFile(name, "", source.size, found, None, str(error), "format")


def _read_document(client: Client, repo: Repo, name: str) -> Document:
    size = repo.files[name].size or 0
    if size > MAX_DOCUMENT:
        return Document(name, size, None, f"{size:,} bytes: more than a document should have")
    return read_document(MemorySource(read_file(client, repo, name), name=name), name=name)


def audit_subject(client: Client, target: Target) -> Subject:
    """What there is to audit in a repository, at one commit. Tensor values are not read.

    Raises NotFound, AccessDenied, RateLimited, Offline, Unreachable.
    """
    repo = fetch_listing(client, target.repo, target.revision)
    names = _chosen(repo, target)
    weights = [n for n in names if is_weight_name(n) and not is_partial_name(n)]
    documents = [n for n in names if is_document_name(n) and not is_weight_name(n)]

    files = in_order(lambda name: _read_model(client, repo, name), weights)
    return Subject(
        target=target.text,
        root=os.devnull,  # nothing lies below it
        is_folder=not target.file,
        entries=tuple(Entry(n, "", "file", repo.files[n].size or 0) for n in names),
        files=tuple(files),
        documents={d.name: d for d in in_order(lambda name: _read_document(client, repo, name), documents)},
        open_source=lambda name: open_file(client, repo, name),
        truncated_listing=not repo.complete,
        sha256={n: value for n in names if (value := repo.files[n].sha256)} or None,
        memo={},
    )
