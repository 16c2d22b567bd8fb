"""OCI images on disk (`oci-layout`, `index.json`, `blobs/sha256/…`) and Docker Model Runner's store, which is near one.

Layouts: OCI image-spec (image-layout.md); docker/model-runner (pkg/distribution/internal/store).
"""

from __future__ import annotations

import os

from inspector.errors import FormatError, InspectorError, NotFound
from inspector.record import Record
from inspector.stores.found import found_in_store, left_over
from inspector.stores.manifests import (
    MAX_MANIFEST,
    Blobs,
    Manifest,
    digest_of,
    digests_named,
    parse_manifest,
    read_json,
    read_small,
)
from inspector.stores.parts import why_not
from inspector.stores.records import FoundModel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

MOST: Final = 5000  # models of one store
_REF: Final = ("org.opencontainers.image.ref.name", "io.containerd.image.name")


class Reference(Record):
    """One model of a store: `names` (tags; the first counts) and the digits of its manifest's digest."""

    names: tuple[str, ...]
    sha256: str


def is_layout(path: str) -> bool:
    """Whether a folder is an OCI image layout."""
    return os.path.isfile(os.path.join(path, "oci-layout")) and os.path.isfile(os.path.join(path, "index.json"))


def is_docker_store(path: str) -> bool:
    """Whether a folder is Docker Model Runner's: `models.json` beside blobs and manifests by digest."""
    below = [os.path.join(path, name, "sha256") for name in ("blobs", "manifests")]
    return os.path.isfile(os.path.join(path, "models.json")) and all(map(os.path.isdir, below))


def references(root: str) -> list[Reference]:
    """The models that the store's index names. Raises FormatError, SourceError."""
    docker = is_docker_store(root)
    name = "models.json" if docker else "index.json"
    try:
        value = read_json(read_small(os.path.join(root, name), most=MAX_MANIFEST))
        entries = value.get("models" if docker else "manifests") if isinstance(value, dict) else None
        return [_docker_entry(e) if docker else _oci_entry(e) for e in _listed(entries)]
    except FormatError as error:
        raise FormatError(f"{name}: {error.what}", error.offset) from None


def _listed(entries: Any) -> list[Any]:
    if not isinstance(entries, list):
        raise FormatError("names no models")
    return entries[:MOST]


def _docker_entry(entry: Any) -> Reference:
    if not isinstance(entry, dict):
        raise FormatError("an entry that is no object")
    tags = entry.get("tags")
    names = tuple(t for t in tags if isinstance(t, str) and t) if isinstance(tags, list) else ()
    digits = digest_of(entry.get("id"))
    return Reference(names or (f"sha256-{digits[:12]}",), digits)


def _oci_entry(entry: Any) -> Reference:
    if not isinstance(entry, dict):
        raise FormatError("an entry that is no object")
    digits, notes = digest_of(entry.get("digest")), entry.get("annotations")
    notes = notes if isinstance(notes, dict) else {}
    names = tuple(notes[key] for key in _REF if isinstance(notes.get(key), str) and notes[key])
    return Reference(names or (f"sha256-{digits[:12]}",), digits)


def _raw(root: str, reference: Reference) -> bytes:
    if is_docker_store(root):
        return read_small(os.path.join(root, "manifests", "sha256", reference.sha256), most=MAX_MANIFEST)
    return Blobs(root).read(reference.sha256, most=MAX_MANIFEST)


def _manifest(root: str, reference: Reference) -> Manifest:
    return parse_manifest(_raw(root, reference), Blobs(root))


def open_reference(root: str, name: str | None) -> tuple[str, Manifest]:
    """The model of a store that a tag names, or its only one. Raises NotFound, SeveralNames, FormatError."""
    found = references(root)
    names = [r.names[0] for r in found]
    if name is None:
        if len(found) != 1:
            raise SeveralNames(root, names)
        return names[0], _manifest(root, found[0])
    for reference in found:
        if any(name in {known, _short(known)} for known in reference.names) or reference.sha256.startswith(
            name.removeprefix("sha256-")
        ):
            return reference.names[0], _manifest(root, reference)
    raise NotFound(
        f"{root}: no model {name} in this store", hint="there are " + ", ".join(names[:5]) if names else None
    )


def _short(name: str) -> str:
    """A reference without its registry: `index.docker.io/ai/smollm2:latest` is ai/smollm2:latest too."""
    host, slash, rest = name.partition("/")
    return rest if slash and ("." in host or ":" in host or host == "localhost") else name


class SeveralNames(NotFound):
    """A store holds several models and none was named."""

    def __init__(self, root: str, names: list[str]) -> None:
        super().__init__(f"{root}: {len(names)} models in this store", hint=None)
        self.names = names


def find_in_oci(root: str) -> Iterator[FoundModel]:
    """Every model of an OCI layout or of Docker's store, then the blobs that none of them names."""
    store = "docker" if is_docker_store(root) else "oci"
    try:
        found = references(root)
    except InspectorError as error:
        yield FoundModel(root, os.path.basename(root), store, (), 0, error=error.what)
        return
    named, whole = set[str](), True
    for reference in found:
        target, name = f"{root}:{reference.names[0]}", _short(reference.names[0])
        named.add(reference.sha256)
        try:
            raw = _raw(root, reference)
            named |= digests_named(raw, Blobs(root))
            manifest = parse_manifest(raw, Blobs(root))
        except InspectorError as error:
            whole = False
            yield FoundModel(target, name, store, (), 0, error=f"its manifest cannot be read: {error.what}")
            continue
        yield found_in_store(target, name, store, manifest, why_not(manifest))
    if whole:
        yield from left_over(os.path.join(root, "blobs", "sha256"), named, store)
