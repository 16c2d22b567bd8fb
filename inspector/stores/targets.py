"""Targets that name a model of a store: `ollama:NAME[:TAG]`, and `FOLDER:NAME` for a store's own folder."""

from __future__ import annotations

import os

from inspector.errors import NotFound
from inspector.sources.target import Target
from inspector.stores import oci, ollama

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from inspector.stores.manifests import Blobs, Manifest

SCHEME: Final = "ollama:"


def store_kind(path: str) -> str | None:
    """What store a folder is, "ollama", "docker" or "oci", whose models are blobs; None for any other folder."""
    if oci.is_docker_store(path):
        return "docker"
    if oci.is_layout(path):
        return "oci"
    return "ollama" if ollama.is_store(path) else None


def stored_target(text: str) -> Target | None:
    """A target that names a model of a store, or None. `ollama:…` with an empty `path` is this user's own store."""
    if ":" not in text or len(text) > 2048 or os.path.lexists(text):
        return None
    if text[: len(SCHEME)].lower() == SCHEME and not text[len(SCHEME) :].startswith("//"):
        return Target(text, "stored", repo=text[len(SCHEME) :])
    for i, sign in enumerate(text):
        if sign == ":" and i and text[i + 1 :] and os.path.isdir(text[:i]) and store_kind(text[:i]):
            return Target(text, "stored", path=text[:i], repo=text[i + 1 :])
    return None


def manifest_of(target: Target, own: str) -> tuple[str, str, Manifest, Blobs]:
    """Kind of store, the model's full name, its parts and where its blobs lie. `own`: this user's Ollama folder.

    Raises NotFound, FormatError, SourceError.
    """
    root = target.path or own
    kind = store_kind(root) if target.path else "ollama"
    if kind == "ollama":
        name, manifest = ollama.open_manifest(root, target.repo)
        return kind, name, manifest, ollama.blobs_of(root)
    if kind is None:
        raise NotFound(f"{root}: not a store of models")
    from inspector.stores.manifests import Blobs

    name, manifest = oci.open_reference(root, target.repo or None)
    return kind, name, manifest, Blobs(root)
