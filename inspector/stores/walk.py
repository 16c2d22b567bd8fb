"""Every model below a folder, however deep: by names and sizes, nothing is opened. Bounded, and no link leads out."""

from __future__ import annotations

import os
import stat

from inspector.errors import AccessDenied, NotFound, SourceError
from inspector.record import Record
from inspector.sources.local import describe_mode
from inspector.stores.names import role_of
from inspector.stores.records import FoundModel
from inspector.stores.splits import split_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Final

MAX_DEPTH: Final = 60  # a path of 4,096 bytes has more, but no model's
MAX_ENTRIES: Final = 200_000  # of one folder
WEIGHTS: Final = (".gguf", ".safetensors")
_UNFINISHED: Final = (".incomplete", ".part", ".partial", ".aria2", ".crdownload", ".download", ".downloadInProgress")
_PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt")
# Documents that say that a folder's safetensors files are one model.
_ONE_MODEL: Final = ("config.json", "adapter_config.json", "params.json")
_PIPELINES: Final = ("model_index.json", "modules.json")
INDEX_SUFFIX: Final = ".safetensors.index.json"


class File(Record):
    """One entry of a folder: `problem` says why it must not be opened."""

    name: str
    path: str
    nbytes: int
    mtime_ns: int = 0
    problem: str = ""


class Level(Record):
    """One folder's own entries: its plain files, and the folders below it."""

    path: str
    files: tuple[File, ...]
    folders: tuple[str, ...]
    complete: bool = True

    def names(self) -> set[str]:
        """Names of its files."""
        return {f.name for f in self.files}


