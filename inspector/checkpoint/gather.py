"""Reading the chosen files of a folder, and what is learned on the way."""

from __future__ import annotations

from inspector.checkpoint import Checkpoint, Companion
from inspector.checkpoint.listing import defect_of
from inspector.errors import FormatError, InspectorError
from inspector.formats import read
from inspector.formats.modelfile import Defect
from inspector.sources.local import LocalSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Final

    from inspector.checkpoint.listing import Entry
    from inspector.formats.modelfile import ModelFile

# Names that a hostile index may invent; no model has as many shards.
MAX_MISSING: Final = 1000


class Gathering:
    """What a checkpoint will be made of. Strict: what would be a fatal defect is raised instead."""

    def __init__(self, target: str, *, strict: bool) -> None:
        self.target = target
        self.strict = strict
        self.documents: dict[str, Any] = {}
        self.companions: list[Companion] = []
        self.missing: list[str] = []
        self.notes: list[str] = []
        self.defects: list[Defect] = []
        self.revision: str | None = None

    def fault(self, defect: Defect) -> None:
        """Record what is wrong, or raise it (FormatError) when strict and fatal."""
        if self.strict and defect.fatal:
            raise FormatError(f"{defect.where}: {defect.what}" if defect.where else defect.what, defect.offset)
        self.defects.append(defect)

    def set_aside(self, role: str, entries: Iterable[Entry]) -> None:
        """Note files that lie beside the model."""
        self.companions += [Companion(role, e.name, e.nbytes) for e in entries]

    def miss(self, names: list[str]) -> None:
        """Note files that should be there, the first thousand by name."""
        self.missing += names[:MAX_MISSING]
        if len(names) > MAX_MISSING:
            self.notes.append(f"{len(names):,} files are missing; the first {MAX_MISSING:,} are listed")

    def checkpoint(self, files: Iterable[ModelFile], format: str, entries: Iterable[Entry] = ()) -> Checkpoint:  # noqa: A002
        """The finished record."""
        sha256 = {e.name: e.sha256 for e in entries if e.sha256}
        return Checkpoint(
            target=self.target,
            format=format,
            files=tuple(files),
            documents=self.documents,
            companions=tuple(sorted(self.companions, key=lambda c: (c.role, c.name))),
            missing=tuple(self.missing),
            notes=tuple(self.notes),
            revision=self.revision,
            sha256=sha256 or None,
            defects=tuple(self.defects),
        )


def _named(error: FormatError, name: str) -> FormatError:
    """The same failure, saying in which file."""
    words = f"{name}: {error.what}"
    try:
        return type(error)(words, error.offset, hint=error.hint)
    except TypeError:  # a sub-class with a constructor of its own
        return FormatError(words, error.offset, hint=error.hint)


def _read_entry(entry: Entry, gathering: Gathering) -> ModelFile | None:
    if entry.problem:
        gathering.fault(defect_of(entry))
        return None
    try:
        with LocalSource(entry.path, name=entry.name) as source:
            return read(source, strict=gathering.strict)
    except FormatError as error:
        if gathering.strict:
            raise _named(error, entry.name) from None
        gathering.defects.append(Defect("file-unreadable", error.what, error.offset, entry.name))
    except InspectorError as error:
        if gathering.strict:
            raise
        gathering.defects.append(Defect("file-unreadable", error.what, None, entry.name))
    return None


def read_entries(entries: list[Entry], gathering: Gathering) -> list[ModelFile]:
    """The headers of these files, in order; those that cannot be read are defects (or raised, when strict)."""
    import gc

    collecting = gc.isenabled()
    gc.disable()  # a hundred thousand records are kept: collecting in between finds nothing and takes half the time
    try:
        return [file for entry in entries if (file := _read_entry(entry, gathering)) is not None]
    finally:
        if collecting:
            gc.enable()


def open_entries(entries: list[Entry], gathering: Gathering) -> Checkpoint:
    """One checkpoint of these files, whose format is what the first of them turns out to be."""
    files = read_entries(entries, gathering)
    formats = {f.format for f in files}
    if len(formats) > 1:
        gathering.fault(Defect("mixed-formats", "parts of one model are in different formats", None, entries[0].name))
    named = "gguf" if entries[0].name.lower().endswith(".gguf") else "safetensors"
    return gathering.checkpoint(files, files[0].format if files else named, entries)
