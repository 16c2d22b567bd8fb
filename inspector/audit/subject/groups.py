"""The safetensors models in a folder: one a sub-folder, with its index, its documents and the owner of each tensor."""

from __future__ import annotations

from inspector.record import Record
from inspector.stores.names import role_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from inspector.audit.subject.records import AuditedFile, Document, Subject
    from inspector.formats.modelfile import TensorInfo

SUFFIX = ".safetensors"
INDEX_SUFFIX = ".index.json"
MAX_SHARDS = 10_000  # different files of one index; the largest models have some hundreds


class Group(Record):
    """One folder's weights: `files` by name within it, `indexes` likewise; `prefix` is "" or "folder/".

    `names`: everything that lies there, read or not. `owners`: tensor → file, of the files that the index names (all,
    where there is none); `twice`: tensors that two of them hold, with both. `named`: all files that any index names.
    """

    prefix: str
    files: Mapping[str, AuditedFile]
    names: frozenset[str]
    indexes: Mapping[str, Document]
    maps: Mapping[str, Mapping[str, str]]
    owners: Mapping[str, str]
    twice: tuple[tuple[str, str, str], ...]
    members: frozenset[str]
    named: frozenset[str]

    @property
    def is_whole(self) -> bool:
        """Whether every file of the model is here and its header was understood."""
        return bool(self.members) and all(shard in self.files and sound(self.files[shard]) for shard in self.members)

    def tensors(self) -> dict[str, TensorInfo]:
        """The model's tensors by name."""
        found: dict[str, TensorInfo] = {}
        for name in sorted(self.members):
            file = self.files.get(name)
            for t in file.model.tensors if file is not None and file.model is not None else ():
                found.setdefault(t.name, t)
        return found


def sound(file: AuditedFile) -> bool:
    """Whether a header could be read as a whole, so that a tensor it lacks is really not there."""
    if file.model is None:
        return False
    return bool(file.model.tensors) or not any(d.fatal for d in file.model.defects)


def weight_map(value: Any) -> Mapping[str, str] | None:
    """The tensors and files of an index, or None where it is not an index."""
    found = value.get("weight_map") if isinstance(value, dict) else None
    if not isinstance(found, dict):
        return None
    shards = {v if isinstance(v, str) else None for v in found.values()}
    return None if None in shards or len(shards) > MAX_SHARDS else found


def _members(files: Mapping[str, AuditedFile], maps: Mapping[str, Mapping[str, str]]) -> frozenset[str]:
    """The files of the model itself: what the index names; without one, all but adapters and second copies."""
    own = frozenset(name for name in files if role_of(name) == "weights")
    if "model.safetensors" in own and not any("model.safetensors" in m.values() for m in maps.values()):
        return frozenset({"model.safetensors"})
    for index in sorted(maps, key=lambda name: name != "model.safetensors.index.json"):
        if index.endswith(SUFFIX + INDEX_SUFFIX) and maps[index]:
            return frozenset(maps[index].values())
    return own or frozenset(files)


def _owners(
    files: Mapping[str, AuditedFile], members: frozenset[str]
) -> tuple[dict[str, str], list[tuple[str, str, str]]]:
    owners: dict[str, str] = {}
    twice: list[tuple[str, str, str]] = []
    for name in sorted(members):
        file = files.get(name)
        own = [t.name for t in file.model.tensors] if file is not None and file.model is not None else []
        if owners and not owners.keys().isdisjoint(own):
            twice += [(n, owners[n], name) for n in dict.fromkeys(own) if n in owners]
            own = [n for n in own if n not in owners]
        owners.update(dict.fromkeys(own, name))
    return owners, twice


def _group(subject: Subject, prefix: str, names: frozenset[str], files: Mapping[str, AuditedFile]) -> Group:
    start = len(prefix)
    indexes = {
        name[start:]: d
        for name, d in subject.documents.items()
        if name.startswith(prefix) and name.endswith(INDEX_SUFFIX) and "/" not in name[start:]
    }
    maps = {name: m for name, d in indexes.items() if (m := weight_map(d.value)) is not None}
    members = _members(files, maps)
    owners, twice = _owners(files, members)
    named = frozenset(shard for m in maps.values() for shard in m.values())
    return Group(prefix, files, names, indexes, maps, owners, tuple(twice), members, named)


def _folder_of(name: str) -> str:
    return name[: name.rfind("/") + 1]


def _make(subject: Subject) -> tuple[Group, ...]:
    files: dict[str, dict[str, AuditedFile]] = {}
    for f in subject.files:
        if f.name.lower().endswith(SUFFIX):
            folder = _folder_of(f.name)
            files.setdefault(folder, {})[f.name[len(folder) :]] = f
    folders = {*files, *(_folder_of(name) for name in subject.documents if name.endswith(INDEX_SUFFIX))}
    names: dict[str, set[str]] = {folder: set() for folder in folders}
    for e in subject.entries:
        folder = _folder_of(e.name)
        if folder in names:
            names[folder].add(e.name[len(folder) :])
    return tuple(_group(subject, f, frozenset(names[f]), files.get(f, {})) for f in sorted(folders))


def groups(subject: Subject) -> tuple[Group, ...]:
    """All safetensors models of a folder; none where a single file was named."""
    if not subject.is_folder:
        return ()
    found: tuple[Group, ...] = subject.cached("groups", lambda: _make(subject))
    return found
