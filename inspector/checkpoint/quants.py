"""Folders of GGUF files: parts joined into models, and one of several models picked by its tag."""

from __future__ import annotations

import os

from inspector.checkpoint.gather import open_entries
from inspector.checkpoint.records import SeveralModels
from inspector.checkpoint.shards import missing_parts
from inspector.errors import InspectorError, NotFound
from inspector.record import Record
from inspector.stores.names import matches_tag, quant_label
from inspector.stores.splits import split_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.checkpoint.gather import Gathering
    from inspector.checkpoint.listing import Entry
    from inspector.checkpoint.records import Checkpoint


class Model(Record):
    """One GGUF model of a folder: `name` (of its first part that is here), its parts by number, how many there are."""

    name: str
    parts: dict[int, Entry]
    count: int

    @property
    def nbytes(self) -> int:
        """Bytes of the parts that are here."""
        return sum(e.nbytes for e in self.parts.values())

    @property
    def entries(self) -> list[Entry]:
        """The parts in order."""
        return [self.parts[i] for i in sorted(self.parts)]


def group_models(entries: list[Entry]) -> list[Model]:
    """Parts of the same prefix and count are one model (common/download.cpp, get_split_files)."""
    groups: dict[tuple[str, int], dict[int, Entry]] = {}
    for entry in sorted(entries, key=lambda e: e.name):
        split = split_name(entry.name)
        prefix, part, count = split or (entry.name, 1, 1)
        groups.setdefault((prefix, count), {})[part] = entry
    return [Model(parts[min(parts)].name, parts, count) for (_, count), parts in groups.items()]


def listing_of(models: list[Model]) -> tuple[tuple[str, int, str], ...]:
    """Name, bytes and quant label of each."""
    return tuple((m.name, m.nbytes, quant_label(m.name)) for m in models)


def _labels(models: list[Model], *, most: int = 12) -> str:
    labels = [quant_label(m.name) or m.name for m in models]
    return ", ".join(labels[:most]) + (f" and {len(labels) - most} more" if len(labels) > most else "")


def open_each(models: list[Model], gathering: Gathering) -> list[Checkpoint | InspectorError]:
    """Each of several models on its own, in order; one that cannot be opened is its error."""

    def open_one(model: Model) -> Checkpoint | InspectorError:
        try:
            return open_model(model, gathering.child(model.name))
        except InspectorError as error:
            return gathering.explain(error)

    return list(gathering.each(open_one, models))


def _several(models: list[Model], gathering: Gathering) -> SeveralModels:
    target, label = gathering.target, quant_label(models[0].name)
    example = f"{target}:{label}" if label else os.path.join(target, models[0].name)
    return SeveralModels(
        f"{target}: {len(models)} models: {_labels(models)}",
        listing_of(models),
        hint=f"name one: inspector {example}",
        open_each=lambda: open_each(models, gathering),
    )


def pick_model(models: list[Model], quant: str | None, gathering: Gathering) -> Model:
    """The model that a tag names: the first match in order of name. Raises NotFound, SeveralModels."""
    if quant is None:
        if len(models) == 1:
            return models[0]
        raise _several(models, gathering)
    found = [m for m in models if matches_tag(m.name, quant)]
    if not found:
        raise NotFound(f"{gathering.target}: no GGUF file here matches {quant}", hint=f"there are: {_labels(models)}")
    if len(found) > 1:
        also = ", ".join(m.name for m in found[1:4])
        gathering.notes.append(f"{len(found)} models match {quant}: {found[0].name} is the first, then {also}")
    return found[0]


def open_gguf_folder(entries: list[Entry], quant: str | None, gathering: Gathering) -> Checkpoint:
    """Open the one GGUF model of `entries`, or the one that `quant` names; the others are set aside.

    Raises NotFound, SeveralModels, FormatError, SourceError.
    """
    models = group_models(entries)
    model = pick_model(models, quant, gathering)
    for other in models:
        if other is not model:
            gathering.set_aside("quant", other.entries)
    return open_model(model, gathering)


def open_model(model: Model, gathering: Gathering) -> Checkpoint:
    """Join the parts of one model in order, and say which are not here."""
    if split := split_name(model.name):
        gathering.miss(missing_parts(split[0], model.count, model.parts, suffix="gguf"))
        if 1 not in model.parts:
            gathering.notes.append("the first part, which holds the metadata, is missing")
    return open_entries(model.entries, gathering)
