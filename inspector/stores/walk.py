"""Every model in a file, a folder or a store on this machine, by names and sizes. Bounded, and no link leads out."""

from __future__ import annotations

import os
import stat

from inspector.errors import NotFound
from inspector.sources.cache import is_repo_folder
from inspector.sources.local import describe_mode
from inspector.stores.folders import MAX_FOLDERS, found_model, models_below
from inspector.stores.hub_cache import find_in_repo
from inspector.stores.levels import File
from inspector.stores.names import role_of
from inspector.stores.oci import find_in_oci, is_docker_store, is_layout
from inspector.stores.ollama import find_in_ollama, is_store
from inspector.stores.records import FoundModel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def find_models(root: str, *, most_folders: int = MAX_FOLDERS, timeout: float | None = None) -> Iterator[FoundModel]:
    """Every model in a file, folder or store, here or at an address that fsspec understands, in order of path; a folder
    that cannot be listed is a record with its error. `most_folders`: how many are looked into, at most; `timeout`:
    seconds after which a folder counts as one that cannot be listed.

    Nothing is opened but manifests, by which a store names its files, and the first bytes of files that are named by
    a digest alone. A split GGUF set is one model, a folder of safetensors shards is one. Raises NotFound for a root
    that is not there, AccessDenied and SourceError for one that cannot be listed.
    """
    if "://" in root and not os.path.lexists(root):
        from inspector.stores.remote import find_remote

        yield from find_remote(root, most_folders=most_folders, timeout=timeout)
        return
    if not os.path.lexists(root):
        raise NotFound(f"{root}: no such file or folder")
    if not os.path.isdir(root):
        yield _one_file(root)
        return
    real = os.path.realpath(root)
    yield from models_below(root, real, _store_at, most_folders=most_folders, timeout=timeout)


def _one_file(path: str) -> FoundModel:
    name = os.path.basename(path)
    try:
        found = os.stat(path)
    except OSError:
        return FoundModel(path, name, "folder", (path,), 0, error="a link that leads nowhere")
    if not stat.S_ISREG(found.st_mode):
        return FoundModel(path, name, "folder", (path,), 0, error=f"{describe_mode(found.st_mode)}, not a file")
    return found_model(path, name, [File(name, path, found.st_size, f"mtime:{found.st_mtime_ns}")], role_of(name))


def _store_at(path: str) -> Callable[[str], Iterator[FoundModel]] | None:
    """What finds the models of a folder that is a program's store; None for any other folder."""
    if is_repo_folder(path):
        return find_in_repo
    if is_docker_store(path) or is_layout(path):  # which has manifests beside its blobs as well
        return find_in_oci
    return find_in_ollama if is_store(path) else None
