"""Pipelines: several models in folders of their own, of which one is "the model" (diffusers, sentence-transformers)."""

from __future__ import annotations

from inspector.checkpoint.records import Checkpoint, Companion, Component
from inspector.stores.names import basename, role_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from inspector.checkpoint.gather import Gathering
    from inspector.checkpoint.listing import Listing

# The part of a pipeline that is "the model" (diffusers' model_index.json names the parts).
_MAIN_COMPONENTS: Final = ("transformer", "unet", "prior", "decoder")


def _named_parts(documents: dict[str, Any]) -> list[str]:
    """Folders that a pipeline's description names, the main one first."""
    index = documents.get("model_index.json")
    if isinstance(index, dict):
        names = [name for name in index if isinstance(name, str) and not name.startswith("_")]
        return sorted(names, key=lambda name: _MAIN_COMPONENTS.index(name) if name in _MAIN_COMPONENTS else 99)
    modules = documents.get("modules.json")
    if isinstance(modules, list):
        paths = [module.get("path") for module in modules if isinstance(module, dict)]
        return [path.strip("/") for path in paths if isinstance(path, str)]
    return []


def pipeline_parts(listing: Listing, documents: dict[str, Any]) -> list[str]:
    """The folders of a pipeline that have safetensors weights, the main one first; empty where this is no pipeline."""
    weights = {
        e.name.rpartition("/")[0]
        for e in listing.entries.values()
        if role_of(e.name) == "weights" and e.name.lower().endswith(".safetensors")
    }
    folders = {"", *listing.folders}
    parts = [name for name in dict.fromkeys(_named_parts(documents)) if name in weights and name in folders]
    return [] if parts == [""] else parts


def open_pipeline(
    parts: list[str], open_part: Callable[[str], Checkpoint], listing: Listing, gathering: Gathering
) -> Checkpoint:
    """The main part's checkpoint, file names as they stand in the whole, and all parts as its components."""
    opened = list(gathering.each(open_part, parts))
    main, inner = parts[0], opened[0]
    prefix = f"{main}/" if main else ""
    inside = {prefix + name for name in listing.below(main).entries}
    others = [
        Companion("component" if role == "weights" else role, e.name, e.nbytes)
        for e in listing.entries.values()
        if (role := role_of(e.name)) and e.name not in inside
    ]
    notes = [*gathering.notes]
    if main:
        notes.append(f"a pipeline: this is its {basename(main)}; the other components are set aside")
    sha256 = {prefix + name: value for name, value in (inner.sha256 or {}).items()}
    return inner.replace(
        target=gathering.target,
        files=tuple(f.replace(name=prefix + f.name) for f in inner.files),
        documents={**gathering.documents, **inner.documents},
        companions=(*inner.companions, *others),
        missing=tuple(prefix + name for name in inner.missing),
        notes=(*notes, *inner.notes),
        revision=gathering.revision,
        sha256=sha256 or None,
        defects=(*gathering.defects, *inner.defects),
        components=tuple(Component(*pair) for pair in zip(parts, opened, strict=True)),
    )