def _file(entry: os.DirEntry[str], root: str) -> File | None:
    """An entry as a file; a link is followed inside `root` only. None for what is gone again."""
    try:
        found = entry.stat(follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            real = os.path.realpath(entry.path)
            if not real.startswith(root.rstrip(os.sep) + os.sep):
                return File(entry.name, entry.path, 0, problem="a link that leads out of the folder")
            try:
                found = os.stat(entry.path)
            except OSError:
                return File(entry.name, entry.path, 0, problem="a link that leads nowhere")
            if stat.S_ISDIR(found.st_mode):
                return None  # what it leads to is found where it lies
        if not stat.S_ISREG(found.st_mode):
            return File(entry.name, entry.path, 0, problem=f"{describe_mode(found.st_mode)}, not a file")
    except OSError:
        return None
    return File(entry.name, entry.path, found.st_size, found.st_mtime_ns)


def list_level(path: str, root: str = "") -> Level:
    """One folder's own entries, in order of name. `root`: the real path that links must not leave.

    Raises NotFound, AccessDenied, SourceError.
    """
    root = root or os.path.realpath(path)
    files, folders, complete = [], [], True
    try:
        with os.scandir(path) as entries:
            for n, entry in enumerate(entries):
                if n >= MAX_ENTRIES:
                    complete = False
                    break
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif (file := _file(entry, root)) is not None:
                    files.append(file)
    except FileNotFoundError:
        raise NotFound(f"{path}: no such folder") from None
    except PermissionError:
        raise AccessDenied(f"{path}: permission denied") from None
    except OSError as error:
        raise SourceError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    return Level(path, tuple(sorted(files, key=lambda f: f.name)), tuple(sorted(folders)), complete)


def stamp_of(files: Iterable[File]) -> str:
    """What changes when one of the files does: times, in nanoseconds, and sizes."""
    return "mtime:" + ",".join(f"{f.mtime_ns}+{f.nbytes}" for f in files)


def find_models(root: str) -> Iterator[FoundModel]:
    """Every model in a file, folder or store on this machine, in order of path; a folder that cannot be listed is
    an entry with its error. Nothing is opened but the small documents by which a store names its files.

    A split GGUF set is one model, a folder of safetensors shards is one. Raises NotFound for a root that is not there,
    AccessDenied and SourceError for one that cannot be listed.
    """
    if not os.path.lexists(root):
        raise NotFound(f"{root}: no such file or folder")
    if not os.path.isdir(root):
        yield _one_file(root)
        return
    yield from _walk(root, os.path.realpath(root))


def _one_file(path: str) -> FoundModel:
    name = os.path.basename(path)
    try:
        found = os.stat(path)
    except OSError:
        return FoundModel(path, name, "folder", (path,), 0, error="a link that leads nowhere")
    if not stat.S_ISREG(found.st_mode):
        return FoundModel(path, name, "folder", (path,), 0, error=f"{describe_mode(found.st_mode)}, not a file")
    return _found(path, name, [File(name, path, found.st_size, found.st_mtime_ns)], role_of(name))


def _walk(root: str, real_root: str) -> Iterator[FoundModel]:
    """Folder by folder, depth first; what is one model with its sub-folders is not entered."""
    waiting: list[tuple[str, str, int]] = [(root, "", 0)]
    while waiting:
        path, name, depth = waiting.pop()
        try:
            level = list_level(path, real_root)
        except SourceError as error:
            if not name:
                raise
            yield FoundModel(path, name, "folder", (), 0, error=error.what.removeprefix(f"{path}: "))
            continue
        yield from _models_of(level, name)
        if not level.complete:
            yield FoundModel(path, name or os.path.basename(path), "folder", (), 0,
                             error=f"more than {MAX_ENTRIES:,} entries: some may have been overlooked")  # fmt: skip
        if depth >= MAX_DEPTH or not level.names().isdisjoint(_PIPELINES):
            continue
        below = [(os.path.join(path, f), f"{name}/{f}" if name else f, depth + 1) for f in level.folders]
        waiting += reversed(below)


def _models_of(level: Level, name: str) -> Iterator[FoundModel]:
    """The models that a folder's own files are."""
    for group in split_sets([f for f in level.files if f.name.lower().endswith(".gguf")]):
        yield _found(group[0].path, _joined(name, group[0].name), group, role_of(group[0].name))
    yield from _tensors_of(level, name)
    for file in level.files:
        if file.name.endswith(_UNFINISHED):
            yield _found(file.path, _joined(name, file.name), [file], "unfinished")


def _tensors_of(level: Level, name: str) -> Iterator[FoundModel]:
    """A folder's safetensors: one model where a document or their names say so, else each file on its own."""
    weights = [f for f in level.files if f.name.lower().endswith(".safetensors")]
    names = level.names()
    pipeline = not names.isdisjoint(_PIPELINES)
    one = pipeline or not names.isdisjoint(_ONE_MODEL) or any(n.endswith(INDEX_SUFFIX) for n in names)
    shown = name or os.path.basename(os.path.abspath(level.path))
    if pipeline:
        yield _found(level.path, shown, [*weights, *_below(level)], "weights")
    elif one and weights:
        role = "lora" if "adapter_config.json" in names and "config.json" not in names else "weights"
        yield _found(level.path, shown, weights, role)
    elif one and (pickles := [f for f in level.files if f.name.endswith(_PICKLES)]) and not _has_gguf(level):
        why = f"pickled PyTorch weights ({pickles[0].name}), not safetensors or GGUF"
        yield _found(level.path, shown, pickles, "weights").replace(error=why)
    else:
        for group in split_sets(weights):
            yield _found(group[0].path, _joined(name, group[0].name), group, role_of(group[0].name))


def _has_gguf(level: Level) -> bool:
    return any(f.name.lower().endswith(".gguf") for f in level.files)


def _below(level: Level) -> list[File]:
    """Weights one folder further down: the parts of a pipeline."""
    found: list[File] = []
    for folder in level.folders[:100]:
        try:
            inner = list_level(os.path.join(level.path, folder), os.path.realpath(level.path))
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


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _found(target: str, name: str, files: Sequence[File], role: str | None) -> FoundModel:
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
