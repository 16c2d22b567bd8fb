"""A folder, taken as one model: which files are its weights, which its documents, and what merely lies there."""

from __future__ import annotations

import os

from inspector.checkpoint.documents import INDEX_SUFFIX, MAX_DOCUMENT, parse_document
from inspector.checkpoint.gather import Gathering, open_entries
from inspector.checkpoint.listing import Entry, Listing, list_folder, list_names
from inspector.checkpoint.pipelines import open_pipeline, pipeline_parts
from inspector.checkpoint.quants import group_models, open_gguf_folder, open_model
from inspector.checkpoint.records import Checkpoint
from inspector.checkpoint.shards import open_safetensors_folder
from inspector.errors import FormatError, InspectorError, NoGguf, NotAModelFile, NotFound, SourceError
from inspector.sources.cache import blobs_folder, find_snapshot_in, is_repo_folder, unfinished_blobs
from inspector.stores.names import basename, role_of
from inspector.stores.splits import split_name
from inspector.units import format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from inspector.formats.modelfile import ModelFile

# Documents that say nothing without the weights beside them.
_FOLDER_DOCUMENTS: Final = ("adapter_config.json", "model_index.json", "modules.json")


def _snapshot_of(path: str) -> str:
    """The snapshot that a repository's folder in the Hub's cache stands at. Raises NotFound."""
    found = find_snapshot_in(path)
    if found is not None:
        return found
    snapshots = os.path.join(path, "snapshots")
    names = [name for name, is_folder in list_names(snapshots) if is_folder]
    if len(names) == 1:
        return os.path.join(snapshots, names[0])
    hint = f"name one: {os.path.join(snapshots, names[0])}" if names else None
    raise NotFound(f"{path}: {len(names)} snapshots, and none that refs/main names", hint=hint)


def _gather(path: str, *, target: str, strict: bool) -> tuple[Listing, Gathering]:
    listing = list_folder(path)
    gathering = Gathering(target, strict=strict)
    gathering.load(listing)
    if not listing.complete:
        gathering.notes.append("the folder has more entries than are listed: files may have been overlooked")
    if blobs := blobs_folder(path):
        gathering.revision = os.path.basename(os.path.abspath(path))
        if unfinished := unfinished_blobs(blobs):
            nbytes = format_nbytes(sum(n for _, n in unfinished))
            gathering.notes.append(f"{len(unfinished)} downloads are not finished ({nbytes} so far)")
    return listing, gathering


def open_folder(path: str, *, target: str, quant: str | None = None, strict: bool = True) -> Checkpoint:
    """Open the model that a folder is: its own weights first, then GGUF files, then what else can answer.

    Raises NotFound, SeveralModels, FormatError, SourceError.
    """
    if is_repo_folder(path):
        path = _snapshot_of(path)
    listing, gathering = _gather(path, target=target, strict=strict)
    return open_listing(listing, gathering, quant)


def open_listing(listing: Listing, gathering: Gathering, quant: str | None = None) -> Checkpoint:
    """Open the model that a listing is, its documents having been read.

    Raises NotFound, SeveralModels, FormatError, SourceError.
    """
    if quant is None and (parts := pipeline_parts(listing, gathering.documents)):

        def open_part(name: str) -> Checkpoint:
            below, inner = listing.below(name), gathering.child(name, folder=True)
            inner.load(below)
            return _open_listed(below, None, inner)

        return open_pipeline(parts, open_part, listing, gathering)
    return _open_listed(listing, quant, gathering)


def _by_role(listing: Listing, suffix: str, *, root_only: bool) -> dict[str, list[Entry]]:
    roles: dict[str, list[Entry]] = {}
    for entry in listing.entries.values():
        if entry.name.lower().endswith(suffix) and not (root_only and "/" in entry.name):
            roles.setdefault(role_of(entry.name) or "", []).append(entry)
    return roles


