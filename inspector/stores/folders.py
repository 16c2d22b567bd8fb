"""Folders of any depth: which files are one model, which are several, by their names and what lies beside them."""

from __future__ import annotations

import os

from inspector.errors import InspectorError, SourceError
from inspector.sources.limit import within
from inspector.stores.levels import MAX_ENTRIES, File, Level, list_level, stamp_of
from inspector.stores.names import role_of
from inspector.stores.records import FoundModel
from inspector.stores.splits import split_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Final

    Lister = Callable[[str, str], Level]
    FindIn = Callable[[str], Iterator[FoundModel]]
    StoreAt = Callable[[str], FindIn | None]

MAX_FOLDERS: Final = 1_000_000
MAX_DEPTH: Final = 60  # a path of 4,096 bytes has more, but no model's
WEIGHTS: Final = (".gguf", ".safetensors")
_UNFINISHED: Final = (".incomplete", ".part", ".partial", ".aria2", ".crdownload", ".download", ".downloadInProgress")
_PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt")
# Documents that say that a folder's safetensors files are one model.
_ONE_MODEL: Final = ("config.json", "adapter_config.json", "params.json")
_PIPELINES: Final = ("model_index.json", "modules.json")
_HEX: Final = frozenset("0123456789abcdef")
INDEX_SUFFIX: Final = ".safetensors.index.json"


def models_below(
    root: str,
    real_root: str,
    store_at: StoreAt | None = None,
    *,
    most_folders: int = MAX_FOLDERS,
    lister: Lister = list_level,
    timeout: float | None = None,
) -> Iterator[FoundModel]:
    """Every model below a folder whose links may lead anywhere in `real_root`: folder by folder, depth first.

    What is one model with its sub-folders is not entered, nor a folder that `store_at` knows the models of. A folder
    that cannot be listed (within `timeout` seconds) is a record with its error. `lister`: what lists a folder, where
    it is none of this machine. Raises SourceError where the first one cannot.
    """
    waiting: list[tuple[str, str, int]] = [(root, "", 0)]
    n = 0
    while waiting:
        path, name, depth = waiting.pop()
        if (n := n + 1) > most_folders:
            why = f"more than {most_folders:,} folders: the rest was not looked at"
            yield FoundModel(root, os.path.basename(root), "folder", (), 0, error=why)
            return
        try:
            level = within(timeout, lambda: _look(path, real_root, store_at, lister), path)  # noqa: B023 - called at once
        except SourceError as error:
            if not name:
                raise
            yield FoundModel(path, name, "folder", (), 0, error=error.what.removeprefix(f"{path}: "))
            continue
        if not isinstance(level, Level):
            yield from level(path)
            continue
        yield from _models_of(level, name, lister)
        if not level.complete:
            yield FoundModel(path, name or os.path.basename(path), "folder", (), 0,
                             error=f"more than {MAX_ENTRIES:,} entries: some may have been overlooked")  # fmt: skip
        if not level.names().isdisjoint(_PIPELINES):
            continue
        if depth >= MAX_DEPTH and level.folders:
            why = f"folders more than {MAX_DEPTH} deep: what is below was not looked at"
            yield FoundModel(path, name, "folder", (), 0, error=why)
            continue
        below = [(_inside(path, f), _joined(name, f), depth + 1) for f in level.folders if f != ".git"]
        waiting += reversed(below)


def _look(path: str, real_root: str, store_at: StoreAt | None, lister: Lister) -> Level | FindIn:
    """A folder's own entries; of a program's store, what finds its models."""
    return (store_at(path) if store_at is not None else None) or lister(path, real_root)


def _models_of(level: Level, name: str, lister: Lister) -> Iterator[FoundModel]:
    """The models that a folder's own files are."""
    yield from _blobs_of(level, name) if lister is list_level else ()
    for group in split_sets([f for f in level.files if f.name.lower().endswith(".gguf")]):
        yield found_model(group[0].path, _joined(name, group[0].name), group, role_of(group[0].name))
    yield from _tensors_of(level, name, lister)
    for file in level.files:
        if file.name.endswith(_UNFINISHED):
            yield found_model(file.path, _joined(name, file.name), [file], "unfinished")


