"""The Hub's cache as a store: every repository, every snapshot of it, and the blobs that no snapshot links to."""

from __future__ import annotations

import os

from inspector.errors import SourceError
from inspector.sources.cache import find_snapshot_in
from inspector.stores.folders import models_below
from inspector.stores.found import left_over
from inspector.stores.levels import list_level

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.stores.records import FoundModel


def repo_name(folder: str) -> str:
    """The repository that a folder `models--org--name` is of."""
    return os.path.basename(os.path.abspath(folder)).removeprefix("models--").replace("--", "/")


def find_in_repo(folder: str) -> Iterator[FoundModel]:
    """The models of a repository's snapshots, the newest reference's first, then what could be freed."""
    real = os.path.realpath(folder)
    name, current = repo_name(folder), find_snapshot_in(folder)
    snapshots = os.path.join(folder, "snapshots")
    try:
        commits = list_level(snapshots).folders
    except SourceError:
        commits = ()
    for commit in sorted(commits, key=lambda c: os.path.join(snapshots, c) != current):
        path = os.path.join(snapshots, commit)
        shown = name if path == current or len(commits) == 1 else f"{name}@{commit[:12]}"
        for found in models_below(path, real):
            inner = "" if found.target == path else f"/{found.name}"
            yield found.replace(name=shown + inner, store="hub cache", sha256=_sha256(found.paths))
    blobs = os.path.join(folder, "blobs")
    yield from left_over(blobs, linked_blobs(snapshots), "hub cache") if os.path.isdir(blobs) else ()


def _sha256(paths: tuple[str, ...]) -> str | None:
    """The sha256 of one file, which is its blob's name where it is in large storage."""
    blob = os.path.basename(os.path.realpath(paths[0])) if len(paths) == 1 else ""
    return blob if len(blob) == 64 and set(blob) <= set("0123456789abcdef") else None


def linked_blobs(snapshots: str) -> set[str]:
    """Names of the blobs that files of any snapshot are links to."""
    found: set[str] = set()
    for folder, _, files in os.walk(snapshots):
        found.update(os.path.basename(os.path.realpath(os.path.join(folder, name))) for name in files)
    return found