def _open_listed(listing: Listing, quant: str | None, gathering: Gathering) -> Checkpoint:
    tensors = _by_role(listing, ".safetensors", root_only=True)
    ggufs = _by_role(listing, ".gguf", root_only=False)
    for entry in listing.entries.values():
        role = role_of(entry.name)
        if role in {"pickle", "imatrix"} or (role == "twin" and entry.name not in _names(tensors)):
            gathering.set_aside(role, [entry])
        elif "/" in entry.name and entry.name.endswith(".safetensors"):
            gathering.set_aside("component", [entry])
    own, own_gguf = tensors.pop("weights", []), ggufs.pop("weights", [])
    indexed = any(name.endswith(INDEX_SUFFIX) for name in gathering.documents)
    if (own or (indexed and not own_gguf)) and quant is None:
        _set_aside(tensors, gathering)
        _set_aside({"quant": own_gguf, **ggufs}, gathering)
        return open_safetensors_folder(own, listing, gathering)
    if own_gguf:
        _set_aside({"twin": own, **tensors}, gathering)
        _set_aside(ggufs, gathering)
        return open_gguf_folder(own_gguf, quant, gathering)
    if quant is not None:
        what = f"{gathering.target}: no GGUF file here to pick {quant} from"
        raise NoGguf(what, quant, hint=f"memory and fit say what {quant} of it would take, for llama.cpp")
    return _open_lesser(tensors, ggufs, listing, gathering)


def _names(roles: dict[str, list[Entry]]) -> set[str]:
    return {e.name for entries in roles.values() for e in entries}


def _set_aside(roles: dict[str, list[Entry]], gathering: Gathering) -> None:
    for role, entries in roles.items():
        gathering.set_aside(role, entries)


def _open_lesser(
    tensors: dict[str, list[Entry]], ggufs: dict[str, list[Entry]], listing: Listing, gathering: Gathering
) -> Checkpoint:
    """A folder without ordinary weights: Mistral's own layout, an adapter, a projector, a config alone."""
    if twins := tensors.pop("twin", []):
        _set_aside({**tensors, **ggufs}, gathering)
        return open_safetensors_folder(twins, listing, gathering)
    if adapters := tensors.pop("lora", []):
        _set_aside(ggufs, gathering)
        _note_adapter(gathering)
        return open_entries(sorted(adapters, key=lambda e: e.name)[:1], gathering)
    for role in ("lora", "mmproj", "draft"):
        if entries := ggufs.pop(role, []):
            _set_aside(ggufs, gathering)
            return open_gguf_folder(entries, None, gathering)
    if "config.json" in gathering.documents:
        return _open_config(gathering)
    raise _nothing_here(listing, gathering)


def _note_adapter(gathering: Gathering) -> None:
    config = gathering.documents.get("adapter_config.json")
    base = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    of = f" of {base}" if isinstance(base, str) else ""
    gathering.notes.append(f"an adapter{of}: the base model's weights are not here")


def _open_config(gathering: Gathering) -> Checkpoint:
    """A config.json without weights: shapes and caches follow from it, weights do not."""
    gathering.notes.append("no weights here: the config is all that is known")
    if pickles := [c for c in gathering.companions if c.role == "pickle"]:
        nbytes = format_nbytes(sum(c.nbytes for c in pickles))
        gathering.notes.append(
            f"pickled PyTorch weights ({pickles[0].name}, {nbytes} in all) are not read: they run code"
        )
    return gathering.checkpoint((), "config")


