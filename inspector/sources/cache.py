"""The Hub's cache on disk, `models--org--name/{blobs,refs,snapshots}`, looked up without a network or its library."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

_HEX: Final = frozenset("0123456789abcdef")


def hub_cache_folder(environ: Mapping[str, str]) -> str:
    """Where the Hub's cache lies for this environment (huggingface_hub/constants.py: HF_HUB_CACHE, HF_HOME, XDG)."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if environ.get(name):
            return os.path.expanduser(environ[name])
    home = environ.get("HF_HOME") or os.path.join(environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return os.path.join(os.path.expanduser(home), "hub")


def is_commit(text: str) -> bool:
    """Whether this is a full commit hash."""
    return len(text) == 40 and _HEX.issuperset(text)


def is_repo_folder(path: str) -> bool:
    """Whether a folder is a repository in a Hub cache (`models--org--name` with its snapshots)."""
    name = os.path.basename(os.path.abspath(path))
    return name.startswith("models--") and os.path.isdir(os.path.join(path, "snapshots"))


def read_ref(repo_folder: str, revision: str) -> str | None:
    """The commit that a branch or tag stood at when it was last downloaded, or None."""
    # git knows no reference with a backslash or a colon (git check-ref-format); on Windows both would lead elsewhere
    if os.path.isabs(revision) or ".." in revision.split("/") or "\\" in revision or ":" in revision:
        return None
    try:
        path = os.path.join(repo_folder, "refs", revision)
        if not os.path.isfile(path):
            return None
        with open(path, "rb") as file:
            commit = file.read(41).decode("ascii", "replace").strip()
    except (OSError, ValueError):
        return None
    return commit if is_commit(commit) else None


def find_snapshot(cache_folder: str, repo: str, revision: str | None = None) -> str | None:
    """The folder of a downloaded repository at a revision (default main), or None where it was not downloaded."""
    return find_snapshot_in(os.path.join(cache_folder, "models--" + repo.replace("/", "--")), revision)


def find_snapshot_in(repo_folder: str, revision: str | None = None) -> str | None:
    """The same, given the repository's folder in the cache."""
    wanted = revision or "main"
    commit = wanted if is_commit(wanted) else read_ref(repo_folder, wanted)
    if commit is None:
        return None
    path = os.path.join(repo_folder, "snapshots", commit)
    return path if os.path.isdir(path) else None


def blobs_folder(path: str) -> str | None:
    """For a snapshot's folder, where its links may lead: the blobs of its own repository. None for any other folder."""
    snapshots, _ = os.path.split(os.path.abspath(path))
    repo_folder = os.path.dirname(snapshots)
    if os.path.basename(snapshots) == "snapshots" and os.path.basename(repo_folder).startswith("models--"):
        return os.path.join(repo_folder, "blobs")
    return None


def unfinished_blobs(blobs: str) -> list[tuple[str, int]]:
    """Downloads that broke off: names and bytes so far of `*.incomplete` blobs (the first thousand entries)."""
    try:
        with os.scandir(blobs) as entries:
            found = [e for _, e in zip(range(1000), entries, strict=False) if e.name.endswith(".incomplete")]
            return [(e.name, e.stat(follow_symlinks=False).st_size) for e in found]
    except OSError:
        return []
