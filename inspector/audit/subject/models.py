"""Which GGUF files make one model: parts of a split joined by name, and what each says about itself."""

from __future__ import annotations

from inspector.architectures.gguf_purpose import purpose
from inspector.checkpoint import split_name
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any, Final

    from inspector.architectures.gguf_purpose import Purpose
    from inspector.audit.subject.records import AuditedFile, Subject
    from inspector.formats.modelfile import TensorInfo

# A header with one of these was not read to its end: what it lacks says nothing.
_STOPPED_WORDS: Final = """
    truncated-header bad-count absurd-count bad-value-type string-too-long array-too-long header-too-long
    nesting-too-deep unsupported-version key-too-long too-many-dims
    """
STOPPED: Final = frozenset(_STOPPED_WORDS.split())


class GgufModel(Record):
    """One GGUF model: its parts in order (one, unless it is split), keyed by number from 0, and how many there are."""

    name: str
    parts: Mapping[int, AuditedFile]
    count: int

    @property
    def first(self) -> AuditedFile:
        """The part that carries the metadata, or the first one that is here."""
        return self.parts[min(self.parts)]

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The metadata of part 0."""
        model = self.first.model
        return model.metadata if model is not None else {}

    @property
    def is_whole(self) -> bool:
        """Whether all parts are here and all headers were read to their ends."""
        return len(self.parts) == self.count and all(was_read(f) for f in self.parts.values())

    def tensors(self) -> Iterator[TensorInfo]:
        """The tensors of all parts."""
        for i in sorted(self.parts):
            model = self.parts[i].model
            yield from model.tensors if model is not None else ()

    @property
    def arch(self) -> str:
        """general.architecture, or "" where it is not text."""
        arch = self.metadata.get("general.architecture")
        return arch if isinstance(arch, str) else ""

    @property
    def is_language_model(self) -> bool:
        """Whether llama.cpp would load it as a model: no projector, adapter, importance matrix or steering vector."""
        return self.purpose is None and self.metadata.get("general.type", "model") == "model"

    @property
    def purpose(self) -> Purpose | None:
        """What it is, where it is known to be no language model."""
        return purpose(self.metadata, self.tensors())

    def key(self, name: str) -> Any:
        """The value of an architecture's own key."""
        return self.metadata.get(f"{self.arch}.{name}")

    def count_of(self, name: str) -> int | None:
        """The same where it is a whole number, not negative."""
        return as_count(self.key(name))


def as_count(value: Any) -> int | None:
    """A whole number that is not negative, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def length_of(value: Any) -> int | None:
    """How many elements an array has, kept or only counted; None for anything else."""
    if isinstance(value, tuple):
        return len(value)
    elem = getattr(value, "elem", None)
    return int(value.length) if elem is not None and elem != "char" else None


def was_read(file: AuditedFile) -> bool:
    """Whether a header was read to its end."""
    return file.model is not None and not any(d.code in STOPPED for d in file.model.defects)


def split_count(file: AuditedFile) -> int:
    """How many parts the metadata says that the model has; 1 where it does not say."""
    value = as_count(file.model.metadata.get("split.count")) if file.model is not None else None
    return value or 1


def gguf_models(subject: Subject) -> tuple[GgufModel, ...]:
    """All GGUF models of a subject. Parts belong together by name, as llama.cpp finds them."""
    groups: dict[tuple[str, int], dict[int, AuditedFile]] = {}
    for file in subject.of_format("gguf"):
        split = split_name(file.name)
        if split is None:
            groups[file.name, 0] = {0: file}
        else:
            groups.setdefault((split[0], split[2]), {})[split[1] - 1] = file
    return tuple(GgufModel(name, parts, max(count, 1)) for (name, count), parts in groups.items())


def whole_models(subject: Subject) -> Iterator[GgufModel]:
    """Models whose metadata can be held against their tensors: all parts here, read to their ends."""
    return (m for m in gguf_models(subject) if m.is_whole and m.is_language_model)


def parts_by_name(names: Iterable[str], suffix: str) -> dict[tuple[str, int], set[int]]:
    """Which parts (from 1) of which splits (prefix, count) the names of one format say are here."""
    groups: dict[tuple[str, int], set[int]] = {}
    for name in names:
        split = split_name(name) if name.lower().endswith(suffix) else None
        if split is not None:
            groups.setdefault((split[0], split[2]), set()).add(split[1])
    return groups


def first_absent(count: int, present: set[int], n: int) -> list[int]:
    """The first `n` parts that are not present, without walking a count that only a file's name gives."""
    absent: list[int] = []
    i = 1
    while i <= count and len(absent) < n:
        if i not in present:
            absent.append(i)
        i += 1
    return absent
