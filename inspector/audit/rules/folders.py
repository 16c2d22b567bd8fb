"""FD: what the files of a folder say of each other: index, shards, links, documents."""

from __future__ import annotations

import os

from inspector.audit.registry import Hit, rule
from inspector.audit.subject.groups import INDEX_SUFFIX, SUFFIX, groups, sound, weight_map
from inspector.audit.subject.models import first_absent, parts_by_name
from inspector.audit.subject.records import is_document_name, is_weight_name
from inspector.checkpoint import split_name
from inspector.checkpoint.shards import unsafe_path
from inspector.stores.names import role_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from inspector.audit.subject.groups import Group
    from inspector.audit.subject.records import AuditedFile, Subject

FETCH: Final = "download it again: hf download REPO"
SHOWN_NAMES: Final = 8
# What git and sha256 call a file of no bytes: the only blobs of a Hub cache that may be empty.
_EMPTY_BLOBS: Final = frozenset(
    {
        "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    }
)


def _shown(names: list[str], n: int) -> str:
    return ", ".join(name[:120] for name in names[:SHOWN_NAMES]) + (", …" if n > SHOWN_NAMES else "")


# --- the index ----------------------------------------------------------------------------------------------------


@rule("FD001", "index-not-json", severity="error", hint=FETCH)
def index_not_json(subject: Subject) -> Iterator[Hit]:
    """
    An index that is not JSON, or whose weight_map is not an object of file names.

    Why it matters: without it nobody knows which tensor lies where; nested or endless JSON crashes careless parsers.
    """
    for name, document in subject.documents.items():
        if not name.endswith(INDEX_SUFFIX):
            continue
        if document.unreadable:
            continue
        if document.error:
            yield Hit(name, document.error)
        elif weight_map(document.value) is None:
            yield Hit(name, "weight_map is not an object of file names, or names more than any model has")


@rule("FD002", "index-path", severity="error", hint="do not load this folder; get it from its source again")
def index_path(subject: Subject) -> Iterator[Hit]:
    """
    An index that names a file outside the folder: an absolute path, one with "..", or no file name at all.

    Why it matters: a loader that joins paths opens whatever that is. This audit does not.
    """
    for name, document in subject.documents.items():
        if name.endswith(INDEX_SUFFIX):
            for shard in sorted(set((weight_map(document.value) or {}).values())):
                if why := unsafe_path(shard):
                    yield Hit(name, f"names {shard[:120]!r}: {why}")


@rule("FD003", "missing-shard", severity="error", hint=FETCH)
def missing_shard(subject: Subject) -> Iterator[Hit]:
    """
    Shards that the index names, or that the names of the others count, are not here.

    Why it matters: the model cannot be loaded; usually a download that broke off.
    """
    for g in groups(subject):
        for index, owners in g.maps.items():
            wanted = sorted(s for s in set(owners.values()) if not unsafe_path(s))
            absent = [s for s in wanted if s not in g.names and not _below(subject, g, s)]
            if absent:
                words = f"{len(absent):,} of the {len(wanted):,} files that it names are missing"
                yield Hit(g.prefix + index, f"{words}: {_shown(absent, len(absent))}")
        if not g.maps:
            yield from _uncounted(g)


def _below(subject: Subject, g: Group, shard: str) -> bool:
    """Whether a shard in a sub-folder is here."""
    if "/" not in shard:
        return False
    names: set[str] = subject.cached("names", subject.names)
    return g.prefix + shard in names


def _uncounted(g: Group) -> Iterator[Hit]:
    for (prefix, count), present in parts_by_name(g.names, SUFFIX).items():
        if n := count - len(present):
            absent = [f"{prefix}-{i:05d}-of-{count:05d}{SUFFIX}" for i in first_absent(count, present, SHOWN_NAMES)]
            here = f"{g.prefix}{prefix}-{min(present):05d}-of-{count:05d}{SUFFIX}"
            yield Hit(here, f"{n:,} of {count:,} shards are missing: {_shown(absent, n)}")


@rule("FD004", "tensor-not-in-shard", severity="error", hint=FETCH)
def tensor_not_in_shard(subject: Subject) -> Iterator[Hit]:
    """
    The index says that a tensor is in a file, and it is not; or it names a file that is no safetensors file.

    Why it matters: index and shards come from different versions of the model: the loader fails, or leaves the tensor
    at random values.
    """
    for g in groups(subject):
        contents = {n: frozenset(f.model.tensor_names) for n, f in g.files.items() if f.model and sound(f)}
        for index, owners in g.maps.items():
            if not index.endswith(SUFFIX + INDEX_SUFFIX):
                continue
            for shard in sorted({s for s in owners.values() if s in g.names and s not in g.files}):
                if not is_weight_name(shard):
                    yield Hit(g.prefix + index, f"names {shard[:120]!r}, which is no safetensors file")
            for name, shard in owners.items():
                if shard in contents and name not in contents[shard]:
                    yield Hit(f"{g.prefix}{shard}: {name}", f"{index} says that this tensor is here, and it is not")


@rule(
    "FD005", "stale-shard", severity="warning", hint="remove what the index does not name, or download the index again"
)
def stale_shard(subject: Subject) -> Iterator[Hit]:
    """
    Weights that the index does not name: a whole file, or single tensors in a file that it does name.

    Why it matters: loaders that read every file of the folder load another model than those that follow the index.
    """
    for g in groups(subject):
        if not g.maps:
            continue
        for name in sorted(g.files):
            if name not in g.named and role_of(name) == "weights" and not _is_whole_twin(name):
                yield Hit(g.prefix + name, "no index names this file")
        mapped = {name for m in g.maps.values() for name in m}
        for name, shard in g.owners.items():
            if name not in mapped and shard in g.named:
                yield Hit(f"{g.prefix}{shard}: {name}", "the index does not name this tensor")


def _is_whole_twin(name: str) -> bool:
    """model.safetensors beside shards (a rule of its own), or another precision of the model (model.fp16…)."""
    return name == "model.safetensors" or (name.count(".") > 1 and split_name(name) is None)


@rule("FD006", "tensor-in-two-shards", severity="warning", hint=FETCH)
def tensor_in_two_shards(subject: Subject) -> Iterator[Hit]:
    """
    Two files of one model hold a tensor of the same name.

    Why it matters: which one counts depends on the loader, and on the order in which it opens files.
    """
    for g in groups(subject):
        if g.maps or len(g.members) > 1:
            for name, first, second in g.twice if _is_one_model(g) else ():
                yield Hit(f"{g.prefix}{second}: {name}", f"also in {first}")


def _is_one_model(g: Group) -> bool:
    """Whether the files belong together: by an index or by their names, and not merely lie side by side."""
    return bool(g.maps) or all(split_name(name) for name in g.members)


@rule("FD007", "index-total", severity="info")
def index_total(subject: Subject) -> Iterator[Hit]:
    """
    metadata.total_size of the index is not the sum of its tensors.

    Why it matters: it loads all the same, and many honest repositories have it wrong; progress bars and size
    estimates are off.
    """
    for g in groups(subject):
        for index, owners in g.maps.items():
            shards = set(owners.values())
            metadata = g.indexes[index].value.get("metadata")
            stated = metadata.get("total_size") if isinstance(metadata, dict) else None
            if stated is None or not all(s in g.files and sound(g.files[s]) for s in shards):
                continue
            total = sum(f.model.tensors_nbytes for s in shards if (f := g.files[s]).model is not None)
            if stated != total:
                words = f"{stated:,}" if type(stated) is int else "no whole number"
                yield Hit(g.prefix + index, f"total_size is {words}, the tensors take {total:,} bytes")


# --- links and the Hub's cache ------------------------------------------------------------------------------------


@rule("FD008", "short-blob", severity="error", hint="remove the blob and download it again: hf download REPO FILE")
def short_blob(subject: Subject) -> Iterator[Hit]:
    """
    A blob of the Hub's cache is empty, or holds less than its header says.

    Why it matters: the cache believes that the file is complete, so that downloading again changes nothing.
    """
    hashes = {} if subject.kept_wrong else subject.sha256 or {}
    for file in subject.files:
        if file.name in hashes and file.model is not None and file.model.missing_nbytes:
            n, wanted = file.size, file.size + file.model.missing_nbytes
            yield Hit(file.name, f"blob {hashes[file.name]} has {n:,} bytes of {wanted:,} or more")
    for e in subject.entries:
        if e.kind == "file" and not e.size and e.name in hashes and hashes[e.name] not in _EMPTY_BLOBS:
            yield Hit(e.name, f"blob {hashes[e.name]} is empty")


@rule("FD021", "store-blob", severity="error", hint="let the program that keeps it download it again: ollama pull NAME")
def store_blob(subject: Subject) -> Iterator[Hit]:
    """
    A blob that a store's manifest names is missing, has another size than it says, or is no plain file.

    Why it matters: Ollama, Docker and OCI tools find a model by its manifest, and fail when they load it.
    """
    for name, words in subject.kept_wrong:
        yield Hit(name, words)


_OPENED: Final = (
    ".json", ".yaml", ".yml", ".py", ".npy", ".npz", ".h5", ".keras", ".pb", ".model", ".tflite", ".onnx_data", ".data",
    ".msgpack", ".nemo", ".mar", ".zip", ".txt",
)  # fmt: skip


@rule("FD009", "link-leaves-folder", severity="error", hint="replace the link with the file itself")
def link_leaves_folder(subject: Subject) -> Iterator[Hit]:
    """
    A symbolic link that leads out of the folder. A warning where no loader opens what has its name: a README.md that is
    a link to `/etc/passwd` shows it to whoever reads or publishes the folder, and does no more.

    Why it matters: whoever made the folder chose which of your files the loader opens. Weights, documents, scripts and
    whole folders are opened by their names; beside an ONNX model any file may hold its tensors. Links of a Hub cache
    into its own blobs are fine.
    """
    onnx = any(e.name.lower().endswith(".onnx") for e in subject.entries)
    for e in subject.entries:
        if e.kind == "link-out":
            matters = is_weight_name(e.name) or is_document_name(e.name) or role_of(e.name) == "pickle"
            matters = matters or onnx or e.name.lower().endswith(_OPENED) or os.path.isdir(e.path)
            severity = "error" if matters else "warning"
            yield Hit(e.name, f"a link to {e.note[:200]}, outside the folder; not opened", severity=severity)


# --- documents and formats ----------------------------------------------------------------------------------------


@rule("FD010", "document-not-json", severity="error", hint=FETCH)
def document_not_json(subject: Subject) -> Iterator[Hit]:
    """
    config.json, or another document that a loader reads, is not JSON, not an object, or nested without reason.

    Why it matters: the loader stops there, or crashes.
    """
    for name, document in subject.documents.items():
        if name.endswith(INDEX_SUFFIX) or document.unreadable:
            continue
        if document.unexamined:
            words = document.error.removeprefix("not examined: ")
            yield Hit(name, f"not examined: {words}", "look at it yourself: no loader needs documents of this size")
        elif not name.endswith(".json"):
            continue
        elif document.error:
            yield Hit(name, document.error)
        elif name.rpartition("/")[2] == "config.json" and not isinstance(document.value, dict):
            yield Hit(name, "not a JSON object")


@rule("FD017", "mixed-dtypes", severity="info")
def mixed_dtypes(subject: Subject) -> Iterator[Hit]:
    """
    The shards of one model differ in the element type that most of their weights have.

    Why it matters: it loads; a merge or a conversion may have stopped half-way.
    """
    for g in groups(subject):
        if not _is_one_model(g):
            continue
        kinds: dict[str, str] = {}
        for name in sorted(g.members):
            file = g.files.get(name)
            if file is not None and (dtype := _main_dtype(file)):
                kinds.setdefault(dtype, name)
        if len(kinds) > 1:
            words = ", ".join(f"{dtype} in {name}" for dtype, name in kinds.items())
            yield Hit(g.prefix + min(g.members), f"shards of different types: {words[:300]}")


def _main_dtype(file: AuditedFile) -> str:
    nbytes: dict[str, int] = {}
    for t in file.model.tensors if file.model is not None else ():
        if t.dtype is not None and t.dtype.is_float:
            nbytes[t.dtype.name] = nbytes.get(t.dtype.name, 0) + (t.nbytes or 0)
    return max(nbytes, key=lambda name: nbytes[name], default="")


@rule("FD018", "whole-file-beside-shards", severity="warning", hint="remove one of the two")
def whole_file_beside_shards(subject: Subject) -> Iterator[Hit]:
    """
    model.safetensors beside an index that does not name it.

    Why it matters: transformers loads the whole file, vLLM loads by the index: two models in one folder.
    """
    for g in groups(subject):
        if "model.safetensors" in g.files and g.maps and "model.safetensors" not in g.named:
            yield Hit(f"{g.prefix}model.safetensors", f"beside {min(g.maps)}, which does not name it")


@rule("FD019", "no-index", severity="info", hint="download the index: hf download REPO model.safetensors.index.json")
def no_index(subject: Subject) -> Iterator[Hit]:
    """
    Shards without an index.

    Why it matters: transformers does not find them; programs that read every file of the folder do.
    """
    for g in groups(subject):
        if not g.indexes and len(g.members) > 1 and all(split_name(name) for name in g.members):
            yield Hit(g.prefix + min(g.members), f"{len(g.members):,} shards, and no index")
