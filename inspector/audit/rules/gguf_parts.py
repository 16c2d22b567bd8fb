"""GM: a split GGUF's parts against their names, their numbers and each other."""

from __future__ import annotations

from inspector.audit.registry import Hit, rule
from inspector.audit.subject.models import (
    as_count,
    first_absent,
    gguf_models,
    parts_by_name,
    split_count,
    was_read,
)
from inspector.checkpoint import split_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from inspector.audit.subject.records import AuditedFile, Subject

FETCH: Final = "download it again: hf download REPO FILE"
SHOWN_PARTS: Final = 8


@rule("GM011", "gguf-missing-part", severity="error", hint=FETCH)
def missing_part(subject: Subject) -> Iterator[Hit]:
    """
    Parts of a split GGUF are not here.

    Why it matters: llama.cpp loads all parts or none. When a single part was named for the audit, and its siblings
    are not beside it, this is a warning.
    """
    own = {
        split[:1] + split[2:]
        for f in subject.files
        if (split := split_name(f.name)) and f.name.lower().endswith(".gguf")
    }
    for (prefix, count), present in parts_by_name(subject.names(), ".gguf").items():
        n = count - len(present)
        if n and (prefix, count) in own:
            shown = [f"{prefix}-{i:05d}-of-{count:05d}.gguf" for i in first_absent(count, present, SHOWN_PARTS)]
            words = ", ".join(shown) + (", …" if n > SHOWN_PARTS else "")
            here = f"{prefix}-{min(present):05d}-of-{count:05d}.gguf"
            severity = "error" if subject.is_folder else "warning"
            yield Hit(here, f"{n:,} of {count:,} parts are missing: {words}", severity=severity)


def _number_faults(file: AuditedFile, count: int, number: int | None) -> Iterator[str]:
    """One part's own numbers against its name; `number` counts from 0, None where the name has none."""
    assert file.model is not None
    metadata, stated = file.model.metadata, split_count(file)
    if number is None:
        if stated > 1:
            yield f"it says that it is one of {stated:,} parts (split.count), and its name gives no part's number"
        return
    if "split.count" not in metadata and count > 1:
        yield f"its name says one of {count:,} parts, and it has no split.count"
    elif stated != count:
        yield f"split.count is {stated:,}, its name says {count:,}"
    at = metadata.get("split.no")
    if at is None and stated > 1:
        yield "no split.no"
    elif at is not None and at != number:
        words = f"{at:,}" if as_count(at) is not None else "no number"
        yield f"split.no is {words} (from 0), its name says part {number + 1:,} (from 1)"


@rule("GM012", "gguf-part-number", severity="error", hint="give the parts their own names back, or " + FETCH)
def part_number(subject: Subject) -> Iterator[Hit]:
    """
    A part's split.no or split.count is not what its name says, or its name gives no number at all.

    Why it matters: llama.cpp finds parts by name and refuses one that says it is another.
    """
    for file in subject.of_format("gguf"):
        if was_read(file):
            split = split_name(file.name)
            for fault in _number_faults(file, split[2] if split else 1, split[1] - 1 if split else None):
                yield Hit(file.name, fault)


@rule("GM013", "gguf-part-totals", severity="error", hint=FETCH)
def part_totals(subject: Subject) -> Iterator[Hit]:
    """
    The parts of a split hold more or fewer tensors together than split.tensors.count says.

    Why it matters: parts of two different splits, or of two conversions, were put together.
    """
    for m in gguf_models(subject):
        stated = m.metadata.get("split.tensors.count")
        if m.count < 2 or not m.is_whole or stated is None:
            continue
        n = sum(len(f.model.tensors) for f in m.parts.values() if f.model is not None)
        if stated != n:
            words = f"{stated:,}" if as_count(stated) is not None else "no count"
            yield Hit(m.first.name, f"split.tensors.count is {words}, the {m.count:,} parts hold {n:,} tensors")


@rule("GM014", "gguf-tensor-in-two-parts", severity="error", hint=FETCH)
def tensor_in_two_parts(subject: Subject) -> Iterator[Hit]:
    """
    A tensor stands in two parts of a split GGUF.

    Why it matters: llama.cpp refuses the model: which one would count?
    """
    for m in gguf_models(subject):
        owner: dict[str, str] = {}
        for i in sorted(m.parts) if m.count > 1 else ():
            file = m.parts[i]
            for t in file.model.tensors if file.model is not None else ():
                if owner.setdefault(t.name, file.name) != file.name:
                    yield Hit(f"{file.name}: {t.name}", f"also in {owner[t.name]}")
