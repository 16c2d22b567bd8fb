"""The subject of a model in a program's store: its blobs under names of files, and what its manifest says of them."""

from __future__ import annotations

import os

from inspector.audit.subject.local import read_documents, read_models
from inspector.audit.subject.records import Entry, Subject, is_document_name
from inspector.errors import NotFound
from inspector.sources.local import LocalSource
from inspector.stores.found import problem_of
from inspector.stores.parts import parts_of, why_not
from inspector.stores.places import ollama_folder
from inspector.stores.targets import manifest_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.sources.target import Target


def stored_subject(target: Target) -> Subject:
    """What there is to audit of a model in a store. Raises NotFound, FormatError, SourceError."""
    _, name, manifest, _ = manifest_of(target, ollama_folder(os.environ))
    if why := why_not(manifest):
        raise NotFound(f"{target.text}: {why}")
    parts = parts_of(manifest, name)
    paths = {p.name: p.layer.path for p in parts if p.layer.found is not None and not p.layer.problem}
    entries = [Entry(p.name, p.layer.path, "file", p.layer.found or 0) for p in parts if p.name in paths]
    documents = [e for e in entries if is_document_name(e.name)]
    return Subject(
        target=target.text,
        root=os.devnull,  # nothing lies below it
        is_folder=True,
        entries=tuple(entries),
        files=read_models(e for e in entries if e not in documents),
        documents=read_documents(documents),
        open_source=lambda name: LocalSource(paths[name], name=name),
        sha256={p.name: p.layer.sha256 for p in parts if p.name in paths},
        kept_wrong=tuple((p.name, words) for p in parts if (words := problem_of(p.layer))),
        memo={},
    )
