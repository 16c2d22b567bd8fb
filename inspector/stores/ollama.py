"""Ollama's store: `manifests[-v2]/HOST/NAMESPACE/MODEL/TAG` name blobs; what no manifest names could be freed.

Layout: Ollama's manifest/manifest.go, manifest/paths.go and types/model/name.go.
"""

from __future__ import annotations

import os

from inspector.errors import FormatError, InspectorError, NotFound, SourceError
from inspector.stores.found import found_in_store, left_over
from inspector.stores.levels import list_level
from inspector.stores.manifests import MAX_MANIFEST, Blobs, Manifest, digests_named, parse_manifest, read_small
from inspector.stores.parts import why_not
from inspector.stores.records import FoundModel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

HOST: Final = "registry.ollama.ai"
NAMESPACE: Final = "library"
_FOLDERS: Final = ("manifests-v2", "manifests")  # in Ollama's order
_NAME_CHARS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
MOST: Final = 20_000  # manifests of one store


def is_store(path: str) -> bool:
    """Whether a folder is Ollama's `models`: manifests beside blobs."""
    return os.path.isdir(os.path.join(path, "blobs")) and any(os.path.isdir(os.path.join(path, f)) for f in _FOLDERS)


def blobs_of(root: str) -> Blobs:
    """Where this store keeps its blobs."""
    return Blobs(root, dash=True)


def _is_part(text: str) -> bool:
    return 0 < len(text) <= 128 and _NAME_CHARS.issuperset(text) and text[0] not in "-." and ".." not in text


def split_model_name(text: str) -> tuple[str, str, str, str]:
    """Host, namespace, model and tag of `[host/][namespace/]model[:tag]`, defaults filled in. Raises NotFound."""
    front, _, tag = text.rpartition(":") if ":" in text.rpartition("/")[2] else (text, "", "latest")
    parts = front.split("/")
    filled = [HOST, NAMESPACE][: max(3 - len(parts), 0)] + parts
    # a host's port: kept in the folder's name as it is typed
    host_ok = _is_part(filled[0].replace(":", ".", 1))
    if len(filled) != 3 or not host_ok or not all(map(_is_part, (*filled[1:], tag))):
        raise NotFound(f"ollama:{text if text.isprintable() else ascii(text)}: not a model's name",
                       hint="ollama:MODEL[:TAG], as `ollama list` prints it")  # fmt: skip
    return filled[0], filled[1], filled[2], tag


def short_name(host: str, namespace: str, model: str, tag: str) -> str:
    """The name as `ollama list` prints it."""
    front = (
        "" if host == HOST and namespace == NAMESPACE else f"{namespace}/" if host == HOST else f"{host}/{namespace}/"
    )
    return f"{front}{model}:{tag}"


def _manifest_files(root: str) -> Iterator[tuple[str, str]]:
    """Name and path of every manifest, by name, each name once."""

    seen: dict[str, str] = {}
    for folder in _FOLDERS:
        top = os.path.join(root, folder)
        level: list[tuple[tuple[str, ...], str]] = [((), top)] if os.path.isdir(top) else []
        for _ in range(3):
            below: list[tuple[tuple[str, ...], str]] = []
            for parts, path in level:
                try:
                    names = list_level(path, os.path.realpath(root)).folders
                except SourceError:
                    continue
                below += [((*parts, name), os.path.join(path, name)) for name in names]
            level = below[:MOST]
        for parts, path in level:
            try:
                files = list_level(path, os.path.realpath(root)).files
            except SourceError:
                continue
            for file in files:
                if not file.name.startswith("."):
                    seen.setdefault(short_name(*parts, file.name), file.path)  # type: ignore[call-arg]
    yield from sorted(seen.items())[:MOST]


def manifest_path(root: str, name: str) -> tuple[str, str]:
    """The full name of a model and the file of its manifest. Raises NotFound, with near names as a hint."""
    host, namespace, model, tag = split_model_name(name)
    for folder in _FOLDERS:
        path = os.path.join(root, folder, host, namespace, model, tag)
        if os.path.isfile(path):
            if not os.path.realpath(path).startswith(os.path.realpath(root).rstrip(os.sep) + os.sep):
                raise NotFound(f"ollama:{name}: its manifest is a link that leads out of the store")
            return short_name(host, namespace, model, tag), path
    raise _no_such_model(root, name)


def _no_such_model(root: str, name: str) -> NotFound:
    from inspector.sources.target import near_names

    if not os.path.isdir(root):
        return NotFound(f"ollama:{name}: no Ollama store at {root}", hint="OLLAMA_MODELS names another folder")
    names = [known for known, _ in _manifest_files(root)]
    near = near_names(name if ":" in name else f"{name}:latest", names) or [
        n for n in names if n.startswith(f"{name}:")
    ]
    hint = "there are " + ", ".join((near or names)[:5]) if names else None
    return NotFound(f"ollama:{name}: no such model in {root}", hint=hint)


def name_of_path(path: str) -> tuple[str, str] | None:
    """Store and model's name of a manifest's path; None for any other file."""
    parts = os.path.abspath(path).split(os.sep)
    if len(parts) < 6 or parts[-5] not in _FOLDERS:
        return None
    root = os.sep.join(parts[:-5]) or os.sep
    return (root, short_name(*parts[-4:])) if is_store(root) else None


def find_in_ollama(root: str) -> Iterator[FoundModel]:
    """Every model of the store by name, then the blobs that none of them names (where all manifests can be read)."""
    blobs, named, whole = blobs_of(root), set[str](), True
    for name, path in _manifest_files(root):
        target = f"{root}:{name}"
        try:
            raw = read_small(path, most=MAX_MANIFEST)
            named |= digests_named(raw, blobs)
            manifest = parse_manifest(raw, blobs)
        except InspectorError as error:
            whole = False
            yield FoundModel(target, name, "ollama", (), 0, error=f"its manifest cannot be read: {error.what}")
            continue
        if os.path.islink(path):
            named.add(os.path.basename(os.path.realpath(path))[7:])
        yield found_in_store(target, name, "ollama", manifest, why_not(manifest))
    if whole:
        yield from left_over(os.path.join(root, "blobs"), {f"sha256-{digits}" for digits in named}, "ollama")


def open_manifest(root: str, name: str) -> tuple[str, Manifest]:
    """A model of the store by its name: its full name, and its parts. Raises NotFound, FormatError, SourceError."""
    full, path = manifest_path(root, name)
    try:
        return full, parse_manifest(read_small(path, most=MAX_MANIFEST), blobs_of(root))
    except FormatError as error:
        raise FormatError(f"ollama:{full}: its manifest cannot be read: {error.what}", error.offset) from None
