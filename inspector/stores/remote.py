"""Every model below an address that fsspec understands: folders listed one by one, nothing is opened."""

from __future__ import annotations

from inspector.sources.filesystems import Remote, RemoteEntry, connect, list_remote, stat
from inspector.sources.limit import within
from inspector.stores.folders import found_model, models_below
from inspector.stores.levels import MAX_ENTRIES, File, Level
from inspector.stores.names import role_of
from inspector.stores.records import FoundModel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def find_remote(url: str, *, most_folders: int, timeout: float | None = None) -> Iterator[FoundModel]:
    """Every model at an address, by its own address; `stamp` is of ETags, or of times, where the store says them.

    `timeout`: seconds that listing one folder may take.

    Raises NotFound, AccessDenied, Unreachable, and InspectorError with what to install.
    """
    served = url.lower().startswith(("http://", "https://"))
    if served and not url.endswith("/"):
        name = url.partition("?")[0].rpartition("/")[2]
        yield _remote(found_model(url, name, [File(name, url, 0)], role_of(name)))
        return
    at, found = within(timeout, lambda: _looked_at(url), url)
    if not found.is_folder:
        file = File(found.name, at.url, found.nbytes or 0, found.stamp)
        yield _remote(found_model(at.url, found.name, [file], role_of(found.name)))
        return

    def level_of(address: str, _root: str) -> Level:
        path = at.path + address[len(at.url) :]
        entries, complete = list_remote(Remote(at.fs, path, address), most=MAX_ENTRIES)
        files = [File(e.name, f"{address}/{e.name}", e.nbytes or 0, e.stamp) for e in entries if not e.is_folder]
        return Level(address, tuple(files), tuple(e.name for e in entries if e.is_folder), complete)

    for model in models_below(at.url, at.url, most_folders=most_folders, lister=level_of, timeout=timeout):
        is_file = model.target in model.paths
        yield _remote(model if is_file or not served else model.replace(target=f"{model.target}/"))


def _looked_at(url: str) -> tuple[Remote, RemoteEntry]:
    at = connect(url)
    return at, stat(at)


def _remote(model: FoundModel) -> FoundModel:
    return model.replace(store="remote", paths=())
