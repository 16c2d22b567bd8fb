"""Models of content-addressed stores: blobs under the names of files, opened as a folder would be."""

from __future__ import annotations

import os

from inspector.checkpoint.folder import open_listing
from inspector.checkpoint.gather import Gathering
from inspector.checkpoint.listing import Entry, Listing, folders_of
from inspector.checkpoint.quants import group_models, open_model
from inspector.checkpoint.records import SeveralModels
from inspector.errors import InspectorError, NotAModelFile, NotFound
from inspector.formats.modelfile import Defect
from inspector.stores.found import problem_of
from inspector.stores.names import matches_tag, quant_label
from inspector.stores.parts import keeping, parts_of, why_not
from inspector.stores.places import ollama_folder
from inspector.stores.targets import manifest_of
from inspector.stores.walk import find_models

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Final

    from inspector.checkpoint.records import Checkpoint
    from inspector.sources.target import Target
    from inspector.stores.manifests import Blobs, Manifest
    from inspector.stores.parts import Part
    from inspector.stores.records import FoundModel

_PROGRAMS: Final = {"ollama": "Ollama", "docker": "Docker Model Runner", "oci": "an OCI image"}
_AGAIN: Final = {"ollama": "ollama pull it again", "docker": "docker model pull it again"}
MOST_FOLDERS: Final = 20_000  # looked into for the models of a target; a list or a scan looks into more


def open_stored(target: Target, *, strict: bool) -> Checkpoint:
    """The model that a target names in a store; OLLAMA_MODELS says where this user's own is.

    Raises NotFound (with near names), NotAModelFile, FormatError, SourceError.
    """
    kind, name, manifest, blobs = manifest_of(target, ollama_folder(os.environ))
    if why := why_not(manifest):
        raise NotAModelFile(f"{target.text}: {why}")
    return _open_parts(target.text, name, manifest, blobs, kind=kind, strict=strict)


def _entry(part: Part) -> Entry:
    layer = part.layer
    problem = ("special-file", layer.problem) if layer.problem else None
    return Entry(part.name, layer.path, layer.found or 0, layer.sha256, problem)


def _open_parts(target: str, name: str, manifest: Manifest, blobs: Blobs, *, kind: str, strict: bool) -> Checkpoint:
    parts = parts_of(manifest, name)
    here = [p for p in parts if p.layer.found is not None or p.layer.problem]
    gathering = Gathering(target, strict=strict)
    gathering.miss([f"{p.name} (blob sha256-{p.layer.sha256[:12]}…)" for p in parts if p not in here])
    for part in here:
        if not part.layer.problem and (words := problem_of(part.layer)):
            gathering.defects.append(Defect("blob-size", words, None, part.name, fatal=False))
            gathering.notes.append(f"{part.name}: {words}")
    for role in ("mmproj", "lora"):
        gathering.set_aside(role, [_entry(p) for p in here if p.role == role])
    weights = [_entry(p) for p in here if p.role == "weights"]
    if not weights:
        raise NotFound(f"{target}: {gathering.missing[0]} is missing", hint=_AGAIN.get(kind))
    found = _open_weights(weights, [_entry(p) for p in here if p.role == "document"], gathering)
    return found.replace(keeping=keeping(manifest, blobs, _PROGRAMS[kind]))


def _open_weights(weights: list[Entry], documents: list[Entry], gathering: Gathering) -> Checkpoint:
    if all(e.name.lower().endswith(".gguf") for e in weights):
        first, *others = group_models(weights)
        for other in others:
            gathering.set_aside("quant", other.entries)
        return open_model(first, gathering)
    entries = {e.name: e for e in sorted((*weights, *documents), key=lambda e: e.name)}
    listing = Listing("", entries, folders_of(entries))
    gathering.load(listing)
    return open_listing(listing, gathering)


def open_found(
    path: str, *, target: str, quant: str | None, open_one: Callable[[FoundModel], Checkpoint], lacking: NotFound | None
) -> Checkpoint:
    """The one model that lies anywhere below a folder or in a store, or the first that `quant` matches.

    Raises SeveralModels, which opens them all where it is asked to, and `lacking` (or NotFound) where there is none.
    """
    models = [m for m in find_models(path, most_folders=MOST_FOLDERS) if m.role == "model" and m.target != path]
    if quant is not None:
        models = [m for m in models if matches_tag(f"{m.name}.", quant)][:1]
    if not models:
        raise lacking or NotFound(f"{target}: no model in this store")
    if len(models) == 1:
        return open_one(models[0])
    raise _several(target, models, open_one)


def _several(target: str, models: Sequence[FoundModel], open_one: Callable[[FoundModel], Checkpoint]) -> SeveralModels:
    def attempt(model: FoundModel) -> Checkpoint | InspectorError:
        try:
            return open_one(model)
        except InspectorError as error:
            return error

    return SeveralModels(
        f"{target}: {len(models):,} models",
        tuple((m.name, m.nbytes, quant_label(f"{m.name.replace(':', '-')}.gguf")) for m in models),
        hint=f"name one: inspector {models[0].target}",
        open_each=lambda: [attempt(m) for m in models],
        targets=tuple(m.target for m in models),
    )
