"""Reading the chosen files of a folder, and what is learned on the way."""

from __future__ import annotations

from inspector.checkpoint.documents import MAX_DOCUMENT, is_document, parse_document
from inspector.checkpoint.listing import defect_of
from inspector.checkpoint.records import Checkpoint, Companion
from inspector.errors import FormatError, InspectorError, SourceError
from inspector.formats import read
from inspector.formats.modelfile import Defect
from inspector.sources.local import LocalSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from typing import Any, Final, TypeVar

    from inspector.checkpoint.listing import Entry, Listing
    from inspector.formats.modelfile import ModelFile
    from inspector.sources import Source

    T = TypeVar("T")
    R = TypeVar("R")

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

    def child(self, name: str, *, folder: bool = False) -> Gathering:  # noqa: ARG002 - on disk, entries have paths
        """An empty one for a part of what is gathered: one model of several, or a folder, whose names are its own."""
        inner = Gathering(f"{self.target}/{name}" if name else self.target, strict=self.strict)
        inner.revision = self.revision
        return inner

    def load(self, listing: Listing, quant: str | None = None) -> None:  # noqa: ARG002 - on disk, all are read
        """Read the documents of a folder that its model may need. Raises SourceError."""
        read_documents(listing, self)

    def open(self, entry: Entry) -> Source:
        """The bytes of a file. Raises SourceError."""
        return LocalSource(entry.path, name=entry.name)

    def read(self, entry: Entry, *, most: int) -> bytes:
        """A small file, whole. Raises SourceError, and FormatError beyond `most` bytes."""
        with LocalSource(entry.path, name=entry.name) as source:
            check_document_size(source.size, most)
            return source.read_at(0, source.size)

    def each(self, work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """What `work` makes of each, in order."""
        return map(work, items)

    def explain(self, error: InspectorError) -> InspectorError:
        """The same failure with what is known here about it."""
        return error

    def fault(self, defect: Defect) -> None:
        """Record what is wrong, or raise it (FormatError) when strict and fatal."""
        if self.strict and defect.fatal:
            raise FormatError(f"{defect.where}: {defect.what}" if defect.where else defect.what, defect.offset)
        self.defects.append(defect)

    def read_header(self, entry: Entry) -> ModelFile:
        """What a file says. Raises FormatError, SourceError."""
        with self.open(entry) as source:
            return read(source, strict=self.strict)

    def read_once(self, entry: Entry, read_header: Callable[[], ModelFile]) -> ModelFile:  # noqa: ARG002
        """A file's header; a remote gathering reads files of one content once."""
        return read_header()

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


def read_documents(listing: Listing, gathering: Gathering, names: Collection[str] | None = None) -> None:
    """Add the known documents of a folder (of these `names`) to `gathering`, and what is wrong with them."""
    wanted = [e for e in listing.entries.values() if is_document(e.name) and (names is None or e.name in names)]

    def parse(entry: Entry) -> Any:
        if entry.problem:
            return defect_of(entry)
        try:
            return parse_document(gathering.read(entry, most=MAX_DOCUMENT))
        except InspectorError as error:
            if isinstance(error, SourceError) and not entry.path:
                raise  # what a network lacks today is no defect of the model's
            return Defect("document-unreadable", str(error), getattr(error, "offset", None), entry.name)

    found = dict(zip([e.name for e in wanted], gathering.each(parse, wanted), strict=True))
    defects = [value for value in found.values() if isinstance(value, Defect)]
    documents = {name: value for name, value in found.items() if not isinstance(value, Defect)}
    if not isinstance(documents.get("config.json", {}), dict):
        defects.append(Defect("document-unreadable", "not a JSON object", None, "config.json"))
        del documents["config.json"]
    gathering.documents |= documents
    gathering.defects += defects
    gathering.notes += [f"{d.where}: {d.what}" for d in defects]


def named(error: FormatError, name: str) -> FormatError:
    """The same failure, saying in which file, once."""
    if error.what.startswith(f"{name}:"):
        return error
    words = f"{name}: {error.what}"
    try:
        return type(error)(words, error.offset, hint=error.hint)
    except TypeError:  # a sub-class with a constructor of its own
        return FormatError(words, error.offset, hint=error.hint)


def check_document_size(nbytes: int, most: int) -> None:
    """Raises FormatError for a document that is none."""
    if nbytes > most:
        raise FormatError(f"{nbytes:,} bytes: documents of more than {most:,} are not read")


def _read_entry(entry: Entry, gathering: Gathering) -> ModelFile | Defect:
    """A file's header, or why there is none (raised, when strict)."""
    if entry.problem:
        return defect_of(entry)
    try:
        return gathering.read_once(entry, lambda: gathering.read_header(entry))
    except FormatError as error:
        if gathering.strict:
            raise named(error, entry.name) from None
        return Defect("file-unreadable", error.what, error.offset, entry.name)
    except InspectorError as error:
        if gathering.strict:
            raise
        return Defect("file-unreadable", error.what, None, entry.name)


def read_entries(entries: list[Entry], gathering: Gathering) -> list[ModelFile]:
    """The headers of these files, in order; those that cannot be read are defects (or raised, when strict)."""
    import gc

    collecting = gc.isenabled()
    gc.disable()  # a hundred thousand records are kept: collecting in between finds nothing and takes half the time
    files: list[ModelFile] = []
    try:
        for found in gathering.each(lambda entry: _read_entry(entry, gathering), entries):
            if isinstance(found, Defect):
                gathering.fault(found)
            else:
                files.append(found)
        return files
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