def _nothing_here(listing: Listing, gathering: Gathering) -> InspectorError:
    pickles = [c for c in gathering.companions if c.role == "pickle"]
    if pickles:
        return NotAModelFile(
            f"{gathering.target}: holds pickled PyTorch weights ({pickles[0].name}), not safetensors or GGUF",
            hint="convert them with a tool you trust; reading a pickle runs the code in it",
        )
    if gathering.defects:
        defect = gathering.defects[0]
        return FormatError(f"{defect.where}: {defect.what}", defect.offset)
    problem = next((e for e in listing.entries.values() if e.problem and role_of(e.name) == "weights"), None)
    if problem and problem.problem:
        return FormatError(f"{problem.name}: {problem.problem[1]}")
    inside = sorted({e.name.partition("/")[0] for e in listing.entries.values() if "/" in e.name and role_of(e.name)})
    hint = f"there are weights in {', '.join(inside[:5])}" if inside else None
    return NotFound(f"{gathering.target}: no model in this folder", hint=hint)


# --- one file of a folder ------------------------------------------------------------------------------------------


def open_json(path: str, *, target: str, strict: bool) -> Checkpoint:
    """A config on its own, or an index, which stands for its folder. Raises FormatError, SourceError."""
    if path.endswith(INDEX_SUFFIX) or os.path.basename(path) in _FOLDER_DOCUMENTS:
        return open_folder(os.path.dirname(path) or ".", target=target, strict=strict)
    gathering = Gathering(target, strict=strict)
    return open_config(Entry(os.path.basename(path), path, 0), gathering)


def open_config(entry: Entry, gathering: Gathering) -> Checkpoint:
    """A config on its own. Raises FormatError, SourceError."""
    document = parse_document(gathering.read(entry, most=MAX_DOCUMENT))
    if not isinstance(document, dict):
        raise NotAModelFile(f"{gathering.target}: JSON, but not a model's config")
    gathering.documents = {"config.json": document}
    return _open_config(gathering)


def open_among_siblings(path: str, file: ModelFile, *, target: str, strict: bool) -> Checkpoint:
    """The model that an already read file belongs to: all parts of a split, or all shards of its index."""
    try:
        listing, gathering = _gather(os.path.dirname(path) or ".", target=target, strict=strict)
    except SourceError:  # a folder that may be entered and not listed
        return Checkpoint(target, file.format, (file,), {})
    name = os.path.basename(path)
    entry = listing.entries.get(name)
    if file.format == "gguf":
        gathering.documents = {}
    joined = open_joined(entry, file.format, listing, gathering) if entry else None
    return joined or gathering.checkpoint((file,), file.format, [entry] if entry else [])


def open_joined(entry: Entry, format: str, listing: Listing, gathering: Gathering) -> Checkpoint | None:  # noqa: A002
    """The model that a file of a folder is a part of, or None where it stands alone."""
    name = entry.name
    if format == "gguf":
        model = next((m for m in group_models(listing.root) if entry in m.parts.values()), None)
        return open_model(model, gathering) if model else None
    shards = _shards_with(name, gathering.documents)
    split = split_name(name)
    if shards or split:
        siblings = [e for e in listing.root if e.name in shards or (split and _same_split(e.name, split))]
        gathering.notes.append(f"{name} is one of {len(shards) or (split[2] if split else 1)} shards: all are taken")
        if not shards:
            gathering.documents = {k: v for k, v in gathering.documents.items() if not k.endswith(INDEX_SUFFIX)}
        return open_safetensors_folder(siblings, listing, gathering)
    if role_of(name) == "lora":
        _note_adapter(gathering)
    return None


def _shards_with(name: str, documents: dict[str, Any]) -> set[str]:
    """All shards of an index that names this file among others."""
    for document in [v for k, v in documents.items() if k.endswith(INDEX_SUFFIX)]:
        weight_map = document.get("weight_map") if isinstance(document, dict) else None
        shards = {v for v in weight_map.values() if isinstance(v, str)} if isinstance(weight_map, dict) else set()
        if name in shards and len(shards) > 1:
            return shards
    return set()


def _same_split(name: str, split: tuple[str, int, int]) -> bool:
    other = split_name(name)
    return other is not None and (other[0], other[2]) == (split[0], split[2]) and basename(name) == name
