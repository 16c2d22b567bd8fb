"""A path on this machine as a checkpoint: a folder, one weights file with its other parts, a JSON file."""

from __future__ import annotations

import os

from inspector.checkpoint.records import Checkpoint
from inspector.errors import FormatError
from inspector.stores.splits import split_name


def open_path(path: str, *, target: str, quant: str | None, strict: bool) -> Checkpoint:
    """Open what stands at `path`. Raises NotFound, SeveralModels, SourceError and FormatError."""
    if os.path.isdir(path):
        from inspector.checkpoint.folder import open_folder

        return open_folder(path, target=target, quant=quant, strict=strict)
    lower = path.lower()
    if lower.endswith(".json"):
        from inspector.checkpoint.folder import open_json

        return open_json(path, target=target, strict=strict)
    return _open_file(path, target=target, strict=strict)


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
