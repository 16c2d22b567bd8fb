"""A path on this machine as a checkpoint: a folder, one weights file with its other parts, a JSON file."""

from __future__ import annotations

import os

from inspector.checkpoint.records import Checkpoint
from inspector.errors import FormatError, NotFound
from inspector.sources.cache import is_repo_folder
from inspector.stores.splits import split_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.stores.records import FoundModel


def open_path(path: str, *, target: str, quant: str | None, strict: bool) -> Checkpoint:
    """Open what stands at `path`. Raises NotFound, SeveralModels, SourceError and FormatError."""
    if os.path.isdir(path):
        return _open_folder(path, target=target, quant=quant, strict=strict)
    lower = path.lower()
    if lower.endswith(".json"):
        from inspector.checkpoint.folder import open_json

        return open_json(path, target=target, strict=strict)
    if "manifests" in path and (named := _of_manifest(path, target=target, strict=strict)):
        return named
    return _open_file(path, target=target, strict=strict)


def _open_folder(path: str, *, target: str, quant: str | None, strict: bool) -> Checkpoint:
    """A folder that is a model; else the one model of a store, or that lies anywhere below."""
    from inspector.checkpoint.folder import open_folder

    def open_one(model: FoundModel) -> Checkpoint:
        if (stored := stored_target(model.target)) is not None:
            return open_stored(stored, strict=strict)
        return open_path(model.target, target=model.target, quant=None, strict=strict)

    lacking: NotFound | None = None
    if not _is_store(path):
        try:
            return open_folder(path, target=target, quant=quant, strict=strict)
        except NotFound as error:
            if is_repo_folder(path):
                raise
            lacking = error
    from inspector.checkpoint.stored import open_found, open_stored
    from inspector.stores.targets import stored_target

    return open_found(path, target=target, quant=quant, open_one=open_one, lacking=lacking)


def _is_store(path: str) -> bool:
    """Whether a folder is a store of blobs; its rules are loaded only where there are blobs."""
    if not os.path.isdir(os.path.join(path, "blobs")):
        return False
    from inspector.stores.targets import store_kind

    return store_kind(path) is not None


def _of_manifest(path: str, *, target: str, strict: bool) -> Checkpoint | None:
    """The model of a store whose manifest's file was named."""
    from inspector.stores.ollama import name_of_path

    found = name_of_path(path)
    if found is None:
        return None
    from inspector.checkpoint.stored import open_stored
    from inspector.sources.target import Target

    return open_stored(Target(target, "stored", path=found[0], repo=found[1]), strict=strict)


def _open_file(path: str, *, target: str, strict: bool) -> Checkpoint:
    """One weights file, whatever its name says; with its other parts where it is one of several."""
    from inspector.formats import read
    from inspector.sources.local import LocalSource

    with LocalSource(path) as source:
        try:
            file = read(source, strict=strict)
        except FormatError as error:
            from inspector.checkpoint.gather import named

            raise named(error, source.name) from None
    if file.format == "gguf" and split_name(source.name) is None:
        return Checkpoint(target, "gguf", (file,), {})
    from inspector.checkpoint.folder import open_among_siblings

    return open_among_siblings(path, file, target=target, strict=strict)