def _blobs_of(level: Level, name: str) -> Iterator[FoundModel]:
    """Files that are named by their digest alone, and are models by their first bytes."""
    for file in level.files:
        digits = file.name[7:]
        if file.problem or file.name[:7] != "sha256-" or len(digits) != 64 or not _HEX.issuperset(digits):
            continue
        if _is_model(file):
            found = found_model(file.path, _joined(name, file.name[:19] + "…"), [file], "weights")
            yield found.replace(store="blobs", sha256=digits)


def _is_model(file: File) -> bool:
    from inspector.formats.sniff import sniff
    from inspector.sources.local import LocalSource

    try:
        with LocalSource(file.path) as source:
            return sniff(source).is_model
    except InspectorError:
        return False


def _tensors_of(level: Level, name: str, lister: Lister) -> Iterator[FoundModel]:
    """A folder's safetensors: one model where a document or their names say so, else each file on its own."""
    weights = [f for f in level.files if f.name.lower().endswith(".safetensors")]
    names = level.names()
    pipeline = not names.isdisjoint(_PIPELINES)
    one = pipeline or not names.isdisjoint(_ONE_MODEL) or any(n.endswith(INDEX_SUFFIX) for n in names)
    shown = name or level.path.rstrip("/" + os.sep).rpartition("/")[2] or level.path
    if pipeline:
        yield found_model(level.path, shown, [*weights, *_below(level, lister)], "weights")
    elif one and weights:
        role = "lora" if "adapter_config.json" in names and "config.json" not in names else "weights"
        yield found_model(level.path, shown, weights, role)
    elif one and (pickles := [f for f in level.files if f.name.endswith(_PICKLES)]) and not _has_gguf(level):
        why = f"pickled PyTorch weights ({pickles[0].name}), not safetensors or GGUF"
        yield found_model(level.path, shown, pickles, "weights").replace(error=why)
    else:
        for group in split_sets(weights):
            yield found_model(group[0].path, _joined(name, group[0].name), group, role_of(group[0].name))


def _has_gguf(level: Level) -> bool:
    return any(f.name.lower().endswith(".gguf") for f in level.files)


def _below(level: Level, lister: Lister) -> list[File]:
    """Weights one folder further down: the parts of a pipeline."""
    found: list[File] = []
    for folder in level.folders[:100]:
        try:
            inner = lister(_inside(level.path, folder), os.path.realpath(level.path))
        except SourceError:
            continue
        found += [f for f in inner.files if f.name.lower().endswith(WEIGHTS)]
    return found


def split_sets(files: Sequence[File]) -> list[list[File]]:
    """Files grouped into models: the parts of one split together, in order, any other file alone."""
    groups: dict[tuple[str, int], list[File]] = {}
    for file in files:
        split = split_name(file.name)
        groups.setdefault((split[0], split[2]) if split else (file.name, 1), []).append(file)
    return list(groups.values())


def _inside(path: str, name: str) -> str:
    """A folder in a folder, by its path or its address."""
    return f"{path}/{name}" if "://" in path else os.path.join(path, name)


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def found_model(target: str, name: str, files: Sequence[File], role: str | None) -> FoundModel:
    """The record of a model that these files are."""
    problem = next((f"{f.name}: {f.problem}" if len(files) > 1 else f.problem for f in files if f.problem), "")
    return FoundModel(
        target=target,
        name=name,
        store="folder",
        paths=tuple(f.path for f in files),
        nbytes=sum(f.nbytes for f in files),
        role=role if role in {"mmproj", "lora", "draft", "unfinished"} else "model",
        stamp=stamp_of(files),
        error=problem or _lacking(files) or ("an unfinished download" if role == "unfinished" else ""),
    )


def _lacking(files: Sequence[File]) -> str:
    """What is missing of a split set, by the count in its parts' names."""
    split = split_name(files[0].name) if files else None
    if split is None or len(files) >= split[2]:
        return ""
    n = split[2] - len(files)
    return f"{n:,} of {split[2]:,} parts {'is' if n == 1 else 'are'} missing"
