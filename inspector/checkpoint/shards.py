"""Safetensors folders: which files make the model, by index, by shard names, or by being there."""

from __future__ import annotations

import os
import re

from inspector.checkpoint.documents import INDEX_SUFFIX
from inspector.checkpoint.gather import open_entries
from inspector.checkpoint.records import SeveralModels
from inspector.formats.modelfile import Defect
from inspector.stores.names import quant_label
from inspector.stores.splits import split_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from inspector.checkpoint.gather import Gathering
    from inspector.checkpoint.listing import Entry, Listing
    from inspector.checkpoint.records import Checkpoint


def unsafe_path(name: str) -> str | None:
    """Why a file name out of an index must not be opened, or None."""
    if not name or not name.isprintable() or len(name) > 255:
        return "not a file name"
    if os.path.isabs(name) or name.startswith(("/", "\\")) or name[1:2] == ":":
        return "an absolute path"
    if ".." in name.replace("\\", "/").split("/"):
        return "a path that leaves the folder"
    return None


def not_beside(path: str) -> str:
    """Why a path is none beside the model, which `unsafe_path` leaves alone: an address, somebody's home; else ""."""
    return "an address" if re.match(r"\w+:", path) else "a user's folder" if path.startswith("~") else ""


def pick_index(documents: dict[str, Any]) -> str | None:
    """The index that counts: transformers' own name first (modeling_utils.py, SAFE_WEIGHTS_INDEX_NAME)."""
    names = sorted(name for name in documents if name.endswith(INDEX_SUFFIX))
    usual = "model" + INDEX_SUFFIX
    return usual if usual in names else (names[0] if names else None)


def index_shards(index: Any, name: str, gathering: Gathering) -> list[str] | None:
    """The shards that an index names, in order of name; None where it is not an index."""
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not all(isinstance(v, str) for v in weight_map.values()):
        gathering.fault(Defect("index-malformed", "weight_map is not an object of file names", None, name))
        return None
    shards = sorted(set(weight_map.values()))
    for shard in shards:
        if reason := unsafe_path(shard):
            shown = shard if shard.isprintable() and len(shard) <= 120 else ascii(shard[:80])
            gathering.fault(Defect("index-path", f"names {shown}: {reason}", None, name))
    return [shard for shard in shards if not unsafe_path(shard)]


def _plain_name(name: str) -> str | None:
    """A file's name without the variant in it, or None where there is none.

    diffusers (utils/hub_utils.py, _add_variant) and transformers (utils/hub.py, add_variant): `model.fp16.safetensors`,
    `model-00001-of-00002.fp16.safetensors`, `model.fp16-00001-of-00002.safetensors`.
    """
    stem = name.rpartition(".")[0]
    split = split_name(name)
    if split:
        base, dot, _ = split[0].rpartition(".")
        return base + name[len(split[0]) :] if dot else None
    base, dot, _ = stem.rpartition(".")
    return base + name[len(stem) :] if dot else None


def variants_of(entries: list[Entry]) -> list[Entry]:
    """The files that are others of these in another type: theirs is the same name with a variant in it."""
    names = {e.name for e in entries}
    # split_name knows no `-00001-of-00002.fp16.safetensors`: its plain name is a shard's all the same
    return [e for e in entries if _plain_name(e.name) in names]


def _weights(entries: list[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda e: e.name)


def _open_indexed(
    index_name: str, shards: list[str], weights: list[Entry], *, listing: Listing, gathering: Gathering
) -> Checkpoint:
    present = [listing.entries[s] for s in shards if s in listing.entries]
    gathering.miss([s for s in shards if s not in listing.entries])
    stale = [e for e in weights if e.name not in set(shards)]
    gathering.set_aside("stale", stale)
    if stale:
        gathering.notes.append(f"{index_name} does not name {len(stale)} of the safetensors files here")
    if not present:
        gathering.notes.append(f"none of the {len(shards):,} files that {index_name} names is here")
        return gathering.checkpoint((), "safetensors")
    return open_entries(present, gathering)


def open_safetensors_folder(weights: list[Entry], listing: Listing, gathering: Gathering) -> Checkpoint:
    """Join the shards of a folder whose own weights are `weights`.

    `model.safetensors` wins over an index that does not name it, as in transformers; then the index; then shard names;
    then, with a config.json, all files together (as vLLM loads them). Raises SeveralModels, FormatError, SourceError.
    """
    variants = variants_of(weights)
    gathering.set_aside("twin", variants)
    weights = [e for e in weights if e not in variants]
    index_name = pick_index(gathering.documents)
    shards = index_shards(gathering.documents[index_name], index_name, gathering) if index_name else None
    whole = next((e for e in weights if e.name == "model.safetensors"), None)
    if index_name and shards and (whole is None or whole.name in shards):
        return _open_indexed(index_name, shards, weights, listing=listing, gathering=gathering)
    if whole is not None:
        gathering.set_aside("twin", [e for e in weights if e is not whole])
        return open_entries([whole], gathering)
    if not weights:
        gathering.notes.append("an index, and none of the files that it should name")
        return gathering.checkpoint((), "safetensors")
    if len(weights) == 1:
        return open_entries(weights, gathering)
    return _open_unindexed(_weights(weights), gathering)


def _open_unindexed(weights: list[Entry], gathering: Gathering) -> Checkpoint:
    groups: dict[tuple[str, int], dict[int, Entry]] = {}
    for entry in weights:
        if split := split_name(entry.name):
            groups.setdefault((split[0], split[2]), {})[split[1]] = entry
    if len(groups) == 1:
        ((prefix, count), parts) = next(iter(groups.items()))
        gathering.miss(missing_parts(prefix, count, parts, suffix="safetensors"))
        gathering.set_aside("stale", [e for e in weights if e not in parts.values()])
        return open_entries([parts[i] for i in sorted(parts)], gathering)
    if "config.json" in gathering.documents:
        gathering.notes.append(f"no index: all {len(weights)} safetensors files here are taken together")
        return open_entries(weights, gathering)
    raise SeveralModels(
        f"{gathering.target}: {len(weights)} safetensors files, and nothing that says they are one model",
        tuple((e.name, e.nbytes, quant_label(e.name)) for e in weights),
        hint=f"name one: {os.path.join(gathering.target, weights[0].name)}",
    )


def missing_parts(prefix: str, count: int, parts: dict[int, Entry], *, suffix: str) -> list[str]:
    """Names of the parts that are not there; bounded, for the count is only a file's name saying so."""
    return [f"{prefix}-{i:05d}-of-{count:05d}.{suffix}" for i in range(1, count + 1) if i not in parts]
